"""Does training on trials teach a model to learn within a trial? All arms in three exactly solved environments.

For each environment weak explorers write a corpus (half of their actions are uninformed), then `training.arms.learn`
trains and evaluates all arms from random weights for three seeds. The figures are returns as shares of the Bayes
optimum, medians over seeds. DATA=hidden_door,dark_bandit runs only these and keeps its figures
in a file of their own; SEEDS=5 changes the number of seeds.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.lake import Lake
from pipeline.results import write_results
from scaffolds.synth import SynthConfig
from scaffolds.synth import run as synth
from training.arms import LearnConfig, Learned, learn
from training.cpt import CptConfig
from training.metarl import MetaRlConfig
from training.rollouts import EnvironmentConfig

WORKERS = int(os.environ.get("WORKERS", "2"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A corpus of `trials` trials and what is trained on it."""

    trials: int
    learn: LearnConfig = field(default_factory=LearnConfig)


CASES = {
    "hidden_door": Case(
        trials=20_000,
        learn=LearnConfig(environment=EnvironmentConfig(name="hidden_door", arguments={"doors": 6}), k=4),
    ),
    "dark_bandit": Case(
        trials=20_000,
        learn=LearnConfig(environment=EnvironmentConfig(name="dark_bandit"), k=3),
    ),
    "number_guess": Case(
        trials=40_000,
        learn=LearnConfig(
            environment=EnvironmentConfig(name="number_guess", arguments={"numbers": 31, "guesses": 2}),
            k=3,
            cpt=CptConfig(steps=1500),
            metarl=MetaRlConfig(updates=200),
        ),
    ),
}


def measure(name: str, case: Case, seeds: int) -> Learned:
    """All arms of one case, in a lake that is thrown away."""
    config = replace(case.learn, seeds=tuple(range(seeds)))
    with tempfile.TemporaryDirectory() as scratch:
        lake = Lake(scratch)
        corpus = SynthConfig(
            environment=name,
            environment_args=config.environment.arguments,
            k=config.k,
            trials=case.trials,
            informed=0.5,
        )
        synth(lake, corpus, workers=WORKERS)
        return learn(lake, config, workers=WORKERS)


def main() -> None:
    """Run the benchmark and print its figures."""
    chosen = [name for name in os.environ.get("DATA", "").split(",") if name] or list(CASES)
    seeds = int(os.environ.get("SEEDS", "3"))
    figures: dict[str, float] = {"seeds": seeds}
    for name in chosen:
        if name not in CASES:
            raise SystemExit(f"DATA names {name!r}; known are {', '.join(CASES)}")
        learned = measure(name, CASES[name], seeds)
        figures |= {key: round(value, 4) for key, value in learned.figures().items()}
        figures[f"{name}.cpu_seconds"] = round(learned.cpu_seconds, 1)
        optimum = " ".join(f"{reward:.3f}" for reward in learned.optimum_by_episode)
        print(f"{name}: optimum by episode {optimum}, {learned.seconds:.0f} s, {learned.cpu_seconds:.0f} CPU s")
        for arm in learned.arms:
            figures |= {f"{name}.{arm.name}.lowest": arm.lowest, f"{name}.{arm.name}.highest": arm.highest}
            by_episode = " ".join(f"{reward:.3f}" for reward in arm.reward_by_episode)
            print(f"  {arm.name:20s} {arm.share:.3f} ({arm.lowest:.3f} to {arm.highest:.3f})  {by_episode}", flush=True)
    # a run of some environments does not replace the figures of a run of all
    part = "" if chosen == list(CASES) else ",".join(chosen)
    path = Path(f"benchmarks/results/learning{'-' if part else ''}{part.replace(',', '-')}.json")
    print(write_results(path, "learning", figures, f"make bench-learning{' DATA=' if part else ''}{part}"))


if __name__ == "__main__":
    main()
