"""Evaluation: what a policy earns by episode on held-out instances, beside the Bayes optimum and resampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import comb

import numpy as np
import numpy.typing as npt

from pipeline.checks import at_least
from pipeline.lake import Lake
from pipeline.records import Task
from scaffolds.engines.transformers import TransformersEngine
from scaffolds.rollout import Rollout
from scaffolds.runner import RunnerConfig, run_trials_sync
from training.model import load_model, load_tokenizer
from training.rollouts import EnvironmentConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """An evaluation of one model on held-out instances."""

    name: str = "base"
    """The result is `evaluation/<name>.json` of the lake."""
    model: str = "metarl/base/model"
    """Folder of the model."""
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    """The world."""
    k: int = 4
    """Episodes a trial."""
    gamma: float = 1.0
    """Discount from episode to episode."""
    trials: int = 4096
    """Instances played, one trial each."""
    resampled: int = 256
    """Instances also played in fresh contexts of one episode each, for i.i.d. pass@k; 0 for none."""
    samples: int = 8
    """Fresh contexts for each of these."""
    split: str = "test"
    """Split the instances are of."""
    temperature: float = 1.0
    """Sampling temperature; 0 is greedy."""
    max_action_tokens: int = 4
    """Tokens an action may have, its end token included."""
    reward_in_context: bool = True
    """Show the reward behind each episode, or only the feedback."""
    markov: bool = False
    """Cut the history to the current episode."""
    seed: int = 0
    """Decides instances and samples."""

    def __post_init__(self) -> None:
        at_least(1, self, "k", "max_action_tokens")
        at_least(2, self, "trials")  # one trial has no standard error
        at_least(0, self, "resampled")
        if self.resampled and self.samples < self.k:
            raise ValueError(f"{self.samples} samples cannot estimate pass@{self.k}; give at least k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a policy earned. Lists have one entry an episode.

    `reward_by_episode` with its standard error; `share` = discounted return / that of the Bayes optimum; `regret` =
    optimal − own return. `success_within[j]` is the share of trials with a full reward by episode j;
    `resampled_within[j]` is pass@(j+1) of the same policy in fresh contexts (unbiased estimator of Chen et al. 2021,
    "Evaluating Large Language Models Trained on Code"): what stands above it is adaptation, not luck. It is empty
    where no resampling was asked for.
    """

    name: str
    model: str
    environment: str
    k: int
    gamma: float
    trials: int
    markov: bool
    temperature: float
    reward_by_episode: tuple[float, ...]
    standard_error: tuple[float, ...]
    optimum_by_episode: tuple[float, ...]
    share: float
    share_error: float
    regret: float
    success_within: tuple[float, ...]
    resampled_within: tuple[float, ...]
    tokens_per_trial: float


def evaluate(lake: Lake, config: EvaluateConfig) -> Evaluation:
    """Play the held-out instances with the model and measure; writes `evaluation/<name>.json`."""
    tokenizer = load_tokenizer(lake, config.model)
    engine = TransformersEngine(load_model(lake, config.model))

    def play(tasks: Sequence[Task], k: int, salt: int) -> list[Rollout]:
        runner = RunnerConfig(
            k=k,
            temperature=config.temperature,
            max_action_tokens=config.max_action_tokens,
            reward_in_context=config.reward_in_context,
            markov=config.markov,
            seed=config.seed << 32 | 1 << 31 | salt,
        )
        return run_trials_sync(engine, tokenizer, config.environment.make, tasks, runner)

    rollouts = play(config.environment.tasks(config.split, config.seed, start=0, count=config.trials), config.k, 0)
    rewards = np.array([rollout.rewards for rollout in rollouts])
    optimum = np.array(config.environment.make().optimum(config.k, config.gamma))
    discounts = config.gamma ** np.arange(config.k)
    returns, best = rewards @ discounts, float(optimum @ discounts)
    tasks = config.environment.tasks(config.split, config.seed + 1, start=0, count=config.resampled)
    fresh = play([task for task in tasks for _ in range(config.samples)], 1, 1) if tasks else []
    wins = np.array([rollout.rewards[0] == 1.0 for rollout in fresh]).reshape(-1, config.samples).sum(1)
    result = Evaluation(
        name=config.name,
        model=config.model,
        environment=config.environment.name,
        k=config.k,
        gamma=config.gamma,
        trials=config.trials,
        markov=config.markov,
        temperature=config.temperature,
        reward_by_episode=_floats(rewards.mean(0)),
        standard_error=_floats(rewards.std(0, ddof=1) / np.sqrt(len(rewards))),
        optimum_by_episode=_floats(optimum),
        share=float(returns.mean() / best),
        share_error=float(returns.std(ddof=1) / np.sqrt(len(rewards)) / best),
        regret=float(best - returns.mean()),
        success_within=_floats((np.cumsum(rewards == 1.0, axis=1) > 0).mean(0)),
        resampled_within=tuple(pass_at(wins, config.samples, j + 1) for j in range(config.k)) if tasks else (),
        tokens_per_trial=float(np.mean([sum(map(len, rollout.contexts)) for rollout in rollouts])),
    )
    lake.sweep("evaluation")
    lake.write_json(f"evaluation/{config.name}.json", asdict(result))
    return result


def pass_at(wins: npt.NDArray[np.int64], samples: int, k: int) -> float:
    """Mean over tasks of 1 − C(samples − wins, k) / C(samples, k): the chance that one of k fresh attempts succeeds."""
    return float(np.mean([1.0 - comb(samples - int(won), k) / comb(samples, k) for won in wins]))


def _floats(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
