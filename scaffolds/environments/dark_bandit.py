"""Dark bandit: a safe arm that pays half of the time, and risky arms of which exactly one always pays."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.records import Task
from scaffolds import optimum
from scaffolds.environments.instances import check_reference, draw, read_number, seed_of, seeded_tasks
from scaffolds.protocols import Feedback, Reward

SAFE_PAYS = 0.5


class DarkBandit:
    """Arm 0 is safe, arms 1 to `risky` are dark; one pull an episode.

    The safe arm's coin is fixed by the task's seed and the number of the episode, so a trial can be played again.
    Episodes count from the first `reset` on a task: use a new object for each trial.
    """

    name = "dark_bandit"

    def __init__(self, *, risky: int = 3) -> None:
        if risky < 1:
            raise ValueError(f"risky is {risky}; give at least 1 risky arm")
        self.risky = risky
        self.prompt = f"arms 0-{risky}"
        self._seed: int | None = None
        self._episode = -1
        self._paying = 0
        self._paid = False

    def tasks(self, split: str, seed: int) -> Iterator[Task]:
        """An endless stream; splits differ in their seeds, see `instances.seeded_tasks`."""
        return seeded_tasks(self.name, self.prompt, split, seed)

    def reset(self, task: Task) -> None:
        """The next episode; the arm that pays is fixed by the task's seed."""
        seed = seed_of(task, self.name, self.prompt)
        self._episode = self._episode + 1 if seed == self._seed else 0
        self._seed = seed
        self._paying = 1 + draw(seed, "arm") % self.risky
        self._paid = False

    def step(self, action: str) -> Feedback:
        """`paid`, `nothing`, or `no such arm`; the episode takes no second pull."""
        arm = read_number(action, 0, self.risky)
        if arm is None:
            return Feedback(text="no such arm", done=True)
        if arm == 0:
            self._paid = draw(self._seed or 0, "coin", self._episode) / 2**64 < SAFE_PAYS
        else:
            self._paid = arm == self._paying
        return Feedback(text="paid" if self._paid else "nothing", done=True)

    def verify(self) -> Reward:
        """1 if the pulled arm paid."""
        return Reward(value=float(self._paid), evidence=f"of the risky arms {self._paying} pays")

    def validate(self, task: Task) -> None:
        """Raise `ValueError` unless the risky arm that pays earns 1 and an empty pull 0."""
        self.reset(task)
        check_reference(self, task, [str(self._paying)])

    def optimum(self, k: int, gamma: float) -> list[float]:
        """By dynamic programming; for k = 3 and three risky arms exploring is optimal iff γ > (√13−1)/6."""
        return optimum.dark_bandit(self.risky, SAFE_PAYS, k, gamma)
