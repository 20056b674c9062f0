"""The hindsight filter fires on what was not knowable, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.records import Chain, seal
from tests.filters.trials import (
    FIRST_EDIT,
    SECOND_EDIT,
    hours,
    mined_trial,
    reason,
    step,
    synthetic_trial,
    with_edit,
    with_steps,
)

FIX = [line[1:].strip() for line in SECOND_EDIT.split("\n") if line.startswith("+  ")]


def test_a_trial_in_which_all_was_knowable_is_kept() -> None:
    assert reason("hindsight", mined_trial()) == ""


def test_synthetic_trials_need_no_times() -> None:
    assert reason("hindsight", synthetic_trial()) == ""


def test_a_step_without_a_time_is_dropped() -> None:
    steps = mined_trial().episodes[1].steps
    spoilt = with_steps(mined_trial(), 1, replace(steps[0], available_at=None), *steps[1:])
    assert reason("hindsight", spoilt) == "no_available_at"


def test_feedback_that_came_after_the_next_action_is_dropped() -> None:
    steps = mined_trial().episodes[1].steps
    late = step("feedback", "issue", "An empty cart raises.", 8.5)
    assert reason("hindsight", with_steps(mined_trial(), 1, late, *steps[1:])) == "known_only_later"
    in_time = step("feedback", "issue", "An empty cart raises.", 8)
    assert reason("hindsight", with_steps(mined_trial(), 1, in_time, *steps[1:])) == ""


def test_feedback_written_early_and_published_late_is_dropped() -> None:
    steps = mined_trial().episodes[1].steps
    review = step("feedback", "review", "Empty carts?", 4, known=10)
    assert reason("hindsight", with_steps(mined_trial(), 1, review, *steps[1:])) == "known_only_later"


def test_feedback_of_the_episode_before_counts_too() -> None:
    trial = mined_trial()
    late = step("feedback", "review", "Reverted, empty carts raise.", 20)
    spoilt = with_steps(trial, 0, *trial.episodes[0].steps, late)
    assert reason("hindsight", spoilt) == "known_only_later"


def test_episodes_out_of_order_are_dropped() -> None:
    trial = mined_trial()
    moved = (replace(each, at=hours(30), available_at=hours(30)) for each in trial.episodes[0].steps)
    assert reason("hindsight", with_steps(trial, 0, *moved)) == "known_only_later"


def test_what_follows_the_last_action_may_come_at_any_time() -> None:
    trial = mined_trial()
    after = step("feedback", "review", "Thank you.", 500)
    assert reason("hindsight", with_steps(trial, 1, *trial.episodes[1].steps, after)) == ""


def test_a_text_known_before_it_was_written_is_dropped() -> None:
    steps = mined_trial().episodes[1].steps
    spoilt = with_steps(mined_trial(), 1, step("feedback", "issue", "x", 5, known=4), *steps[1:])
    assert reason("hindsight", spoilt) == "available_before_it_happened"


def test_clocks_may_differ_by_what_the_config_allows() -> None:
    steps = mined_trial().episodes[1].steps
    late = with_steps(mined_trial(), 1, step("feedback", "issue", "x", 8.5), *steps[1:])
    assert reason("hindsight", late, skew_seconds=1800.0) == ""
    assert reason("hindsight", late, skew_seconds=1799.0) == "known_only_later"


def prompted(text: str) -> object:
    trial = mined_trial()
    return seal(replace(trial, task=replace(trial.task, prompt=text)))


@pytest.mark.parametrize("mark", ["", "> ", "+", "    ", "+\t"], ids=["bare", "quoted", "diff", "indented", "tab"])
def test_lines_of_the_fix_in_the_prompt_are_dropped(mark: str) -> None:
    leaked = "Do this:\n" + "\n".join(mark + line for line in FIX)
    assert reason("hindsight", prompted(leaked)) == "fix_leaks_into_prompt"  # type: ignore[arg-type]


def test_lines_that_the_repository_had_already_are_no_leak() -> None:
    shown = "\n".join(line[1:] for line in FIRST_EDIT.split("\n")[4:] if not line.startswith("+"))
    assert "items = self.items" in shown
    assert reason("hindsight", prompted(shown)) == ""  # type: ignore[arg-type]


def test_lines_copied_from_a_file_that_the_prompt_shows_are_no_leak() -> None:
    file = "\n=== shop/cart.py ===\n" + "\n".join(FIX) + "\n"
    assert reason("hindsight", prompted("Task\n" + file)) == ""  # type: ignore[arg-type]
    other = file.replace("cart.py", "other.py")
    assert reason("hindsight", prompted("Task\n" + other)) == "fix_leaks_into_prompt"  # type: ignore[arg-type]


def test_a_fix_of_one_line_leaks_by_that_line() -> None:
    line = "        return max(sum(items) - rebate, self.least)"
    edit = f"--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -13 +13 @@\n-        return sum(items) - rebate\n+{line}\n"
    trial = with_edit(mined_trial(), 1, edit)
    assert reason("hindsight", trial) == ""
    told = replace(trial, task=replace(trial.task, prompt=f"Write\n{line}\n"))
    assert reason("hindsight", seal(told)) == "fix_leaks_into_prompt"


def test_a_fix_that_restores_what_the_attempt_removed_is_no_leak() -> None:
    whole = mined_trial()
    removed = "\n".join(f"-{line}" for line in FIX)
    first = f"--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -1,{len(FIX)} +1 @@\n{removed}\n+pass\n"
    added = "\n".join(f"+{line}" for line in FIX)
    second = f"--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -1 +1,{len(FIX)} @@\n-pass\n{added}\n"
    trial = with_edit(with_edit(whole, 0, first), 1, second)
    prompt = replace(trial.task, prompt="\n".join(FIX))
    assert reason("hindsight", seal(replace(trial, task=prompt))) == ""


def test_one_common_line_is_no_leak() -> None:
    assert reason("hindsight", prompted(f"Why does it say {FIX[1]} here?\n{FIX[1]}\n")) == ""  # type: ignore[arg-type]


def test_a_reviewer_who_spells_out_the_fix_in_time_is_no_leak() -> None:
    steps = mined_trial().episodes[1].steps
    told = step("feedback", "review", "```suggestion\n" + "\n".join(FIX) + "\n```", 6)
    assert reason("hindsight", with_steps(mined_trial(), 1, told, *steps[1:])) == ""


def test_the_message_of_the_fix_may_stand_neither_in_the_prompt_nor_in_feedback() -> None:
    message = "Return zero for carts that hold nothing (#12)"
    assert reason("hindsight", prompted(f"Task\n\n{message}\n")) == "message_leaks"  # type: ignore[arg-type]
    steps = mined_trial().episodes[1].steps
    told = with_steps(mined_trial(), 1, step("feedback", "review", f"Fixed by:\n> {message}", 6), *steps[1:])
    assert reason("hindsight", told) == "message_leaks"


def test_a_reland_may_repeat_the_message_of_the_first_attempt_that_became_the_prompt() -> None:
    trial = mined_trial()
    again = trial.episodes[0].steps[0].text
    steps = (replace(each, text=again) if each.channel == "message" else each for each in trial.episodes[1].steps)
    trial = replace(with_steps(trial, 1, *steps), task=replace(trial.task, prompt=again))
    assert reason("hindsight", seal(trial)) == ""


def test_a_reland_may_repeat_the_lines_of_the_first_attempt() -> None:
    def edit(*lines: str) -> str:
        added = "\n".join(f"+{line}" for line in lines)
        return f"--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -1 +1,{len(lines)} @@\n-pass\n{added}\n"

    many = [f"        value = compute(number, {number})" for number in range(20)]
    trial = with_edit(with_edit(mined_trial(), 0, edit(*many, *FIX[:3])), 1, edit(*FIX[:3]))
    task = replace(trial.task, prompt="\n".join(FIX[:3]))
    assert reason("hindsight", seal(replace(trial, task=task))) == ""
    alone = with_edit(trial, 0, edit(*many))
    assert reason("hindsight", seal(replace(alone, task=task))) == "fix_leaks_into_prompt"


@pytest.mark.parametrize(
    "name", ["#12", "GH-12", "https://host/shop/shop/pull/12", "bc" * 20, "bcbcbcbcb"], ids=lambda name: name[:12]
)
def test_the_name_of_the_fix_may_not_stand_before_it(name: str) -> None:
    assert reason("hindsight", prompted(f"See {name}.")) == "fix_named_early"  # type: ignore[arg-type]
    trial = mined_trial()
    told = with_steps(trial, 0, *trial.episodes[0].steps, step("feedback", "review", f"Superseded by {name}", 3))
    assert reason("hindsight", told) == "fix_named_early"


@pytest.mark.parametrize("name", ["#7", "#123", "112", "a" * 40, "bcbcbc", "deadbeefdeadbeef"])
def test_other_names_and_numbers_may(name: str) -> None:
    assert reason("hindsight", prompted(f"See {name}.")) == ""  # type: ignore[arg-type]


def test_without_a_chain_nothing_is_named() -> None:
    assert reason("hindsight", seal(replace(mined_trial(), chain=Chain()))) == ""


def test_pushes_to_one_pull_request_may_name_it() -> None:
    trial = mined_trial()
    pushes = tuple(replace(attempt, number=7) for attempt in trial.chain.attempts)
    task = replace(trial.task, prompt="See #7.")
    assert reason("hindsight", seal(replace(trial, task=task, chain=replace(trial.chain, attempts=pushes)))) == ""
