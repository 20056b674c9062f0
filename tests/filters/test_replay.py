"""The replay filter drops edits that no repository could take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from filters.shown import shown_files, words
from pipeline.records import Step, Trial, seal
from sources.edits import Edit
from sources.prompt import prompt
from tests.filters.trials import FIRST_EDIT, mined_trial, reason, step, synthetic_trial, with_edit, with_steps

CREATE = "--- /dev/null\n+++ b/new.py\n@@ -0,0 +1,2 @@\n+one\n+two\n"


def test_edits_as_git_prints_them_are_kept() -> None:
    assert reason("replay", mined_trial()) == ""
    assert reason("replay", synthetic_trial()) == ""


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (FIRST_EDIT.replace("-10,3 +10,4", "-10,3 +10,9"), "hunk_counts"),
        (FIRST_EDIT.replace("+        rebate = self.rebate_of(items)\n", ""), "hunk_counts"),
        (FIRST_EDIT.replace("shop/cart.py", "../cart.py"), "unsafe_path"),
        (FIRST_EDIT + FIRST_EDIT, "file_twice"),
        ("Sorry, I cannot.", "unparsable"),
        (FIRST_EDIT + "@@ -11,1 +12,1 @@\n-x\n+y\n", "hunk_order"),
        ("", "empty"),
        ("--- a/x\n+++ /dev/null\n@@ -1,2 +1 @@\n-one\n two\n", "does_not_apply"),
    ],
    ids=["too_few", "line_lost", "climbs", "twice", "prose", "overlap", "empty", "half_deleted"],
)
def test_a_broken_edit_is_dropped_with_its_reason(edit: str, code: str) -> None:
    assert reason("replay", with_edit(mined_trial(), 1, edit)) == code


def test_a_file_that_the_attempt_created_must_be_edited_as_what_it_is() -> None:
    def edited(second: str) -> tuple[Step, ...]:
        return (step("action", "edit", CREATE, 0), step("action", "edit", second, 0))

    good = "--- a/new.py\n+++ b/new.py\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
    assert reason("replay", with_steps(mined_trial(), 0, *edited(good))) == ""
    assert reason("replay", with_steps(mined_trial(), 0, *edited(good.replace("-two", "-too")))) == "does_not_apply"


def test_an_episode_without_an_edit_is_dropped_unless_allowed() -> None:
    trial = with_steps(mined_trial(), 0, step("action", "message", "Words only", 0))
    assert reason("replay", trial) == "no_edit"
    assert reason("replay", trial, need_edit=False) == ""


LATER_EDIT = FIRST_EDIT.replace("-10,3 +10,4", "-110,3 +110,4").replace("index 1111111..2222222 100644\n", "")


def file_of(lines: int) -> str:
    text = [f"line {number}" for number in range(1, lines + 1)]
    text[109:112] = ["    def total(self):", "        items = self.items", "        return sum(items)"]
    return "\n".join(text[:lines]) + "\n"


def shown(content: str, context_chars: int) -> Trial:
    """A trial whose prompt the miner made of a file and the first edit."""
    edit = Edit(text=LATER_EDIT, before={"shop/cart.py": content}, paths=("shop/cart.py",))
    trial = with_edit(mined_trial(), 0, LATER_EDIT)
    text = prompt("shop/shop", "Count the rebate.", edit, context_chars)
    return seal(replace(trial, task=replace(trial.task, prompt=text)))


@pytest.mark.parametrize("context_chars", [100_000, 900], ids=["whole", "cut"])
def test_the_first_edit_must_fit_the_file_as_the_miner_shows_it(context_chars: int) -> None:
    content = file_of(300)
    trial = shown(content, context_chars)
    assert trial.task.prompt.count("not shown]") == (2 if context_chars == 900 else 0)
    assert "return sum(items)" in trial.task.prompt
    assert reason("replay", trial) == ""
    for spoilt in (content.replace("sum(items)", "sum(item)"), "one line more\n" + content):
        assert reason("replay", shown(spoilt, context_chars)) == "not_as_shown"


def test_a_file_that_ends_before_the_edit_does_not_fit() -> None:
    assert reason("replay", shown(file_of(111), 100_000)) == "not_as_shown"


def test_what_parts_two_shown_files_is_no_line_of_either() -> None:
    files = shown_files("Words\n\n=== a ===\nx\n\n\n=== b ===\n[lines 1 to 4 not shown]\ny\n", ["a", "b", "c"])
    assert {path: (file.lines, file.whole) for path, file in files.items()} == {
        "a": ({1: "x", 2: ""}, True),
        "b": ({5: "y"}, False),
    }
    assert words("Words\n\n=== b ===\n\n=== a ===\n", ["a", "b"]) == "Words\n"


def test_files_that_the_prompt_does_not_show_are_not_compared() -> None:
    assert reason("replay", shown(file_of(300).replace("sum(", "min("), 10)) == ""
