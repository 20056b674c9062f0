"""Meta-RL: groups of trials on the same hidden instance, credit by episode, policy gradient on the sampled ids."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from transformers import Qwen3ForCausalLM

from pipeline.checks import at_least
from pipeline.lake import Lake
from pipeline.records import Task
from pipeline.stage import Progress
from pipeline.tokens import PAD, Tokenizer
from scaffolds.engines.transformers import TransformersEngine
from scaffolds.runner import RunnerConfig, run_trials_sync
from training.checkpoint import Position, digest, fingerprint, load_checkpoint, save_checkpoint, write_result
from training.model import load_model, load_tokenizer, save_model
from training.objective import ESTIMATORS, policy_loss
from training.optimizer import OptimizerConfig, build_optimizer, update
from training.rollouts import EnvironmentConfig, RolloutBatch, to_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaRlConfig:
    """A meta-RL run. An update plays `groups` hidden instances, `group_size` trials each, of `k` episodes."""

    name: str = "base"
    """The output lies in `metarl/<name>/` of the lake."""
    start: str = "cpt/base/model"
    """Folder of the model to start from."""
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    """The world."""
    k: int = 4
    """Episodes a trial."""
    gamma: float = 1.0
    """Discount from episode to episode."""
    groups: int = 16
    """Hidden instances an update."""
    group_size: int = 16
    """Trials on each of them."""
    updates: int = 70
    """Rounds of playing and learning."""
    epochs: int = 1
    """Passes over the trials of an update."""
    minibatches: int = 4
    """Optimizer steps a pass."""
    estimator: str = "reward_to_go_loo"
    """Advantage estimator, a name in `training.objective.ESTIMATORS`."""
    last_episode_share: float = 0.15
    """In this first share of updates only the last episode's reward counts, which pays for exploring before."""
    entropy_bonus: float = 0.01
    """Paid for each nat of entropy of each sampled token."""
    entropy_share: float = 0.7
    """The bonus is paid in this first share of updates."""
    entropy_floor: float = 0.0
    """Later it is paid only while the mean entropy of sampled tokens is below this, in nats."""
    clip_low: float = 0.2
    """Importance ratios gain nothing below 1 minus this."""
    clip_high: float = 0.2
    """Importance ratios gain nothing above 1 plus this."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=1.5e-3, warmup_steps=20, weight_decay=0.0)
    )
    """AdamW and its schedule, over all optimizer steps."""
    temperature: float = 1.0
    """Sampling temperature, in playing and in learning."""
    max_action_tokens: int = 4
    """Tokens an action may have, its end token included."""
    reward_in_context: bool = True
    """Show the reward behind each episode, or only the feedback."""
    stop_at_success: bool = False
    """End a trial at its first success; needs `last_episode_share` 0, as there may be no last episode."""
    markov: bool = False
    """Play and learn with the history cut to the current episode."""
    micro_batch_tokens: int = 32_768
    """Tokens (padding included) in one forward and backward pass; gradients add up."""
    checkpoint_updates: int = 40
    """Updates between checkpoints."""
    seed: int = 0
    """Decides instances and samples."""

    def __post_init__(self) -> None:
        at_least(1, self, "k", "groups", "updates", "epochs", "minibatches", "checkpoint_updates", "max_action_tokens")
        if self.estimator not in ESTIMATORS:
            raise ValueError(f"estimator {self.estimator!r} is not known; known are {', '.join(sorted(ESTIMATORS))}")
        if self.group_size < 2:
            raise ValueError(f"group_size {self.group_size} leaves no other trial for a baseline; give at least 2")
        if self.stop_at_success and self.last_episode_share > 0:
            raise ValueError("stop_at_success leaves no last episode to weigh alone; set last_episode_share to 0")
        if self.temperature <= 0:
            raise ValueError(f"temperature {self.temperature:g}: a greedy policy cannot be trained; give it above 0")
        if (self.groups * self.group_size) % self.minibatches:
            raise ValueError(
                f"{self.groups * self.group_size} trials do not divide into {self.minibatches} minibatches"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatePoint:
    """One update: mean reward of each episode (0 where not played) as sampled before it, and how the step went.

    `entropy` is in nats a sampled token, `clipped` the share of sampled tokens whose ratio left the clip range.
    """

    update: int
    reward_by_episode: tuple[float, ...]
    entropy: float
    clipped: float
    gradient_norm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaRlResult:
    """What a meta-RL run did. `model` is the folder of the trained model, `cpu_seconds` what this process spent."""

    name: str
    model: str
    updates: int
    trials: int
    episodes: int
    tokens: int
    skipped_steps: int
    curve: tuple[UpdatePoint, ...]
    cpu_seconds: float


def train_metarl(lake: Lake, config: MetaRlConfig, progress: Progress | None = None) -> MetaRlResult:
    """Train the model in `config.start` by meta-RL, or finish a run that was interrupted.

    Writes `metarl/<name>/model/`, `metrics.json` and `checkpoint.safetensors`, all bitwise the same however
    often the run was stopped and started. `progress` is called with (updates done, updates in all).
    """
    begun = time.process_time()
    folder = f"metarl/{config.name}"
    run = fingerprint(config, digest(lake, f"{config.start}/model.safetensors"))
    tokenizer = load_tokenizer(lake, config.start)
    model = load_model(lake, config.start)
    optimizer = build_optimizer(model.parameters(), config.optimizer)
    # the generator's state is part of a checkpoint, and what this process did before must not be
    torch.manual_seed(config.seed)
    position = load_checkpoint(lake, f"{folder}/checkpoint.safetensors", run, model, optimizer)
    seen = _Seen(**position.history)
    engine = TransformersEngine(model)
    for step in range(position.step, config.updates):
        batch = play(engine, tokenizer, config, step)
        seen.add(batch, improve(model, optimizer, config, batch, step))
        done = step + 1
        if done % config.checkpoint_updates == 0 or done == config.updates:
            position = Position(step=done, history=asdict(seen))
            save_checkpoint(lake, f"{folder}/checkpoint.safetensors", run, model, optimizer, position)
        if progress is not None:
            progress(done, config.updates)
    save_model(lake, f"{folder}/model", model, tokenizer.to_bytes())
    result = MetaRlResult(
        name=config.name,
        model=f"{folder}/model",
        updates=config.updates,
        trials=config.updates * config.groups * config.group_size,
        episodes=seen.episodes,
        tokens=seen.tokens,
        skipped_steps=sum(not math.isfinite(point["gradient_norm"]) for point in seen.points),
        curve=tuple(
            UpdatePoint(update=place + 1, **{**point, "reward_by_episode": tuple(point["reward_by_episode"])})
            for place, point in enumerate(seen.points)
        ),
        cpu_seconds=time.process_time() - begun,
    )
    write_result(lake, folder, result)
    return result


def play(engine: TransformersEngine, tokenizer: Tokenizer, config: MetaRlConfig, step: int) -> RolloutBatch:
    """The trials of update `step`, group after group, sampled with seeds that no other update has."""
    runner = RunnerConfig(
        k=config.k,
        temperature=config.temperature,
        max_action_tokens=config.max_action_tokens,
        reward_in_context=config.reward_in_context,
        stop_at_success=config.stop_at_success,
        markov=config.markov,
        seed=config.seed << 32 | step,
        live_trials=config.groups * config.group_size,
    )
    rollouts = run_trials_sync(engine, tokenizer, config.environment.make, update_tasks(config, step), runner)
    return to_tensors(rollouts, config.k, tokenizer.special_id(PAD))


def update_tasks(config: MetaRlConfig, step: int) -> list[Task]:
    """Hidden instances of the train split that no other update has, each `group_size` times."""
    instances = config.environment.tasks("train", config.seed, start=step * config.groups, count=config.groups)
    return [task for task in instances for _ in range(config.group_size)]


def advantages(config: MetaRlConfig, batch: RolloutBatch, step: int) -> torch.Tensor:
    """Advantages [trials, k] of update `step`, estimated within each group."""
    weights = torch.ones(config.k)
    if step < config.last_episode_share * config.updates:
        weights[:-1] = 0.0
    estimate = ESTIMATORS[config.estimator]
    shape = (config.groups, config.group_size, config.k)
    groups = zip((batch.rewards_Nk * weights).view(shape), batch.played_Nk.view(shape), strict=True)
    return torch.cat([estimate(rewards, played, gamma=config.gamma) for rewards, played in groups])


def improve(
    model: Qwen3ForCausalLM, optimizer: torch.optim.Optimizer, config: MetaRlConfig, batch: RolloutBatch, step: int
) -> StepStats:
    """The optimizer steps of update `step` on its trials."""
    advantages_Nk = advantages(config, batch, step)
    # every token the policy sampled carries the advantage of its episode
    advantages_CL = advantages_Nk[batch.trial_C[:, None], batch.episodes_CL.clamp(min=0)]
    bonus = entropy_bonus(config, batch, step)
    trials = config.groups * config.group_size
    normalizer = trials // config.minibatches * config.k
    rows_at_once = max(1, config.micro_batch_tokens // batch.ids_CL.shape[1])
    order = torch.Generator().manual_seed(config.seed << 32 | step)
    entropy, clipped = 0.0, 0.0
    norms: list[float] = []
    for _ in range(config.epochs):
        for minibatch in torch.randperm(trials, generator=order).view(config.minibatches, -1):
            chosen = torch.isin(batch.trial_C, minibatch).nonzero()[:, 0]
            for rows in torch.split(chosen, rows_at_once):
                mask = batch.policy_CL[rows, 1:]
                logprobs, entropies = token_logprobs(model, batch.ids_CL[rows], mask, config.temperature)
                loss = policy_loss(
                    logprobs,
                    batch.logprobs_CL[rows, 1:],
                    advantages_CL[rows, 1:],
                    mask,
                    clip_low=config.clip_low,
                    clip_high=config.clip_high,
                    normalizer=normalizer,
                )
                torch.autograd.backward(loss - bonus * entropies.sum() / normalizer)
                entropy += float(entropies.detach().sum())
                ratio = torch.exp(logprobs.detach() - batch.logprobs_CL[rows, 1:])
                outside = (ratio < 1.0 - config.clip_low) | (ratio > 1.0 + config.clip_high)
                clipped += float((outside & mask).sum())
            at = (step * config.epochs * config.minibatches) + len(norms)
            norms.append(update(optimizer, config.optimizer, at, config.updates * config.epochs * config.minibatches))
    sampled = int(batch.policy_CL.sum()) * config.epochs
    return StepStats(entropy=entropy / sampled, clipped=clipped / sampled, gradient_norm=sum(norms) / len(norms))


def token_logprobs(
    model: Qwen3ForCausalLM, ids_CL: torch.Tensor, mask_CL: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [contexts, tokens − 1] of the ids under `mask_CL`, 0 elsewhere, and the entropies [masked].

    `mask_CL` belongs to `ids_CL[:, 1:]`. Padding stands behind the ids, where causal attention
    does not look.
    """
    hidden = model.model(input_ids=ids_CL, use_cache=False).last_hidden_state[:, :-1]
    logprobs = torch.log_softmax(model.lm_head(hidden[mask_CL]).float() / temperature, dim=-1)
    entropies = -(logprobs.exp() * logprobs).sum(-1)
    chosen = logprobs.gather(-1, ids_CL[:, 1:][mask_CL][:, None])[:, 0]
    return torch.zeros(mask_CL.shape).masked_scatter(mask_CL, chosen), entropies


def entropy_bonus(config: MetaRlConfig, batch: RolloutBatch, step: int) -> float:
    """What update `step` pays for a nat of entropy, by the schedule and the floor of `config`."""
    if step < config.entropy_share * config.updates:
        return config.entropy_bonus
    # minus the mean log-probability of what was sampled estimates the entropy without bias
    sampled = -float(batch.logprobs_CL[batch.policy_CL].mean())
    return config.entropy_bonus if sampled < config.entropy_floor else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStats:
    """Means over an update's optimizer steps; see `UpdatePoint`."""

    entropy: float
    clipped: float
    gradient_norm: float


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What a run has measured so far; travels in its checkpoint."""

    points: list[dict[str, Any]] = field(default_factory=list)
    episodes: int = 0
    tokens: int = 0

    def add(self, batch: RolloutBatch, stats: StepStats) -> None:
        self.points.append({"reward_by_episode": batch.rewards_Nk.mean(0).tolist(), **asdict(stats)})
        self.episodes += int(batch.played_Nk.sum())
        self.tokens += int((batch.episodes_CL >= 0).sum())
