"""The experiment: does a model trained on trials adapt within a trial, and do its controls not?

For each seed, from random weights, on one corpus of a weak explorer:

| arm | training | history it is shown when evaluated |
| --- | --- | --- |
| `cpt` | CPT on whole trials | the whole trial |
| `metarl` | the same, then meta-RL over k episodes | the whole trial |
| `markov` | as `metarl` | the current episode alone |
| `single_episode` | CPT on the same corpus cut into single episodes, then RL with k = 1 | the whole trial |
| `single_episode_cut` | as `single_episode` | the current episode alone, as it was trained |

`single_episode` is today's usual pipeline. It has the same model, CPT steps and packed tokens, RL updates, group size
and number of episodes as `metarl`; only the trial is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field, replace
from statistics import median

import torch

from pipeline.lake import Lake
from pipeline.stage import Progress
from pipeline.workers import worker_pool
from training.cpt import CptConfig, train_cpt
from training.evaluate import EvaluateConfig, Evaluation, evaluate
from training.metarl import MetaRlConfig, train_metarl
from training.rollouts import EnvironmentConfig

ARMS = ("cpt", "metarl", "single_episode", "markov", "single_episode_cut")


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnConfig:
    """All arms in one environment. Names, seeds, environment, k and what of the reward is shown are set from here."""

    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    """The world; the corpus is those trials of the CPT stages that are of this environment."""
    k: int = 4
    """Episodes a trial."""
    gamma: float = 1.0
    """Discount from episode to episode."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One run of all arms for each."""
    reward_in_context: bool = True
    """Whether the reward is shown behind each episode, or only the feedback."""
    cpt: CptConfig = field(default_factory=CptConfig)
    """CPT of both pipelines."""
    metarl: MetaRlConfig = field(default_factory=MetaRlConfig)
    """Meta-RL; its single-episode control is made from it."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    """How every arm is evaluated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm over all seeds: share of the Bayes optimum (median, lowest, highest) and median reward by episode."""

    name: str
    share: float
    lowest: float
    highest: float
    reward_by_episode: tuple[float, ...]
    runs: tuple[Evaluation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What all arms earned in one environment. `cpu_seconds` is the sum over processes, `seconds` the wall time."""

    environment: str
    k: int
    gamma: float
    seeds: tuple[int, ...]
    optimum_by_episode: tuple[float, ...]
    arms: tuple[Arm, ...]
    seconds: float
    cpu_seconds: float

    def arm(self, name: str) -> Arm:
        """The arm called `name`; raises `KeyError` for an unknown one."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"no arm {name!r}; there are {', '.join(arm.name for arm in self.arms)}")

    def figures(self) -> dict[str, float]:
        """`<environment>.<arm>`, the median share of the Bayes optimum, and `<environment>.seconds`."""
        shares = {f"{self.environment}.{arm.name}": arm.share for arm in self.arms}
        return {**shares, f"{self.environment}.seconds": self.seconds}


def learn(lake: Lake, config: LearnConfig, *, workers: int = 2, progress: Progress | None = None) -> Learned:
    """Train and evaluate all arms for all seeds, `workers` single-threaded processes at a time; resumes.

    Writes what its stages write, under names `<environment>-<arm>-<seed>`, and `learn/<environment>.json`.
    """
    if not config.seeds:
        raise ValueError("seeds is empty; give at least one")
    begun = time.monotonic()
    jobs = [(pipeline, seed) for seed in config.seeds for pipeline in (_trials, _single_episodes)]
    found: list[Evaluation] = []
    spent = 0.0
    for done, (evaluations, cpu_seconds) in enumerate(_run(jobs, lake, config, workers), start=1):
        found.extend(evaluations)
        spent += cpu_seconds
        if progress is not None:
            progress(done, len(jobs))
    by_name = {evaluation.name: evaluation for evaluation in found}
    arms = tuple(_arm(arm, [by_name[_name(config, arm, seed)] for seed in config.seeds]) for arm in ARMS)
    learned = Learned(
        environment=config.environment.name,
        k=config.k,
        gamma=config.gamma,
        seeds=config.seeds,
        optimum_by_episode=arms[0].runs[0].optimum_by_episode,
        arms=arms,
        seconds=time.monotonic() - begun,
        cpu_seconds=spent,
    )
    lake.sweep("learn")
    values = asdict(learned)
    del values["seconds"], values["cpu_seconds"]  # no two runs have them in common
    lake.write_json(f"learn/{config.environment.name}.json", values)
    return learned


def _trials(lake: Lake, config: LearnConfig, seed: int) -> list[Evaluation]:
    """CPT on whole trials, meta-RL over k episodes."""
    base = train_cpt(lake, _cpt(config, "cpt", seed, cut=False)).model
    tuned = train_metarl(lake, _metarl(config, "metarl", seed, base)).model
    return [
        evaluate(lake, _evaluate(config, "cpt", seed, base)),
        evaluate(lake, _evaluate(config, "metarl", seed, tuned)),
        evaluate(lake, replace(_evaluate(config, "markov", seed, tuned), markov=True)),
    ]


def _single_episodes(lake: Lake, config: LearnConfig, seed: int) -> list[Evaluation]:
    """CPT on the same corpus cut into single episodes, RL on single episodes, as many of them."""
    base = train_cpt(lake, _cpt(config, "single_episode", seed, cut=True)).model
    metarl = _metarl(config, "single_episode", seed, base)
    tuned = train_metarl(lake, replace(metarl, k=1, groups=metarl.groups * config.k, last_episode_share=0.0)).model
    return [
        evaluate(lake, _evaluate(config, "single_episode", seed, tuned)),
        evaluate(lake, replace(_evaluate(config, "single_episode_cut", seed, tuned), markov=True)),
    ]


def _name(config: LearnConfig, arm: str, seed: int) -> str:
    return f"{config.environment.name}-{arm}-{seed}"


def _cpt(config: LearnConfig, arm: str, seed: int, *, cut: bool) -> CptConfig:
    data = config.cpt.data
    shown = replace(data.render, reward="true" if config.reward_in_context else "hidden")
    return replace(
        config.cpt,
        name=_name(config, arm, seed),
        seed=seed,
        data=replace(data, environments=(config.environment.name,), seed=seed, single_episodes=cut, render=shown),
    )


def _metarl(config: LearnConfig, arm: str, seed: int, start: str) -> MetaRlConfig:
    return replace(
        config.metarl,
        name=_name(config, arm, seed),
        start=start,
        environment=config.environment,
        k=config.k,
        gamma=config.gamma,
        reward_in_context=config.reward_in_context,
        seed=seed,
    )


def _evaluate(config: LearnConfig, arm: str, seed: int, model: str) -> EvaluateConfig:
    return replace(
        config.evaluate,
        name=_name(config, arm, seed),
        model=model,
        environment=config.environment,
        k=config.k,
        gamma=config.gamma,
        reward_in_context=config.reward_in_context,
        seed=seed,
    )


def _arm(name: str, runs: Sequence[Evaluation]) -> Arm:
    shares = [run.share for run in runs]
    by_episode = zip(*(run.reward_by_episode for run in runs), strict=True)
    return Arm(
        name=name,
        share=median(shares),
        lowest=min(shares),
        highest=max(shares),
        reward_by_episode=tuple(median(rewards) for rewards in by_episode),
        runs=tuple(runs),
    )


_Pipeline = Callable[[Lake, LearnConfig, int], list[Evaluation]]


def _run(
    jobs: Sequence[tuple[_Pipeline, int]], lake: Lake, config: LearnConfig, workers: int
) -> Iterator[tuple[list[Evaluation], float]]:
    if workers == 1:
        for pipeline, seed in jobs:
            yield _job(pipeline, lake, config, seed)
        return
    with worker_pool(workers) as pool:
        futures = [pool.submit(_job, pipeline, lake, config, seed) for pipeline, seed in jobs]
        for future in as_completed(futures):
            yield future.result()


def _job(pipeline: _Pipeline, lake: Lake, config: LearnConfig, seed: int) -> tuple[list[Evaluation], float]:
    # One thread wherever it runs: sums come out the same bit for bit, and two threads beside a busy neighbour crawl.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    begun = time.process_time()
    try:
        return pipeline(lake, config, seed), time.process_time() - begun
    finally:
        torch.set_num_threads(threads)
