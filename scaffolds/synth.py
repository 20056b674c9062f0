"""The stage `synth`: a scaffold around an engine and an environment writes trials into the lake.

A shard is a range of trial numbers. What it holds depends on the config and its own number alone, so a run that was
killed, or has other workers, writes the same bytes, and a longer run only adds shards.
"""

from __future__ import annotations

import json
import string
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from types import MappingProxyType

import pyarrow as pa

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import SCHEMA, SCHEMA_VERSION, Provenance, Task, Version, to_batch
from pipeline.stage import Progress, ShardInput, Stage, config_json, run_stage
from pipeline.tokens import Tokenizer
from scaffolds.engines import ENGINES, open_engine
from scaffolds.environments import ENVIRONMENTS, make_environment
from scaffolds.environments.instances import SPLITS, draw
from scaffolds.protocols import Engine
from scaffolds.runner import RunnerConfig, run_trials_sync
from scaffolds.strategies import STRATEGIES, find_strategy

STAGE = "synth"
INVALID = "task_does_not_validate"
"""Drop reason: the reference answer does not earn 1, or an empty one does not earn 0."""

_BATCH_TRIALS = 500
_LABEL = frozenset(string.ascii_letters + string.digits + "_-")
_KNOWN: Mapping[str, Collection[str]] = MappingProxyType(
    {"environment": ENVIRONMENTS, "engine": ENGINES, "strategy": STRATEGIES, "split": SPLITS}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthConfig:
    """What is played and how often."""

    environment: str = "hidden_door"
    """The world: hidden_door, number_guess or dark_bandit."""
    environment_args: Mapping[str, int | float | str] = field(default_factory=dict)
    """What sizes it, as TOML: `{doors = 6}`, `{numbers = 31, guesses = 2}`, `{risky = 3}`."""
    engine: str = "scripted"
    """The policy: scripted (an explorer of chosen skill) or transformers (a model in a folder)."""
    informed: float = 0.5
    """Share of the scripted engine's actions that are sensible; the others are uniform."""
    engine_args: Mapping[str, int | float | str] = field(default_factory=dict)
    """Further arguments of the engine: `{folder = "build/lake/metarl/base/model"}` for transformers."""
    strategy: str = "retry"
    """The scaffold: what enforces trial and error."""
    trials: int = 2000
    """How many trials are played."""
    shard_trials: int = 2000
    """How many of them go in a shard."""
    k: int = 4
    """Episodes a trial."""
    split: str = "train"
    """Split of the tasks: train, validation or test; no hidden instance is in two."""
    seed: int = 0
    """Decides tasks and samples."""
    temperature: float = 1.0
    """Sampling temperature; 0 is greedy."""
    max_action_tokens: int = 16
    """Tokens an action may have, its end token included."""
    reward_in_context: bool = True
    """Show the reward behind each episode, or only the feedback."""
    stop_at_success: bool = False
    """End a trial at its first success."""
    label: str = ""
    """Runs with different labels stand side by side in the stage, one with a label that is there replaces what was
    written under it; empty means environment and split."""

    def __post_init__(self) -> None:
        if not set(self.label) <= _LABEL:
            raise ValueError(
                f"label {self.label!r} becomes part of a shard's key, where a dot ends it; use letters, digits, _ and -"
            )
        if self.trials < 1 or self.shard_trials < 1:
            raise ValueError(f"trials {self.trials}, shard_trials {self.shard_trials}; give at least 1 of each")
        if not 0.0 <= self.informed <= 1.0:
            raise ValueError(f"informed {self.informed!r} is no share; give a number in [0, 1]")
        for name, known in _KNOWN.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"{name} {value!r} is not known; known are {', '.join(known)}")
        self.played(0)  # refuses what the runner does not take

    def played(self, first: int) -> RunnerConfig:
        """How the runner plays the shard that begins with trial number `first`."""
        return RunnerConfig(
            k=self.k,
            temperature=self.temperature,
            max_action_tokens=self.max_action_tokens,
            reward_in_context=self.reward_in_context,
            stop_at_success=self.stop_at_success,
            seed=draw(self.seed, "samples", first),
        )


def run(lake: Lake, config: SynthConfig, *, workers: int = 1, progress: Progress | None = None) -> Ledger:
    """Play `config.trials` trials into the stage `synth` and return the ledger of the whole stage, counted in trials.

    Beside the balance the ledger counts `episodes` and `success_in_episode_<j>`. Raises `ValueError` before any shard
    is begun for names and arguments that are not known.
    """
    next(make_environment(config.environment, config.environment_args).tasks(config.split, config.seed))
    engine, _ = _open(config)
    find_strategy(config.strategy)
    settings = config_json(config)
    del settings["trials"], settings["shard_trials"]  # they decide which shards there are, not what a shard holds
    # a model's name holds the digest of its weights; the folder that it lies in is of no account
    settings["engine"] = engine.name
    settings["engine_args"] = {key: value for key, value in config.engine_args.items() if key != "folder"}
    label = config.label or f"{config.environment}-{config.split}"
    stage = Stage(
        name=STAGE,
        unit="trials",
        tables={"part": SCHEMA},
        transform=partial(_play_shard, config),
        config=settings,
    )
    firsts = range(0, config.trials, config.shard_trials)
    inputs = (_shard(label, first, min(config.shard_trials, config.trials - first)) for first in firsts)
    return run_stage(lake, stage, inputs, owns=f"{label}.", workers=workers, progress=progress)


def _open(config: SynthConfig) -> tuple[Engine, Tokenizer]:
    own = {"informed": config.informed} if config.engine == "scripted" else {}
    return open_engine(config.engine, {**own, **config.engine_args})


def _shard(label: str, first: int, count: int) -> ShardInput:
    return ShardInput(key=f"{label}.{first:09d}", fingerprint=f"{first}+{count}", payload=(first, count))


def _play_shard(
    config: SynthConfig, lake: Lake, shard: ShardInput, ledger: Ledger
) -> Iterator[tuple[str, pa.RecordBatch]]:
    first, count = shard.payload
    world = partial(make_environment, config.environment, config.environment_args)
    engine, tokenizer = _open(config)
    checker = world()
    tasks: list[Task] = []
    for task in islice(checker.tasks(config.split, draw(config.seed, "tasks", first)), count):
        try:
            checker.validate(task)
        except ValueError:
            ledger.take()
            ledger.drop(INVALID)
        else:
            tasks.append(task)
    played = config.played(first)
    provenance = Provenance(
        source=STAGE,
        model=engine.name,
        sampling=json.dumps(
            {
                "environment_args": dict(config.environment_args),
                "strategy": config.strategy,
                **{name: value for name, value in asdict(played).items() if name not in _NOT_SAMPLING},
            },
            sort_keys=True,
        ),
        versions=(Version(name="schema", version=SCHEMA_VERSION),),
    )
    for start in range(0, len(tasks), _BATCH_TRIALS):
        some = tasks[start : start + _BATCH_TRIALS]
        rollouts = run_trials_sync(
            engine,
            tokenizer,
            world,
            some,
            played,
            strategy=find_strategy(config.strategy),
            ledger=ledger,
            first_index=start,
        )
        for rollout in rollouts:
            ledger.counts["episodes"] += len(rollout.rewards)
            for j, reward in enumerate(rollout.rewards):
                ledger.counts[f"success_in_episode_{j}"] += int(reward == 1.0)
        yield "part", to_batch(rollout.trial(provenance, config.split) for rollout in rollouts)


_NOT_SAMPLING = ("retries", "live_trials", "stream")
