import asyncio
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pipeline.ledger import Ledger
from pipeline.records import Provenance, Task, content_hash
from pipeline.render import RenderOptions, encode, render
from pipeline.tokens import ACTION, END_EPISODE, END_TURN, FEEDBACK, REWARD, TASK
from scaffolds.engines.scripted import ScriptedEngine
from scaffolds.engines.transformers import TransformersEngine
from scaffolds.environments.dark_bandit import DarkBandit
from scaffolds.environments.hidden_door import HiddenDoor
from scaffolds.environments.number_guess import NumberGuess
from scaffolds.protocols import Completion, Environment, Feedback, InfrastructureError, Request
from scaffolds.rollout import Rollout
from scaffolds.runner import RunnerConfig, run_trials, run_trials_sync
from scaffolds.strategies import find_strategy
from tests.scaffolds.tiny import TOKENIZER, plain_logprobs, tiny_model

SPECIAL = TOKENIZER.special_id
PROVENANCE = Provenance(source="test")
FAMILIES: dict[str, Callable[[], Environment]] = {
    "doors": HiddenDoor,
    "number": NumberGuess,
    "arms": DarkBandit,
}


class Recorded:
    """An engine that gives the texts it was made with, in turn, each with the end it was written with."""

    name = "recorded"

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)
        self.prefixes: list[list[int]] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        return [self._next(request) for request in requests]

    async def close(self) -> None:
        """Nothing is held."""

    def _next(self, request: Request) -> Completion:
        self.prefixes.append(list(request.prefix))
        text = self._texts.pop(0)
        end = next((token for token in (END_EPISODE, END_TURN, TASK) if text.endswith(token)), "")
        ids = [*TOKENIZER.encode(text.removesuffix(end)), *([SPECIAL(end)] if end else [])][: request.max_tokens]
        stopped = ids[-1] in request.stop_ids
        return Completion(tokens=tuple(ids), logprobs=(-0.5,) * len(ids), finish_reason="stop" if stopped else "length")


class Failing(HiddenDoor):
    """Fails as infrastructure does, until `failures` are used up."""

    failures = 0

    def step(self, action: str) -> Feedback:
        if type(self).failures > 0:
            type(self).failures -= 1
            raise InfrastructureError("the sandbox is down")
        return super().step(action)


def tasks_of(make: Callable[[], Environment], count: int) -> list[Task]:
    return list(itertools.islice(make().tasks("train", 0), count))


def played(engine: object, make: Callable[[], Environment], count: int = 1, **settings: object) -> list[Rollout]:
    return run_trials_sync(engine, TOKENIZER, make, tasks_of(make, count), RunnerConfig(**settings))  # type: ignore


def text(rollout: Rollout, context: int = 0) -> str:
    return TOKENIZER.decode(rollout.contexts[context].ids.tolist())


def own(rollout: Rollout, context: int = 0) -> str:
    """What the policy wrote, by the mask."""
    found = rollout.contexts[context]
    return TOKENIZER.decode(found.ids[found.policy].tolist())


def door_of(task: Task, doors: int = 6) -> tuple[str, str]:
    """The open door of a task, and one that is shut."""
    environment = HiddenDoor(doors=doors)
    answers = {}
    for door in map(str, range(1, doors + 1)):
        environment.reset(task)
        answers[environment.step(door).text] = door
    return answers["open"], answers["shut"]


@pytest.mark.parametrize("shown", [True, False], ids=["reward shown", "reward hidden"])
@pytest.mark.parametrize("make", FAMILIES.values(), ids=FAMILIES)
def test_a_live_context_is_what_rendering_the_stored_trial_gives(make: Callable[[], Environment], shown: bool) -> None:
    engine = ScriptedEngine(TOKENIZER, informed=0.4)
    for rollout in played(engine, make, 60, k=3, reward_in_context=shown, stop_at_success=True):
        trial = rollout.trial(PROVENANCE)
        again = encode(render(trial, RenderOptions(reward="true" if shown else "hidden")), TOKENIZER)
        (context,) = rollout.contexts
        assert context.ids.tolist() == again.ids.tolist()
        assert context.episodes.tolist() == again.episodes.tolist()
        assert (context.policy == (again.weights > 0)).all()


