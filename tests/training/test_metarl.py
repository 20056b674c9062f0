from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from pipeline.lake import Lake
from pipeline.render import RenderOptions, encode, render
from pipeline.tokens import ACTION
from scaffolds.engines.transformers import TransformersEngine
from scaffolds.runner import RunnerConfig, run_trials_sync
from tests.training.test_cpt import Killed, die_at
from training.metarl import (
    MetaRlConfig,
    advantages,
    entropy_bonus,
    improve,
    play,
    token_logprobs,
    train_metarl,
    update_tasks,
)
from training.model import load_model, load_tokenizer
from training.optimizer import OptimizerConfig, build_optimizer
from training.rollouts import EnvironmentConfig, RolloutBatch, to_tensors

DOORS = EnvironmentConfig(name="hidden_door", arguments={"doors": 3})


def config(start: str, **changes: object) -> MetaRlConfig:
    small = MetaRlConfig(
        start=start, environment=DOORS, k=2, groups=2, group_size=4, updates=6, minibatches=2, checkpoint_updates=2
    )
    return replace(small, **changes)  # type: ignore[arg-type]


def played(lake: Lake, settings: MetaRlConfig):  # type: ignore[no-untyped-def]
    model, tokenizer = load_model(lake, settings.start), load_tokenizer(lake, settings.start)
    return model, play(TransformersEngine(model), tokenizer, settings, 0)


def test_the_trainer_gives_the_sampled_ids_the_probability_they_were_sampled_with(lake: Lake, base: str) -> None:
    for settings in (config(base), config(base, temperature=0.7), config(base, markov=True)):
        model, batch = played(lake, settings)
        mask = batch.policy_CL[:, 1:]
        with torch.no_grad():
            found, _ = token_logprobs(model, batch.ids_CL, mask, settings.temperature)
        assert int(mask.sum()) >= 2 * 8
        torch.testing.assert_close(found, batch.logprobs_CL[:, 1:], atol=1e-4, rtol=0)
        assert (batch.logprobs_CL[:, 1:][mask] < 0).any()


def test_what_is_trained_on_is_what_was_sampled_id_for_id(lake: Lake, base: str) -> None:
    model, tokenizer = load_model(lake, base), load_tokenizer(lake, base)
    tasks = DOORS.tasks("train", 0, start=0, count=5)
    rollouts = run_trials_sync(
        TransformersEngine(model), tokenizer, DOORS.make, tasks, RunnerConfig(k=2, max_action_tokens=3)
    )
    batch = to_tensors(rollouts, 2, 0)
    for row, rollout in enumerate(rollouts):
        (context,) = rollout.contexts
        assert batch.ids_CL[row, : len(context)].tolist() == context.ids.tolist()
        assert not batch.policy_CL[row, len(context) :].any()
        assert batch.rewards_Nk[row].tolist() == list(rollout.rewards)


def test_a_trial_played_live_has_the_ids_of_the_corpus_form(lake: Lake, base: str) -> None:
    """CPT and meta-RL see one grammar: a rollout, stored and rendered again, gives the ids of its context."""
    from pipeline.records import Provenance
    from scaffolds.engines.scripted import ScriptedEngine

    tokenizer = load_tokenizer(lake, base)
    tasks = DOORS.tasks("train", 0, start=0, count=5)
    for shown in (True, False):
        runner = RunnerConfig(k=2, reward_in_context=shown)
        for rollout in run_trials_sync(ScriptedEngine(tokenizer), tokenizer, DOORS.make, tasks, runner):
            options = RenderOptions(reward="true" if shown else "hidden")
            stored = encode(render(rollout.trial(Provenance(source="test")), options), tokenizer)
            assert stored.ids.tolist() == rollout.contexts[0].ids.tolist()


def test_groups_share_their_hidden_instance_and_updates_do_not(lake: Lake, base: str) -> None:
    settings = config(base)
    seeds = [[task.seed for task in update_tasks(settings, step)] for step in (0, 1)]
    for update in seeds:
        assert update == [update[0]] * 4 + [update[4]] * 4
    assert len({*seeds[0], *seeds[1]}) == 4


def test_every_update_samples_afresh(lake: Lake, base: str) -> None:
    settings = config(base, groups=4)
    model, tokenizer = load_model(lake, base), load_tokenizer(lake, base)
    first, again, other = (play(TransformersEngine(model), tokenizer, settings, step).ids_CL for step in (0, 0, 1))
    opening = int((first == tokenizer.special_id(ACTION)).int().argmax()) + 2  # up to the first sampled id
    assert torch.equal(first, again)
    assert not torch.equal(first[:, :opening], other[:, :opening])


