"""A lake with small corpora by weak explorers, and tiny models."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.bpe import TokenizerConfig
from pipeline.lake import Lake
from scaffolds.synth import SynthConfig
from scaffolds.synth import run as synth
from training.cpt import CptConfig, train_cpt
from training.data import DataConfig
from training.model import ModelConfig

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

TINY = ModelConfig(hidden_size=16, layers=1, heads=2, intermediate_size=32, max_positions=256)
SHORT = CptConfig(
    data=DataConfig(environments=("hidden_door",), sequence_tokens=64, batch_rows=4),
    tokenizer=TokenizerConfig(vocab_size=300),
    model=TINY,
    steps=12,
    log_steps=4,
    checkpoint_steps=4,
)
"""A CPT run of a second or so."""


def write_corpora(lake: Lake) -> None:
    """Hidden doors (K = 3, k = 2, three shards) and number guess (N = 7, T = 2, k = 2), 200 trials each or so."""
    synth(lake, SynthConfig(environment="hidden_door", environment_args={"doors": 3}, k=2, trials=240, shard_trials=80))
    numbers = {"numbers": 7, "guesses": 2}
    synth(lake, SynthConfig(environment="number_guess", environment_args=numbers, k=2, trials=60))


@pytest.fixture(scope="session")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpora; read only."""
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(Lake(folder))
    return folder


@pytest.fixture
def lake(corpora: Path, tmp_path: Path) -> Lake:
    """A lake of the test's own that shares the corpora."""
    (tmp_path / "synth").symlink_to(corpora / "synth")
    return Lake(tmp_path)


@pytest.fixture
def base(lake: Lake) -> str:
    """The folder of a model after a few CPT steps: hardly better than random, but with a tokenizer of its own."""
    return train_cpt(lake, replace(SHORT, steps=4)).model