def test_a_trial_reads_as_the_grammar_says() -> None:
    (task,) = tasks_of(HiddenDoor, 1)
    opens, shut = door_of(task)
    (rollout,) = played(Recorded(f"{shut}{END_EPISODE}", f"{opens}{END_EPISODE}"), HiddenDoor, k=2)
    assert text(rollout) == (
        f"<|task|>doors 1-6<|episode|><|action|>{shut}<|end_episode|><|reward|>0<|feedback|>shut"
        f"<|episode|><|action|>{opens}<|end_episode|><|reward|>1<|feedback|>open<|end_trial|>"
    )
    assert own(rollout) == f"{shut}<|end_episode|>{opens}<|end_episode|>"
    assert rollout.rewards == (0.0, 1.0)


def test_the_stored_trial_holds_what_was_said_and_is_sealed() -> None:
    (task,) = tasks_of(NumberGuess, 1)
    engine = Recorded(f"1{END_TURN}", f"31{END_EPISODE}")
    (rollout,) = played(engine, NumberGuess, k=1)
    trial = rollout.trial(PROVENANCE, split="train")
    assert [(s.kind, s.text) for s in trial.episodes[0].steps] == [
        ("action", "1"),
        ("feedback", "higher"),
        ("action", "31"),
        ("feedback", "lower"),
    ]
    assert (trial.episodes[0].reward, trial.episodes[0].reward_source) == (0.0, "verifier")
    assert trial.trial_id == content_hash(trial) and trial.split == "train"
    assert trial.group_id == f"number_guess/number 1-31 in 2/{task.seed}"


def test_trials_on_one_instance_share_its_group_and_others_do_not() -> None:
    (task, other) = tasks_of(HiddenDoor, 2)
    engine = ScriptedEngine(TOKENIZER, informed=0.0)
    rollouts = run_trials_sync(engine, TOKENIZER, HiddenDoor, [task, task, other], RunnerConfig(k=5))
    groups = [rollout.trial(PROVENANCE).group_id for rollout in rollouts]
    assert groups[0] == groups[1] != groups[2]
    assert text(rollouts[0]) != text(rollouts[1])


def test_the_context_only_ever_grows_and_each_request_sees_all_of_it() -> None:
    engine = Recorded(*[f"1{END_TURN}", f"2{END_EPISODE}"] * 3)
    (rollout,) = played(engine, NumberGuess, k=3)
    ids = rollout.contexts[0].ids.tolist()
    assert [ids[: len(prefix)] for prefix in engine.prefixes] == engine.prefixes
    assert all(prefix[-1] == SPECIAL(ACTION) for prefix in engine.prefixes)


def test_log_probabilities_stand_at_their_tokens_and_are_the_models() -> None:
    model = tiny_model()
    for rollout in played(TransformersEngine(model), NumberGuess, 12, k=3, max_action_tokens=3, temperature=0.8):
        (context,) = rollout.contexts
        ids = context.ids.tolist()
        plain = plain_logprobs(model, ids[:1], ids[1:], 0.8).numpy()
        assert context.policy.any() and not context.policy[0]
        assert context.logprobs[1:][context.policy[1:]] == pytest.approx(plain[context.policy[1:]], abs=1e-4)
        assert (context.logprobs[~context.policy] == 0.0).all()


def test_an_end_turn_where_the_world_takes_no_more_is_closed_by_the_runner_outside_the_mask() -> None:
    (task,) = tasks_of(HiddenDoor, 1)
    opens, _ = door_of(task)
    (rollout,) = played(Recorded(f"{opens}{END_TURN}"), HiddenDoor, k=1)
    assert text(rollout) == (
        f"<|task|>doors 1-6<|episode|><|action|>{opens}<|end_episode|><|reward|>1<|feedback|>open<|end_trial|>"
    )
    assert own(rollout) == opens
    assert rollout.contexts[0].ids.tolist() == encode(render(rollout.trial(PROVENANCE)), TOKENIZER).ids.tolist()


