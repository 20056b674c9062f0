"""Hidden instances from seeds: the same on every machine and version, and disjoint between splits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b

from pipeline.records import Task
from scaffolds.protocols import Environment

SPLITS = ("train", "validation", "test")
"""A task's seed modulo 4 is its split's position here, so no instance can stand in two splits."""


def draw(seed: int, *names: str | int) -> int:
    """A 64-bit number that depends on the seed and the names alone (BLAKE2b)."""
    return int.from_bytes(blake2b(repr((seed, *names)).encode(), digest_size=8).digest(), "big")


def seeded_tasks(environment: str, prompt: str, split: str, seed: int) -> Iterator[Task]:
    """An endless stream of tasks with one prompt and seeds below 2**62. Raises `ValueError` for an unknown split.

    The families here have few hidden instances and one wording each: what the splits keep apart is the seeds, and
    with them the instance names (`group_id`) and every coin the world tosses.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not known; known are {', '.join(SPLITS)}")
    code, index = SPLITS.index(split), 0
    while True:
        hidden = draw(seed, "task", split, index) >> 4 << 2 | code
        yield Task(prompt=prompt, environment=environment, seed=hidden)
        index += 1


def seed_of(task: Task, environment: str, prompt: str) -> int:
    """The task's seed; raises `ValueError` for a task of another environment or size."""
    if task.environment != environment or task.prompt != prompt or task.seed is None:
        raise ValueError(
            f"task {task.environment!r} {task.prompt!r} (seed {task.seed}) is none of {environment!r} {prompt!r}; "
            "make the environment with the arguments the task was drawn with"
        )
    return task.seed


def read_number(action: str, lowest: int, highest: int) -> int | None:
    """The number an action names, or None for anything but plain decimal digits in [lowest, highest]."""
    text = action.strip()
    if len(text) > 9 or not (text.isascii() and text.isdigit()):
        return None
    number = int(text)
    return number if lowest <= number <= highest else None


def check_reference(environment: Environment, task: Task, actions: Sequence[str]) -> None:
    """Raise `ValueError` unless `actions` earn 1 in one episode of `task` and an empty action earns 0."""
    for wanted, tried in ((1.0, actions), (0.0, ("",))):
        environment.reset(task)
        for action in tried:
            environment.step(action)
        found = environment.verify()
        if found.value != wanted:
            raise ValueError(
                f"{environment.name}: actions {list(tried)} earn {found.value:g} on seed {task.seed}, not {wanted:g} "
                f"({found.evidence}); the task cannot be verified, drop it"
            )