def test_the_warm_up_counts_the_last_episode_alone(base: str) -> None:
    settings = config(base, updates=10, last_episode_share=0.2, groups=1, group_size=2)
    rewards = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    nothing = torch.zeros(2, 1)
    batch = RolloutBatch(
        ids_CL=nothing,
        policy_CL=nothing,
        logprobs_CL=nothing,
        episodes_CL=nothing,
        trial_C=nothing,
        rewards_Nk=rewards,
        played_Nk=torch.ones(2, 2, dtype=torch.bool),
    )
    assert advantages(settings, batch, 1).tolist() == [[-1.0, -1.0], [1.0, 1.0]]
    assert advantages(settings, batch, 2).tolist() == [[0.0, -1.0], [0.0, 1.0]]


def test_entropy_is_paid_for_at_first_and_later_only_below_the_floor(lake: Lake, base: str) -> None:
    settings = config(base, updates=10, entropy_bonus=0.02, entropy_share=0.5, entropy_floor=0.3)
    _, batch = played(lake, settings)
    wide, narrow = (replace(batch, logprobs_CL=torch.where(batch.policy_CL, -entropy, 0.0)) for entropy in (0.4, 0.2))
    assert [entropy_bonus(settings, wide, step) for step in (0, 4, 5, 9)] == [0.02, 0.02, 0.0, 0.0]
    assert [entropy_bonus(settings, narrow, step) for step in (0, 4, 5, 9)] == [0.02] * 4


def test_an_update_pays_each_token_for_its_own_episode_and_no_other_token(lake: Lake, base: str) -> None:
    """One update by `improve` is the update by a loss written out token by token."""
    settings = config(base, minibatches=1, entropy_bonus=0.0, last_episode_share=0.0)
    model, batch = played(lake, settings)
    batch = replace(batch, rewards_Nk=torch.tensor([[1.0, 0.0], [0.0, 1.0]] * 4))
    by_hand, _ = played(lake, settings)
    optimizer = OptimizerConfig(learning_rate=1e-2, warmup_steps=0, clip_norm=1e9)
    settings = replace(settings, optimizer=optimizer)
    improve(model, build_optimizer(model.parameters(), optimizer), settings, batch, 0)

    credit = advantages(settings, batch, 0)
    loss = torch.zeros(())
    for row in range(8):
        logprobs = by_hand(input_ids=batch.ids_CL[row : row + 1]).logits[0].log_softmax(-1)
        for place in range(1, batch.ids_CL.shape[1]):
            if batch.policy_CL[row, place]:
                episode = int(batch.episodes_CL[row, place])
                loss = loss - credit[row, episode] * logprobs[place - 1, batch.ids_CL[row, place]] / (8 * 2)
    torch.autograd.backward(loss)
    build_optimizer(by_hand.parameters(), optimizer).step()
    for found, wanted in zip(model.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, atol=2e-4, rtol=0)


def test_micro_batches_change_nothing_but_memory(lake: Lake, base: str) -> None:
    weights = []
    for tokens in (100_000, 64):
        settings = config(base, minibatches=1, micro_batch_tokens=tokens)
        model, batch = played(lake, settings)
        improve(model, build_optimizer(model.parameters(), settings.optimizer), settings, batch, 0)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], atol=1e-5, rtol=0)


def test_an_interrupted_and_resumed_run_is_bitwise_the_undisturbed_one(lake: Lake, base: str) -> None:
    result = train_metarl(lake, config(base))
    assert (result.trials, result.episodes, len(result.curve)) == (48, 96, 6)
    files = ("model/model.safetensors", "metrics.json", "checkpoint.safetensors")
    undisturbed = {file: lake.read_bytes(f"metarl/base/{file}") for file in files}
    shutil.rmtree(lake.local_path("metarl"))
    for update in (1, 3, 5):
        with pytest.raises(Killed):
            train_metarl(lake, config(base), die_at(update))
    train_metarl(lake, config(base))
    for file in files:
        assert lake.read_bytes(f"metarl/base/{file}") == undisturbed[file], file


def test_trials_that_stop_at_success_train_too(lake: Lake, base: str) -> None:
    result = train_metarl(lake, config(base, stop_at_success=True, last_episode_share=0.0, updates=2))
    assert result.episodes <= 32
    with pytest.raises(ValueError, match="last_episode_share"):
        config(base, stop_at_success=True)


def test_markov_contexts_hold_one_episode_each(lake: Lake, base: str) -> None:
    _, batch = played(lake, config(base, markov=True))
    assert batch.ids_CL.shape[0] == 16
    assert batch.trial_C.tolist() == [trial for trial in range(8) for _ in range(2)]
    for row in range(16):
        assert set(batch.episodes_CL[row].tolist()) - {-1} == {row % 2}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"estimator": "ppo"}, "reward_to_go_loo"),
        ({"group_size": 1}, "at least 2"),
        ({"temperature": 0.0}, "greedy"),
        ({"minibatches": 3}, "do not divide"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_remedy(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        config("x", **changes)
