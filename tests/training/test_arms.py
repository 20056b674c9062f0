"""Real learning, from random weights, in seconds: three doors, three episodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.lake import Lake
from scaffolds.synth import SynthConfig
from scaffolds.synth import run as synth
from training.arms import ARMS, LearnConfig, Learned, learn
from training.cpt import CptConfig
from training.data import DataConfig
from training.evaluate import EvaluateConfig
from training.metarl import MetaRlConfig
from training.optimizer import OptimizerConfig
from training.rollouts import EnvironmentConfig


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Learned]:
    lake = Lake(tmp_path_factory.mktemp("learned"))
    doors = {"doors": 3}
    synth(lake, SynthConfig(environment_args=doors, k=3, trials=2000))
    config = LearnConfig(
        environment=EnvironmentConfig(name="hidden_door", arguments=doors),
        k=3,
        seeds=(0,),
        cpt=CptConfig(
            data=DataConfig(batch_rows=8),
            steps=200,
        ),
        metarl=MetaRlConfig(
            groups=8,
            updates=30,
            optimizer=OptimizerConfig(learning_rate=2e-3, warmup_steps=20, weight_decay=0.0),
        ),
        evaluate=EvaluateConfig(trials=2048, resampled=128),
    )
    return lake, learn(lake, config, workers=1)


def test_trials_and_meta_rl_come_near_the_optimum_and_the_controls_do_not(learned: tuple[Lake, Learned]) -> None:
    _, result = learned
    assert result.optimum_by_episode == pytest.approx((1 / 3, 2 / 3, 1.0))
    shares = {arm.name: round(arm.share, 3) for arm in result.arms}
    assert tuple(shares) == ARMS
    memoryless = 0.5  # 3 · ⅓ of a success where the optimum has 2
    assert shares["metarl"] > 0.93, shares
    assert memoryless + 0.05 < shares["cpt"] < shares["metarl"], shares
    for control in ("markov", "single_episode", "single_episode_cut"):
        assert shares[control] < memoryless + 0.08, shares


def test_adaptation_beats_resampling(learned: tuple[Lake, Learned]) -> None:
    """Success by the third episode of a trial stands above pass@3 of the same policy in fresh contexts."""
    _, result = learned
    (run,) = result.arm("metarl").runs
    assert run.success_within[2] > run.resampled_within[2] + 0.1
    assert run.success_within[0] == pytest.approx(run.resampled_within[0], abs=0.1)


def test_results_rest_in_the_lake_with_their_curves(learned: tuple[Lake, Learned]) -> None:
    lake, result = learned
    stored = json.loads(Path(lake.root, "learn/hidden_door.json").read_text())
    assert [arm["name"] for arm in stored["arms"]] == list(ARMS)
    assert "seconds" not in stored
    for path in (
        "cpt/hidden_door-cpt-0/metrics.json",
        "cpt/hidden_door-single_episode-0/metrics.json",
        "metarl/hidden_door-metarl-0/metrics.json",
        "metarl/hidden_door-single_episode-0/metrics.json",
    ):
        assert len(json.loads(Path(lake.root, path).read_text())["curve"]) >= 8
    for arm in ARMS:
        assert lake.exists(f"evaluation/hidden_door-{arm}-0.json")
    assert result.figures()["hidden_door.metarl"] == result.arm("metarl").share


def test_the_control_plays_as_many_episodes(learned: tuple[Lake, Learned]) -> None:
    lake, _ = learned
    ours, control = (lake.read_json(f"metarl/hidden_door-{arm}-0/metrics.json") for arm in ("metarl", "single_episode"))
    assert ours["episodes"] == control["episodes"] == 30 * 8 * 16 * 3
    assert control["trials"] == 3 * ours["trials"]
