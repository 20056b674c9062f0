"""The report's page: hostile texts, the funnel, the choice of trials, and what a person must be able to read."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.records import AttemptRef, Chain, Note, Provenance, Step, Trial, Version, seal
from pipeline.report_choice import choose, survey, trial_kind
from pipeline.report_funnel import stage_views
from pipeline.report_text import DiffSize, block, diff_size
from tests.pipeline.report_lakes import PYTEST, Reader, lake_of, mined, page_of, synthetic

HOSTILE = (
    "<script>alert(1)</script>",
    "</style></pre></section><img src=x onerror=alert(1)>",
    "\"><svg onload='alert(1)'>",
    "<!-- --> <![CDATA[ ]]> &lt;b&gt; &#x3c;script&#x3e;",
    "javascript:alert(1)//",
    "</title><base href='//evil.example'><meta http-equiv=x>",
)


def hostile_trial(text: str, kind: str = "fixes") -> Trial:
    """`text` in every place that a stranger can write to."""
    trial = mined(kind)
    first, second = trial.episodes
    step = replace(first.steps[0], text=text, actor=text)
    return seal(
        replace(
            trial,
            task=replace(trial.task, prompt=text, repo=text, language=text, base_commit=text),
            group_id=text,
            episodes=(replace(first, steps=(step, *first.steps[1:]), reward_evidence=text), second),
            chain=Chain(
                attempts=(AttemptRef(attempt_id=text, kind=text, number=1, commits=(text,)),),
                links=(replace(trial.chain.links[0], source=text, target=text, evidence=text, rule=text),),
            ),
            provenance=Provenance(
                source=text,
                urls=(text, f"https://example.org/{text}"),
                license=text,
                model=text,
                sampling=text,
                versions=(Version(name=text, version=text),),
            ),
            notes=(Note(filter=text, action=text, reason=text, detail=text),),
            split=text,
        )
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_trial_becomes_markup(tmp_path: Path, text: str) -> None:
    kind = text.replace(" ", "_")
    harmless = Reader(page_of(lake_of(tmp_path / "a", hostile_trial("x", "x")), tmp_path, title="x"))
    hostile = Reader(page_of(lake_of(tmp_path / "b", hostile_trial(text, kind)), tmp_path, title=text))
    # a web address that holds such text stays plain text instead of a link
    built = [[tag for tag, _ in page.tags if tag not in ("a", "bdi")] for page in (hostile, harmless)]
    assert built[0] == built[1]
    names = {name for _, attributes in hostile.tags for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert all(re.match(r"#|https?://", attributes["href"] or "") for tag, attributes in hostile.tags if tag == "a")
    assert hostile.text.count(text) >= 15
    assert hostile.open == []


def test_the_page_fetches_nothing_and_runs_nothing(tmp_path: Path) -> None:
    reader = Reader(page_of(lake_of(tmp_path / "lake", mined(), synthetic()), tmp_path))
    policy = next(a for tag, a in reader.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'; ")
    assert "script" not in (policy["content"] or "")
    assert {"script", "link", "img", "iframe", "object", "embed", "form", "base"}.isdisjoint(t for t, _ in reader.tags)
    assert not [a for _, a in reader.tags if {"src", "srcset", "xlink:href", "action"} & set(a) and "#" not in str(a)]
    style = re.search(r"<style>(.*?)</style>", (tmp_path / "report.html").read_text(), re.DOTALL)
    assert style is not None
    assert "url(" not in style[1] and "@import" not in style[1]


def test_characters_that_hide_or_turn_text_are_shown(tmp_path: Path) -> None:
    text = "a\u202eb\x00c\u200bd\x1b[31mred\x1b[0m\x07\r\ufeff\u2066e\x85\U000e0041"
    page = page_of(lake_of(tmp_path / "lake", mined(text=text)), tmp_path)
    shown = Reader(page).text
    assert "aU+202Eb␀cU+200Bd␛[31mred␛[0m␇␍U+FEFFU+2066eU+0085U+E0041" in shown
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\U000e0000-\U000e0fff]", page
    )


def test_text_in_scripts_that_need_joiners_stays_whole(tmp_path: Path) -> None:
    text = "\U0001f468\u200d\U0001f469\u200d\U0001f467 क\u094d\u200dष \u0627\u0644\u0639\u0631\u0628\u064a\u0629"
    assert text in Reader(page_of(lake_of(tmp_path / "lake", mined(text=text)), tmp_path)).text


def test_a_huge_line_is_cut_and_its_size_said(tmp_path: Path) -> None:
    page = page_of(lake_of(tmp_path / "lake", mined(text="<" * 5_000_000)), tmp_path)
    assert len(page) < 200_000
    assert "5.0 MB more on this line, not shown" in page


def test_a_long_text_is_folded_then_cut_and_nothing_of_it_lost_silently(tmp_path: Path) -> None:
    text = "".join(f"line {n}\n" for n in range(10_000))
    shown = Reader(page_of(lake_of(tmp_path / "lake", mined(text=text)), tmp_path)).text
    assert "9,976 more lines (10,000 lines, 98.9 kB in all)" in shown
    assert "line 399" in shown and "line 400" not in shown
    assert "… 9,600 more lines (95.4 kB), not shown" in shown


def test_the_end_of_a_log_stands_open() -> None:
    opened = re.sub(r"<details>.*</details>", "", block(PYTEST, end=True), flags=re.DOTALL)
    assert "test session starts" in opened
    assert "FAILED tests/test_cart.py::test_counts" in opened
    assert "test_case_15" not in opened


def test_lines_of_a_diff_are_told_apart_even_where_they_look_like_headers() -> None:
    text = (
        "Why.\n--- a/q.sql\n+++ b/q.sql\n@@ -1,3 +1,3 @@\n--- a comment goes\n+++ b comes\n keeps\n context\n-- after\n"
        "<<<<<<< SEARCH\nold\n=======\nnew\n>>>>>>> REPLACE\n"
    )
    styles = re.findall(r'<span class="(\w+)">([^<]*)</span>', block(text))
    assert styles == [
        ("file", "--- a/q.sql"),
        ("meta", "+++ b/q.sql"),
        ("hunk", "@@ -1,3 +1,3 @@"),
        ("del", "--- a comment goes"),
        ("add", "+++ b comes"),
        ("ctx", " keeps"),
        ("ctx", " context"),
        ("hunk", "&lt;&lt;&lt;&lt;&lt;&lt;&lt; SEARCH"),
        ("del", "old"),
        ("hunk", "======="),
        ("add", "new"),
        ("hunk", "&gt;&gt;&gt;&gt;&gt;&gt;&gt; REPLACE"),
    ]
    assert diff_size(text) == DiffSize(files=1, added=2, deleted=2)
    assert diff_size("a - b\n+ c\n") is None


def test_the_funnel_shows_rows_reasons_errors_and_counts(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", mined(), mined(), synthetic())
    shown = Reader(page_of(lake, tmp_path)).text
    for words in ("does_not_replay2", "sandbox_down1", "exact_duplicate1", "fixes2", "tests4", "verifier3"):
        assert words in shown.replace(" ", ""), words
    assert shown.index("does_not_replay") < shown.index("exact_duplicate")


def test_stages_stand_in_the_order_that_the_config_gives(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", mined())
    assert [view.name for view in stage_views(lake)] == ["trials", "filtered"]
    assert [view.name for view in stage_views(lake, ["filtered"])] == ["filtered", "trials"]


def test_trials_are_chosen_for_executed_rewards_and_different_kinds(tmp_path: Path) -> None:
    inferred = [mined("reverts", n, reward_source="history") for n in range(9)]
    executed = mined("fixes", 20), mined("fixes", 21)
    lake = lake_of(tmp_path / "lake", *(synthetic(n) for n in range(9)), *inferred, *executed)
    chosen = choose(lake, survey(lake, "trials")[1])
    assert [trial_kind(trial) for trial in chosen] == ["fixes", "reverts", "hidden_door"]
    assert chosen[0].trial_id == min(trial.trial_id for trial in executed)
    assert chosen[1].trial_id == min(trial.trial_id for trial in inferred)


def test_the_best_trial_is_found_wherever_it_stands_in_a_long_stage(tmp_path: Path) -> None:
    trials = [synthetic(n) for n in range(300)]
    dull = [seal(replace(trial, episodes=trial.episodes[:1])) for trial in trials]
    lake = lake_of(tmp_path / "lake", *dull[:170], trials[170], *dull[171:])
    assert choose(lake, survey(lake, "trials")[1])[0] == trials[170]


def test_the_choice_and_the_page_do_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    trials = [mined("fixes", n) for n in range(40)] + [mined("reverts", n) for n in range(40, 80)]
    trials += [synthetic(n) for n in range(40)]
    pages = [
        page_of(lake_of(tmp_path / name, *order), tmp_path) for name, order in (("a", trials), ("b", trials[::-1]))
    ]
    # sizes on disk differ, as rows in another order compress differently
    first, second = (re.sub(r"[\d.]+ kB<br>", "", page) for page in pages)
    assert first == second


def test_missing_kinds_of_trials_are_said(tmp_path: Path) -> None:
    page = page_of(lake_of(tmp_path / "lake", synthetic(1), synthetic(2)), tmp_path)
    assert "The corpus holds no mined trial." in page
    assert "Two trials to read" in page
    assert "The corpus holds no synthetic trial." in page_of(lake_of(tmp_path / "other", mined()), tmp_path)


def test_a_null_reward_is_not_known_yet_and_a_reward_tells_its_source(tmp_path: Path) -> None:
    trial = mined()
    first, second = trial.episodes
    waiting = replace(second, reward=None, reward_source="history", reward_evidence="14 days of 180 have passed")
    lake = lake_of(tmp_path / "lake", seal(replace(trial, episodes=(replace(first, verdict=0.8), waiting))))
    shown = Reader(page_of(lake, tmp_path)).text
    assert "reward not known yet" in shown and "14 days of 180 have passed" in shown
    assert "reward 0 executed: the tests were run in the sandbox" in shown
    assert "the policy's own verdict before: 0.80" in shown
    assert "rewards not known yet1" in shown.replace("\n", "") or "1rewards not known yet" in shown


def test_feedback_behind_the_last_action_stands_below_the_reward(tmp_path: Path) -> None:
    shown = Reader(page_of(lake_of(tmp_path / "lake", synthetic()), tmp_path)).text
    assert shown.index("door 1") < shown.index("reward 0") < shown.index("after the reward") < shown.index("a goat")


def test_a_verdict_stands_above_the_reward_and_a_reflection_below(tmp_path: Path) -> None:
    trial = synthetic()
    own = (
        Step(kind="action", channel="verdict", text="surely a goat"),
        Step(kind="action", channel="reflection", text="next time another door"),
    )
    episodes = (replace(trial.episodes[0], steps=(*trial.episodes[0].steps, *own)), *trial.episodes[1:])
    shown = Reader(page_of(lake_of(tmp_path / "lake", seal(replace(trial, episodes=episodes))), tmp_path)).text
    order = ["door 1", "surely a goat", "reward 0 ", "a goat", "next time another door", "Episode 2 of 3"]
    places = [shown.index(words, shown.index("Episode 1 of 3")) for words in order]
    places[3] = shown.index("a goat", places[2])
    assert places == sorted(places)


def test_an_empty_lake_makes_a_page_that_says_so(tmp_path: Path) -> None:
    reader = Reader(page_of(Lake(tmp_path / "lake"), tmp_path))
    assert "The lake holds no stage yet" in reader.text
    assert "No trials: stage filtered holds none" in reader.text


def test_an_unfinished_stage_is_shown_as_such(tmp_path: Path) -> None:
    lake = lake_of(tmp_path / "lake", mined())
    lake.delete("filtered/_runs/all/run.json")
    shown = Reader(page_of(lake, tmp_path)).text
    assert "Stage filtered is unfinished" in shown
    assert "the figures are of the 1 shard committed so far" in shown


def test_headings_descend_without_gaps_and_anchors_are_unique(tmp_path: Path) -> None:
    reader = Reader(page_of(lake_of(tmp_path / "lake", mined(), mined("reverts"), synthetic()), tmp_path))
    assert reader.headings[0] == 1 and reader.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(reader.headings))
    ids = [a["id"] for _, a in reader.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {(a["href"] or "")[1:] for tag, a in reader.tags if tag == "a" and (a["href"] or "").startswith("#")}
    assert targets <= set(ids)