def test_an_action_that_is_too_long_is_a_failed_episode_and_stays_in_the_record() -> None:
    (task,) = tasks_of(HiddenDoor, 1)
    opens, _ = door_of(task)
    (rollout,) = played(Recorded(f"{opens} and more{END_EPISODE}", f"{opens}{END_EPISODE}"), HiddenDoor, k=2,
                        max_action_tokens=5)  # fmt: skip
    assert rollout.rewards == (0.0, 1.0)
    assert f"{opens} and<|end_episode|><|reward|>0<|feedback|>too long<|episode|>" in text(rollout)
    assert own(rollout) == f"{opens} and{opens}<|end_episode|>"
    assert [step.text for step in rollout.episodes[0].steps] == [f"{opens} and", "too long"]
    assert rollout.contexts[0].ids.tolist() == encode(render(rollout.trial(PROVENANCE)), TOKENIZER).ids.tolist()


def test_structure_out_of_place_is_a_failed_episode_and_stays_with_the_policy() -> None:
    (task,) = tasks_of(HiddenDoor, 1)
    opens, _ = door_of(task)
    (rollout,) = played(Recorded(f"{opens}{TASK}"), HiddenDoor, k=1)
    assert rollout.rewards == (0.0,)
    assert own(rollout) == f"{opens}{TASK}"
    assert [step.text for step in rollout.episodes[0].steps] == [f"{opens}{TASK}", "malformed"]


def test_an_episode_of_too_many_actions_is_closed() -> None:
    make = lambda: NumberGuess(numbers=2**20, guesses=100)  # noqa: E731
    (rollout,) = played(Recorded(*[f"0{END_TURN}"] * 4), make, k=2, max_actions=2)
    assert [len(episode.actions) for episode in rollout.episodes] == [2, 2]
    assert rollout.contexts[0].ids.tolist() == encode(render(rollout.trial(PROVENANCE)), TOKENIZER).ids.tolist()


def test_the_stop_rule_ends_a_trial_at_its_first_success_and_only_if_asked() -> None:
    engine = ScriptedEngine(TOKENIZER, informed=1.0)
    for rollout in played(engine, HiddenDoor, 50, k=6, stop_at_success=True):
        assert rollout.rewards == (*(0.0,) * (len(rollout.rewards) - 1), 1.0)
        assert len(rollout.episodes) == len(rollout.rewards)
    assert {len(rollout.rewards) for rollout in played(engine, HiddenDoor, 50, k=6)} == {6}


def test_rewards_are_in_the_context_only_if_asked() -> None:
    engine = ScriptedEngine(TOKENIZER)
    for shown in (True, False):
        for rollout in played(engine, HiddenDoor, 5, k=3, reward_in_context=shown):
            assert text(rollout).count(REWARD) == (3 if shown else 0)
            assert text(rollout).count(FEEDBACK) == 3


def test_a_markovian_policy_sees_the_task_and_its_own_episode_alone() -> None:
    engine = Recorded(*[f"1{END_TURN}", f"2{END_EPISODE}"] * 3)
    (rollout,) = played(engine, NumberGuess, k=3, markov=True)
    assert len(rollout.contexts) == len(rollout.rewards) == 3
    begun = [prefix for prefix in engine.prefixes if len(prefix) == len(engine.prefixes[0])]
    assert begun == [engine.prefixes[0]] * 3
    for j, context in enumerate(rollout.contexts):
        assert set(context.episodes.tolist()) == {-1, j}
        assert own(rollout, j) == f"1{END_TURN}2{END_EPISODE}"
        assert text(rollout, j).count("<|episode|>") == 1 == text(rollout, j).count(TASK)


