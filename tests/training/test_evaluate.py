from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.lake import Lake
from tests.training.conftest import SHORT
from training.cpt import train_cpt
from training.evaluate import EvaluateConfig, evaluate, pass_at
from training.model import ModelConfig
from training.optimizer import OptimizerConfig
from training.rollouts import EnvironmentConfig

DOORS = EnvironmentConfig(name="hidden_door", arguments={"doors": 3})


def test_pass_at_k_is_the_chance_that_a_drawn_subset_holds_a_success() -> None:
    wins, samples = 2, 5
    outcomes = [True] * wins + [False] * (samples - wins)
    for k in range(1, samples + 1):
        subsets = list(itertools.combinations(outcomes, k))
        expected = sum(any(subset) for subset in subsets) / len(subsets)
        assert pass_at(np.array([wins]), samples, k) == pytest.approx(expected)
    assert pass_at(np.array([0, 5]), samples, 2) == 0.5


def test_an_evaluation_adds_up_and_repeats(lake: Lake) -> None:
    fast = OptimizerConfig(warmup_steps=10)
    guesser = train_cpt(lake, replace(SHORT, steps=60, model=ModelConfig(), optimizer=fast)).model
    settings = EvaluateConfig(model=guesser, environment=DOORS, k=2, gamma=0.5, trials=64, resampled=16, samples=4)
    found = evaluate(lake, settings)
    assert found.optimum_by_episode == pytest.approx((1 / 3, 2 / 3))
    earned = found.reward_by_episode[0] + 0.5 * found.reward_by_episode[1]
    best = 1 / 3 + 0.5 * 2 / 3
    assert min(found.reward_by_episode) > 0.1
    assert found.share == pytest.approx(earned / best)
    assert found.regret == pytest.approx(best - earned)
    assert found.success_within[0] == found.reward_by_episode[0] <= found.success_within[1]
    assert len(found.resampled_within) == 2
    stored = lake.read_bytes("evaluation/base.json")
    assert evaluate(lake, settings) == found
    assert lake.read_bytes("evaluation/base.json") == stored


def test_fewer_samples_than_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="pass@4"):
        EvaluateConfig(samples=3)
