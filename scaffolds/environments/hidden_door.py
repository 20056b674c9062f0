"""Hidden door: one of K doors opens, one guess an episode. Whoever remembers which doors were shut finds it in time."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.records import Task
from scaffolds import optimum
from scaffolds.environments.instances import check_reference, draw, read_number, seed_of, seeded_tasks
from scaffolds.protocols import Feedback, Reward


class HiddenDoor:
    """K doors named 1 to K; the guess is the whole episode, and the door stays where it is from episode to episode."""

    name = "hidden_door"

    def __init__(self, *, doors: int = 6) -> None:
        if doors < 2:
            raise ValueError(f"doors is {doors}; a choice needs at least 2")
        self.doors = doors
        self.prompt = f"doors 1-{doors}"
        self._door = 0
        self._guess: int | None = None

    def tasks(self, split: str, seed: int) -> Iterator[Task]:
        """An endless stream; splits differ in their seeds, see `instances.seeded_tasks`."""
        return seeded_tasks(self.name, self.prompt, split, seed)

    def reset(self, task: Task) -> None:
        """Shut all doors again; the open one is fixed by the task's seed."""
        self._door = 1 + draw(seed_of(task, self.name, self.prompt), "door") % self.doors
        self._guess = None

    def step(self, action: str) -> Feedback:
        """`open`, `shut`, or `no such door`; the episode takes no second guess."""
        guess = read_number(action, 1, self.doors)
        if guess is None:
            return Feedback(text="no such door", done=True)
        self._guess = guess
        return Feedback(text="open" if guess == self._door else "shut", done=True)

    def verify(self) -> Reward:
        """1 if the guessed door is the open one."""
        return Reward(value=float(self._guess == self._door), evidence=f"door {self._door} was open")

    def validate(self, task: Task) -> None:
        """Raise `ValueError` unless the open door earns 1 and an empty guess 0."""
        self.reset(task)
        check_reference(self, task, [str(self._door)])

    def optimum(self, k: int, gamma: float) -> list[float]:
        """min(1, (j+1)/K) for every discount."""
        return optimum.hidden_door(self.doors, k)
