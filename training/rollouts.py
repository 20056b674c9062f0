"""Playing trials with the model being trained, and what they leave as tensors: the very ids that were sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch

from pipeline.records import Task
from scaffolds.environments import make_environment
from scaffolds.protocols import Environment
from scaffolds.rollout import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentConfig:
    """An environment family by name, with the arguments that size it."""

    name: str = "hidden_door"
    arguments: Mapping[str, int | float | str] = field(default_factory=dict)

    def make(self) -> Environment:
        """A new environment; each trial gets its own."""
        return make_environment(self.name, self.arguments)

    def tasks(self, split: str, seed: int, *, start: int, count: int) -> list[Task]:
        """`count` tasks of a split's stream from position `start` on."""
        return list(islice(self.make().tasks(split, seed), start, start + count))


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutBatch:
    """Contexts as rows and trials as rewards.

    Shapes, C contexts, L tokens, N trials, k episodes. `ids_CL` long, padded at the end; `policy_CL` bool marks the ids
    the policy sampled, `logprobs_CL` their log-probabilities when they were; `episodes_CL` the episode of each id (−1
    outside); `trial_C` the trial a context belongs to; `rewards_Nk`, and `played_Nk` bool, false behind a stop.
    """

    ids_CL: torch.Tensor
    policy_CL: torch.Tensor
    logprobs_CL: torch.Tensor
    episodes_CL: torch.Tensor
    trial_C: torch.Tensor
    rewards_Nk: torch.Tensor
    played_Nk: torch.Tensor


def to_tensors(rollouts: Sequence[Rollout], k: int, pad_id: int) -> RolloutBatch:
    """The contexts and rewards of rollouts, unchanged: nothing is decoded or encoded again."""
    contexts = [(trial, context) for trial, rollout in enumerate(rollouts) for context in rollout.contexts]
    shape = (len(contexts), max(len(context) for _, context in contexts))
    ids = np.full(shape, pad_id, np.int64)
    policy = np.zeros(shape, np.bool_)
    logprobs = np.zeros(shape, np.float32)
    episodes = np.full(shape, -1, np.int64)
    for row, (_, context) in enumerate(contexts):
        length = len(context)
        ids[row, :length] = context.ids
        policy[row, :length] = context.policy
        logprobs[row, :length] = context.logprobs
        episodes[row, :length] = context.episodes
    rewards = np.zeros((len(rollouts), k), np.float32)
    played = np.zeros((len(rollouts), k), np.bool_)
    for row, rollout in enumerate(rollouts):
        rewards[row, : len(rollout.rewards)] = rollout.rewards
        played[row, : len(rollout.rewards)] = True
    return RolloutBatch(
        ids_CL=torch.from_numpy(ids),
        policy_CL=torch.from_numpy(policy),
        logprobs_CL=torch.from_numpy(logprobs),
        episodes_CL=torch.from_numpy(episodes),
        trial_C=torch.tensor([trial for trial, _ in contexts]),
        rewards_Nk=torch.from_numpy(rewards),
        played_Nk=torch.from_numpy(played),
    )
