"""The extension points of the scaffolds: engine, environment, sandbox. A plugin is a line in a dict of import paths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from pipeline.records import Task


class InfrastructureError(RuntimeError):
    """The world around a trial failed (engine down, sandbox refused, time-out of ours): never a failed episode.

    Stages count it under `errored` and run the trial again.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion to make: a token prefix, and how to sample from it.

    `stop_ids` end the completion and are part of it. `seed` makes the sample repeatable on one engine.
    """

    prefix: Sequence[int]
    max_tokens: int
    stop_ids: frozenset[int]
    temperature: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """Sampled ids with their log-probabilities under the sampling distribution, the stop id included.

    `tokens` and `logprobs` have one length. `finish_reason`: `stop` a stop id was sampled, `length` max_tokens ran out.
    """

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: Literal["stop", "length"]


class Engine(Protocol):
    """Turns token prefixes into completions. Token ids in, token ids and log-probabilities out; batched."""

    name: str

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order. Raises `InfrastructureError` when the engine cannot answer."""

    async def close(self) -> None:
        """Free what the engine holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What the world answered to an action. `done`: the environment takes no further action in this episode."""

    text: str
    channel: str = "environment"
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """The outcome of an episode in [0, 1], its source (see `records.REWARD_SOURCES`) and a line of evidence."""

    value: float
    source: str = "verifier"
    evidence: str | None = None


class Environment(Protocol):
    """Holds tasks, answers actions with feedback, verifies an episode. One object serves one trial at a time."""

    name: str

    def tasks(self, split: str, seed: int) -> Iterator[Task]:
        """An endless (or whole) stream of tasks; `train` and `test` share no wording where the family allows it."""

    def reset(self, task: Task) -> None:
        """Begin an episode on `task`: the same hidden instance for the same task, whatever the number of resets."""

    def step(self, action: str) -> Feedback:
        """Answer one action. Nonsense from the policy is answered with feedback, never an exception."""

    def verify(self) -> Reward:
        """The reward of the episode so far."""

    def validate(self, task: Task) -> None:
        """Raise `ValueError` unless the reference answer earns 1 and an empty one earns 0 on `task`."""

    def optimum(self, k: int, gamma: float) -> list[float]:
        """Expected reward by episode (length k) of the policy that maximises E[Σ γ^j r_j], where computable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one sandboxed run may use; zero never means unlimited."""

    wall_seconds: float = 60.0
    """Time on the clock."""
    cpu_seconds: int = 60
    """Processor time."""
    memory_bytes: int = 2 << 30
    """Address space, or memory of the control group."""
    processes: int = 128
    """Processes and threads at a time."""
    file_bytes: int = 256 << 20
    """The largest file, and the writable space as a whole."""
    output_bytes: int = 256 << 10
    """What is kept of stdout and stderr together; the rest is cut in the middle and said so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What a sandboxed command did. `exit_code` is negative for a signal; `limit` names the limit that ended it."""

    exit_code: int
    output: str
    seconds: float
    limit: str | None = None
    truncated_bytes: int = 0


class Sandbox(Protocol):
    """A writable folder in which untrusted commands run apart from the host. A context manager; `close` is final.

    `folder` is the absolute path of the work folder as commands see it.
    """

    folder: str

    def exec(self, argv: Sequence[str], *, limits: Limits | None = None) -> Execution:
        """Run `argv` (never a shell string) in the work folder. Raises `InfrastructureError` if it cannot isolate."""

    def read(self, path: str) -> bytes:
        """The bytes of a file below the work folder. Raises `ValueError` for a path or link that leads outside."""

    def write(self, path: str, data: bytes) -> None:
        """Write a file below the work folder, making folders. Raises `ValueError` for a path that leads outside."""

    def close(self) -> None:
        """Kill what still runs and remove the work folder."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
