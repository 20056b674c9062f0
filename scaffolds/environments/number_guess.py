"""Number guess: find a number in 1..N with T guesses an episode, each answered by higher, lower or right."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.records import Task
from scaffolds import optimum
from scaffolds.environments.instances import check_reference, draw, read_number, seed_of, seeded_tasks
from scaffolds.protocols import Feedback, Reward


class NumberGuess:
    """A number that stays the same in all episodes; an episode earns 1 if one of its guesses was right.

    A right guess does not end the episode: the policy does, by ending its next action. So no token of a stored trial
    tells in advance whether the guess before it was right.
    """

    name = "number_guess"

    def __init__(self, *, numbers: int = 31, guesses: int = 2) -> None:
        if numbers < 2 or guesses < 1:
            raise ValueError(f"numbers {numbers}, guesses {guesses}; give at least 2 numbers and 1 guess an episode")
        self.numbers = numbers
        self.guesses = guesses
        self.prompt = f"number 1-{numbers} in {guesses}"
        self._number = 0
        self._made = 0
        self._found = False

    def tasks(self, split: str, seed: int) -> Iterator[Task]:
        """An endless stream; splits differ in their seeds, see `instances.seeded_tasks`."""
        return seeded_tasks(self.name, self.prompt, split, seed)

    def reset(self, task: Task) -> None:
        """Give back all guesses; the number is fixed by the task's seed."""
        self._number = 1 + draw(seed_of(task, self.name, self.prompt), "number") % self.numbers
        self._made = 0
        self._found = False

    def step(self, action: str) -> Feedback:
        """Where the number lies from the guess; anything else than a number uses up a guess too."""
        self._made += 1
        done = self._made >= self.guesses
        guess = read_number(action, 1, self.numbers)
        if self._made > self.guesses:
            return Feedback(text="no guesses left", done=True)
        if guess is None:
            return Feedback(text="no such number", done=done)
        if guess == self._number:
            self._found = True
            return Feedback(text="right", done=done)
        return Feedback(text="higher" if guess < self._number else "lower", done=done)

    def verify(self) -> Reward:
        """1 if a guess of this episode was right."""
        return Reward(value=float(self._found), evidence=f"the number was {self._number}")

    def validate(self, task: Task) -> None:
        """Raise `ValueError` unless the number earns 1 and an empty guess 0."""
        self.reset(task)
        check_reference(self, task, [str(self._number)])

    def optimum(self, k: int, gamma: float) -> list[float]:
        """min(1, (2^{T(j+1)} − 1)/N) for every discount."""
        return optimum.number_guess(self.numbers, self.guesses, k)
