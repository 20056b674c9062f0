"""A rollout: what a played trial leaves behind, as data for the corpus and as token ids for training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.records import Episode, Provenance, Task, Trial, seal


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Context:
    """The ids of one append-only context, exactly as the engine saw and sampled them.

    Four arrays of one length: `ids` int32; `logprobs` float32, under the sampling distribution, 0 where the policy did
    not sample; `episodes` int16, −1 for the task and the end of the trial; `policy` bool, true for sampled ids.
    """

    ids: npt.NDArray[np.int32]
    logprobs: npt.NDArray[np.float32]
    episodes: npt.NDArray[np.int16]
    policy: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rollout:
    """A played trial. `index` is the task's number: its place in the runner's list, counted from `first_index`.

    `contexts` holds one context for the whole trial; of a Markovian run one for each episode, in order. `rewards` has
    one entry an episode played, fewer than k where the trial stopped at success.
    """

    index: int
    task: Task
    contexts: tuple[Context, ...]
    episodes: tuple[Episode, ...]
    rewards: tuple[float, ...]

    def trial(self, provenance: Provenance, split: str | None = None) -> Trial:
        """The sealed record of this rollout."""
        return seal(
            Trial(
                task=self.task,
                episodes=self.episodes,
                group_id=instance_of(self.task),
                provenance=provenance,
                tokens=None,
                split=split,
            )
        )


def instance_of(task: Task) -> str:
    """The name of a task's hidden instance, which all trials on it share: never in two splits at once."""
    if task.seed is None:
        return f"{task.environment}/{task.repo}/{task.base_commit}"
    return f"{task.environment}/{task.prompt.splitlines()[0][:80] if task.prompt else ''}/{task.seed}"
