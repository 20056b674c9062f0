from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from pipeline.lake import Lake
from tests.training.conftest import SHORT, TINY
from training.cpt import loss_by_group, token_loss, train_cpt
from training.data import Cursor, PackedTrials
from training.model import build_model, load_tokenizer
from training.packing import PackedBatch


class Killed(Exception):
    """Stands for a process that dies between two steps."""


def die_at(step: int):  # type: ignore[no-untyped-def]
    def progress(done: int, steps: int) -> None:
        if done == step:
            raise Killed

    return progress


def test_an_interrupted_and_resumed_run_is_bitwise_the_undisturbed_one(lake: Lake) -> None:
    train_cpt(lake, SHORT)
    files = (
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/config.json",
        "metrics.json",
        "checkpoint.safetensors",
    )
    undisturbed = {file: lake.read_bytes(f"cpt/base/{file}") for file in files}
    shutil.rmtree(lake.local_path("cpt"))
    for step in (2, 6, 10):  # before the first checkpoint, between two, after the second
        with pytest.raises(Killed):
            train_cpt(lake, SHORT, die_at(step))
    steps: list[int] = []
    train_cpt(lake, SHORT, lambda done, _: steps.append(done))
    assert steps == [9, 10, 11, 12]
    for file in files:
        assert lake.read_bytes(f"cpt/base/{file}") == undisturbed[file], file


def test_what_the_process_did_before_leaves_no_trace_in_a_checkpoint(lake: Lake) -> None:
    train_cpt(lake, SHORT)
    calm = lake.read_bytes("cpt/base/checkpoint.safetensors")
    shutil.rmtree(lake.local_path("cpt"))
    torch.rand(1000)
    train_cpt(lake, SHORT)
    assert lake.read_bytes("cpt/base/checkpoint.safetensors") == calm


def test_a_checkpoint_of_another_config_is_not_taken_up(lake: Lake) -> None:
    train_cpt(lake, SHORT)
    steps: list[int] = []
    train_cpt(lake, replace(SHORT, seed=1), lambda done, _: steps.append(done))
    assert steps[0] == 1


def test_a_finished_run_is_not_run_again(lake: Lake) -> None:
    first = train_cpt(lake, SHORT)
    steps: list[int] = []
    again = train_cpt(lake, SHORT, lambda done, _: steps.append(done))
    assert steps == []
    assert replace(again, cpu_seconds=0.0) == replace(first, cpu_seconds=0.0)


def test_the_loss_falls_and_is_told_by_kind_and_by_episode(lake: Lake) -> None:
    result = train_cpt(lake, replace(SHORT, steps=60, log_steps=20))
    assert [point.step for point in result.curve] == [20, 40, 60]
    assert result.curve[-1].loss < result.curve[0].loss - 0.5
    assert set(result.curve[-1].by_kind) == {"structure", "prompt", "action", "feedback", "reward"}
    assert set(result.curve[-1].by_episode) == {"0", "1"}
    assert result.documents > 60 and 0.5 < result.fill <= 1.0 and result.skipped_steps == 0


def batch_and_model(lake: Lake, base: str):  # type: ignore[no-untyped-def]
    tokenizer = load_tokenizer(lake, base)
    batch, _ = next(PackedTrials(lake, tokenizer, SHORT.data).batches(Cursor()))
    return batch, build_model(TINY, tokenizer, seed=0)


def plain_losses(model, batch: PackedBatch) -> torch.Tensor:  # type: ignore[no-untyped-def]
    out = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False)
    losses = -out.logits[:, :-1].log_softmax(-1).gather(-1, batch.input_ids[:, 1:, None])[..., 0]
    return losses.detach()


def test_the_loss_is_the_weighted_mean_over_tokens(lake: Lake, base: str) -> None:
    batch, model = batch_and_model(lake, base)
    uneven = replace(batch, weights=batch.weights * torch.arange(batch.weights.shape[1]))
    losses, weights = plain_losses(model, uneven), uneven.weights[:, 1:]
    expected = (losses * weights).sum() / weights.sum()
    torch.testing.assert_close(token_loss(model, uneven).detach(), expected, atol=1e-5, rtol=0)


def test_group_losses_are_plain_means_without_padding(lake: Lake, base: str) -> None:
    batch, model = batch_and_model(lake, base)
    losses = plain_losses(model, batch)
    found = loss_by_group(model, batch)["by_episode"]["1"]
    assert found == pytest.approx(float(losses[batch.episodes[:, 1:] == 1].mean()), abs=1e-5)