def test_a_markovian_explorer_does_not_learn_and_one_with_memory_does() -> None:
    engine = ScriptedEngine(TOKENIZER, informed=1.0)
    means = {
        markov: np.mean([r.rewards for r in played(engine, HiddenDoor, 1500, k=4, markov=markov)], axis=0)
        for markov in (True, False)
    }
    error = math.sqrt(5 / 36 / 1500)
    assert np.abs(means[True] - 1 / 6).max() < 3.5 * error
    assert means[False][3] > 0.6


def test_samples_do_not_depend_on_how_trials_are_played_together() -> None:
    model = tiny_model()
    tasks = tasks_of(NumberGuess, 20)

    def run(part: slice = slice(None), first: int = 0, **settings: object) -> list[list[int]]:
        config = RunnerConfig(k=2, max_action_tokens=3, seed=5, **settings)  # type: ignore[arg-type]
        rollouts = run_trials_sync(
            TransformersEngine(model), TOKENIZER, NumberGuess, tasks[part], config, first_index=first
        )
        assert [r.index for r in rollouts] == [first + i for i in range(len(tasks[part]))]
        return [r.contexts[0].ids.tolist() for r in rollouts]

    together = run()
    assert run(live_trials=3) == together
    assert run(stream=True) == together
    assert run(slice(0, 7)) + run(slice(7, None), first=7) == together
    assert len({tuple(ids) for ids in together}) > 15
    assert run(live_trials=3) != run(first=1)


def test_a_trial_that_infrastructure_failed_is_played_again_from_its_start() -> None:
    expected = [text(r) for r in played(ScriptedEngine(TOKENIZER), HiddenDoor, 8, k=2)]
    for stream in (False, True):
        Failing.failures = 3
        found = played(ScriptedEngine(TOKENIZER), Failing, 8, k=2, stream=stream)
        assert [text(r) for r in found] == expected


def test_a_trial_that_infrastructure_fails_for_good_is_an_error_and_no_episode() -> None:
    tasks = tasks_of(Failing, 4)
    for stream in (False, True):
        ledger = Ledger(stage="synth", unit="trials")
        Failing.failures = 1
        config = RunnerConfig(k=2, retries=0, stream=stream)
        engine = ScriptedEngine(TOKENIZER)
        rollouts = run_trials_sync(engine, TOKENIZER, Failing, tasks, config, ledger=ledger)
        ledger.check()
        assert (len(rollouts), ledger.rows_in, ledger.rows_out, dict(ledger.errored)) == (
            3,
            4,
            3,
            {"InfrastructureError": 1},
        )
        Failing.failures = 1
        with pytest.raises(InfrastructureError, match="sandbox is down"):
            run_trials_sync(engine, TOKENIZER, Failing, tasks, config)


def test_an_engine_that_fails_once_costs_no_trial() -> None:
    class Flaky(ScriptedEngine):
        calls = 0

        async def generate(self, requests: Sequence[Request]) -> list[Completion]:
            self.calls += 1
            if self.calls == 2:
                raise InfrastructureError("the engine answered 503")
            return await super().generate(requests)

    expected = [text(r) for r in played(ScriptedEngine(TOKENIZER), HiddenDoor, 5, k=3)]
    assert [text(r) for r in played(Flaky(TOKENIZER), HiddenDoor, 5, k=3)] == expected


def test_the_runner_runs_in_the_callers_event_loop_too() -> None:
    tasks = tasks_of(HiddenDoor, 3)
    found = asyncio.run(run_trials(ScriptedEngine(TOKENIZER), TOKENIZER, HiddenDoor, tasks, RunnerConfig(k=1)))
    assert len(found) == 3
    assert run_trials_sync(ScriptedEngine(TOKENIZER), TOKENIZER, HiddenDoor, [], RunnerConfig()) == []


def test_strategies_are_found_by_name_and_settings_are_checked() -> None:
    assert find_strategy("retry").__name__ == "retry"
    with pytest.raises(ValueError, match="retry"):
        find_strategy("give_up")
    with pytest.raises(ValueError, match="k is 0"):
        RunnerConfig(k=0)
    with pytest.raises(ValueError, match="negative"):
        RunnerConfig(temperature=-1.0)
