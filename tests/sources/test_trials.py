"""Chains to trials: order, feedback, rewards, times, and nothing told before it was known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import Trial, from_batch
from sources.edits import replay
from sources.git import Git
from sources.mine import MineConfig, run
from tests.sources.gitrepo import DAY, START, GitRepo, body

NAME = "https://github.com/org/project"
MIT = (
    "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software and\n"
)
Mine = Callable[..., list[Trial]]


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "r")
    made.commit("Start of it all", {"code.py": body(), "other.py": body(), "LICENSE": MIT})
    return made


@pytest.fixture
def mine(repo: GitRepo, tmp_path: Path) -> Mine:
    def mined(**options: object) -> list[Trial]:
        path = repo.path if repo.finished else repo.done()
        run(Lake(tmp_path / "lake"), MineConfig(repo=str(path), name=NAME, **options))  # type: ignore[arg-type]
        trials = trials_of(tmp_path / "lake")
        for trial in trials:
            check(path, trial)
        return trials

    return mined


def trials_of(lake: Path) -> list[Trial]:
    read = Lake(lake)
    return [t for shard in read.shards("trials") for batch in read.batches(shard.path) for t in from_batch(batch)]


def check(path: Path, trial: Trial) -> None:
    """What holds of every mined trial: times do not go back, and the first edit replays on the base commit."""
    steps = [step for episode in trial.episodes for step in episode.steps]
    times = [step.available_at for step in steps]
    assert None not in times
    assert all(earlier <= later for earlier, later in pairwise(times))  # type: ignore[operator]
    assert all(step.at <= step.available_at for step in steps)  # type: ignore[operator]
    assert trial.provenance.retrieved_at >= max(times)  # type: ignore[operator, type-var]
    assert all(episode.reward_source == "history" and episode.reward_evidence for episode in trial.episodes)
    with Git(path) as git:
        base = git.tree_of(trial.task.base_commit or "")
        tree = {change.new_path: git.object(change.new_blob) for change in git.changes(EMPTY, base)}
        edit = next(step for step in trial.episodes[0].steps if step.channel == "edit")
        replay(tree, edit.text)


EMPTY = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


def shape(trial: Trial) -> list[list[str]]:
    return [[step.channel for step in episode.steps] for episode in trial.episodes]


def rewards(trial: Trial) -> list[float | None]:
    return [episode.reward for episode in trial.episodes]


def counts(tmp_path: Path) -> Ledger:
    ledger = Lake(tmp_path / "lake").ledger("trials")
    assert ledger is not None
    return ledger


def cached(repo: GitRepo) -> str:
    return repo.squashed(
        10, "Cache the parsed settings", {"code.py": body(line2="cache")}, "Reading is slow.\n\nFixes #3"
    )


def later(repo: GitRepo, days: float = 400) -> None:
    """Let time pass, so that rewards are settled."""
    repo.commit("Much later", {"other.py": body(line9=f"day {days}")}, day=repo.day + days)


def test_a_fix_makes_two_episodes_and_its_message_belongs_to_its_action(repo: GitRepo, mine: Mine) -> None:
    base = repo.tips["main"]
    first = cached(repo)
    second = repo.squashed(
        11, "Lock the settings", {"code.py": body(line2="cache", line3="lock")}, "Regression from #10."
    )
    later(repo)
    [trial] = mine()
    assert shape(trial) == [["edit"], ["message", "edit"]]
    assert rewards(trial) == [0.0, 1.0]
    assert trial.episodes[1].steps[0].text == "Lock the settings (#11)\n\nRegression from #10."
    assert "pr:11" in (trial.episodes[0].reward_evidence or "") and second[:12] in trial.episodes[0].reward_evidence  # type: ignore[operator]
    assert trial.task.base_commit == base
    assert (trial.task.repo, trial.task.environment, trial.task.language) == (NAME, "repository", "python")
    assert [(ref.attempt_id, ref.commits[-1]) for ref in trial.chain.attempts] == [("pr:10", first), ("pr:11", second)]
    assert trial.group_id == f"{NAME}:pr:10"
    assert trial.provenance.license == "MIT"
    assert trial.provenance.urls == (f"{NAME}/pull/10", f"{NAME}/pull/11")
    assert [(note.filter, note.action, note.reason) for note in trial.notes] == [("mine", "keep", "reward_only")]


def test_the_prompt_tells_what_was_wanted_and_the_files_as_they_were_and_no_more(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    repo.squashed(11, "Lock the settings", {"code.py": body(line2="cache", line3="lock")}, "Regression from #10.")
    later(repo)
    [trial] = mine()
    prompt = trial.task.prompt
    assert "Cache the parsed settings" in prompt and "Reading is slow." in prompt
    assert f"=== code.py ===\n{body()}" in prompt
    for told in ("Fixes #3", "#10", "line2", "cache\n", "lock", "Lock", "other.py"):
        assert told not in prompt


def test_a_long_file_is_shown_where_the_first_attempt_touches_it(repo: GitRepo, mine: Mine) -> None:
    repo.commit("Grow", {"code.py": body(900)})
    repo.squashed(10, "Cache the parsed settings", {"code.py": body(900, line450="cache")})
    repo.squashed(11, "Fix a bug introduced in #10", {"code.py": body(900, line450="cache", line7="lock")})
    later(repo)
    [trial] = mine(context_chars=3_000)
    assert "line 450 of the file\n" in trial.task.prompt and "line 440 of" in trial.task.prompt
    assert "line 7 of" not in trial.task.prompt and "not shown]" in trial.task.prompt
    assert len(trial.task.prompt) < 3_200


def test_a_revert_is_feedback_that_opens_the_episode_of_the_reland(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    text = 'Revert "Cache the parsed settings (#10)" (#11)\n\nIt serves stale settings.'
    repo.commit(text, {"code.py": body()}, author="Grace")
    undo = repo.tips["main"]
    repo.commit(
        'Reapply "Cache the parsed settings" (#12)\n\nNow with a lock.', {"code.py": body(line2="cache", line3="lock")}
    )
    later(repo)
    [trial] = mine()
    assert shape(trial) == [["edit"], ["environment", "message", "edit"]]
    assert rewards(trial) == [0.0, 1.0]
    revert = trial.episodes[1].steps[0]
    assert (revert.kind, revert.actor) == ("feedback", "Grace")
    assert "It serves stale settings." in revert.text and "-cache\n+line 2 of the file" in revert.text
    assert {link.kind for link in trial.chain.links} == {"revert", "reland"}
    assert [ref.commits[-1] for ref in trial.chain.attempts][1] == undo
    assert not trial.notes


def test_a_revert_without_a_reland_trails_behind_the_only_episode(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    repo.commit('Revert "Cache the parsed settings (#10)" (#11)\n\nIt serves stale settings.', {"code.py": body()})
    [trial] = mine()
    assert shape(trial) == [["edit", "environment"]]
    assert rewards(trial) == [0.0]
    assert trial.episodes[0].steps[1].text.endswith("It serves stale settings.")


def test_the_reason_of_a_revert_is_told_where_only_its_commit_gives_it(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    title = 'Revert "Cache the parsed settings (#10)"'
    repo.merged(11, title, [(f"{title}\n\nIt serves stale settings.", {"code.py": body()})])
    [trial] = mine()
    assert trial.episodes[0].steps[1].text == f"{title}\n\nIt serves stale settings."


def test_a_revert_of_an_attempt_that_another_has_followed_is_no_feedback_on_that_one(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    repo.squashed(11, "Fix a bug introduced in #10", {"code.py": body(line2="cache", line3="lock")})
    repo.squashed(12, 'Revert "Cache the parsed settings (#10)"', {"code.py": body(line3="lock")})
    later(repo)
    [trial] = mine()
    assert shape(trial) == [["edit"], ["message", "edit"]]
    assert [ref.number for ref in trial.chain.attempts] == [10, 11]
    assert [note.reason for note in trial.notes] == ["reward_only"]


def test_what_mends_a_revert_is_no_later_attempt_at_its_task(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    repo.squashed(11, 'Revert "Cache the parsed settings (#10)"', {"code.py": body(line6="left over")})
    repo.squashed(12, "Fix a mistake made in #11", {"code.py": body()})
    later(repo)
    [trial] = mine()
    assert [ref.number for ref in trial.chain.attempts] == [10, 11]


def test_a_merged_pull_request_replays_on_the_parent_of_its_first_commit(repo: GitRepo, mine: Mine) -> None:
    base = repo.tips["main"]
    tip = repo.commit("Begin", {"code.py": body(line2="begin")}, on="t", parent=base)
    tip = repo.commit("End", {"code.py": body(line2="cache")}, on="t")
    repo.commit("Others go on", {"code.py": body(line11="others")})
    landing = repo.merge("Merge pull request #10 from ada/t\n\nCache the parsed settings", tip, base=base)
    fixed = {"code.py": body(line2="cache", line3="lock")}
    repo.commit("Fix a bug introduced in #10 (#11)", fixed, author="Grace")
    later(repo)
    [trial] = mine()
    assert trial.task.base_commit == base
    assert trial.chain.attempts[0].commits[-2:] == (tip, landing)
    edit = trial.episodes[0].steps[0].text
    assert "+cache" in edit and "+begin" not in edit and "others" not in edit


def test_what_others_changed_in_the_same_files_is_shown_before_the_next_attempt(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    repo.commit("Elsewhere", {"other.py": body(line1="elsewhere")}, day=repo.day + 1)
    repo.commit("Same file", {"code.py": body(line2="cache", line8="drift")}, day=repo.day + 1)
    drifted = repo.day
    repo.squashed(11, "Fix a bug introduced in #10", {"code.py": body(line2="cache", line8="drift", line3="lock")})
    later(repo)
    [trial] = mine()
    assert shape(trial) == [["edit"], ["environment", "message", "edit"]]
    step = trial.episodes[1].steps[0]
    assert "+drift" in step.text and "elsewhere" not in step.text and "lock" not in step.text
    assert step.available_at == datetime.fromtimestamp(int(START + drifted * DAY), UTC)
    assert [note.reason for note in trial.notes] == ["reward_only"], "drift says nothing of the outcome"


@pytest.mark.parametrize(("days", "reward"), [(179, None), (181, 1.0)])
def test_the_reward_of_what_landed_lately_is_not_guessed(
    repo: GitRepo, mine: Mine, days: float, reward: float | None
) -> None:
    cached(repo)
    repo.squashed(11, "Fix a bug introduced in #10", {"code.py": body(line2="cache", line3="lock")})
    later(repo, days)
    [trial] = mine(horizon_days=180)
    assert rewards(trial) == [0.0, reward]
    assert trial.episodes[1].reward_source == "history"


def test_what_was_undone_after_the_horizon_was_undone_all_the_same(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    repo.commit('Revert "Cache the parsed settings (#10)" (#11)', {"code.py": body()}, day=repo.day + 300)
    [trial] = mine(horizon_days=180)
    assert rewards(trial) == [0.0]


def among_others(undone: str, back: str) -> list[tuple[str, dict[str, str]]]:
    """The commits of a large change, one of which undoes an earlier one."""
    others = [(f"Write module {number}", {f"module{number}.py": "x = 1\n"}) for number in range(3)]
    return [*others, (f"Drop it\n\nThis reverts commit {undone}.", {"code.py": back})]


def test_a_doubtful_undoing_leaves_the_reward_open(repo: GitRepo, mine: Mine) -> None:
    cached(repo)
    repo.squashed(11, "Fix a bug introduced in #10", {"code.py": body(line2="cache", line3="lock")})
    fix = repo.tips["main"]
    repo.merged(12, "Settings are read by another module", among_others(fix, body(line2="cache")))
    later(repo)
    [trial] = mine()
    assert rewards(trial) == [0.0, None]
    assert "may have corrected" in (trial.episodes[1].reward_evidence or "")


def test_a_doubtful_link_alone_makes_no_chain(repo: GitRepo, mine: Mine) -> None:
    landed = cached(repo)
    repo.merged(11, "Settings are read by another module", among_others(landed, body()))
    later(repo)
    assert mine() == []
    assert len(mine(min_confidence=0.6)) == 1


def test_a_chain_goes_on_over_several_fixes_up_to_the_longest_wanted(repo: GitRepo, mine: Mine, tmp_path: Path) -> None:
    cached(repo)
    for number in range(11, 15):
        lines = {f"line{n - 8}": f"fix {n}" for n in range(11, number + 1)}
        repo.squashed(number, f"Fix a bug introduced in #{number - 1}", {"code.py": body(line2="cache", **lines)})
    later(repo)
    [trial] = mine(max_chain=3)
    assert rewards(trial) == [0.0, 0.0, 0.0]
    assert [ref.number for ref in trial.chain.attempts] == [10, 11, 12]
    assert ("chain_cut", "2 left out") in [(note.reason, note.detail) for note in trial.notes]


@pytest.mark.parametrize(
    "message", ["Fix review comments", "Address review: lock the cache", "Fix CI: lock", "fixes according to comment"]
)
def test_a_pull_request_that_rewrites_its_own_lines_is_a_trial_of_its_pushes(
    repo: GitRepo, mine: Mine, message: str
) -> None:
    one = repo.commit("Cache the settings", {"code.py": body(line2="cache")}, on="t", parent=repo.tips["main"])
    two = repo.commit("Add a note", {"note.txt": "note\n"}, on="t")
    three = repo.commit(message, {"code.py": body(line2="cache with lock")}, on="t")
    landing = repo.merge("Merge pull request #10 from ada/t\n\nCache the parsed settings", three)
    later(repo)
    [trial] = mine()
    assert shape(trial) == [["edit"], ["message", "edit"]]
    assert rewards(trial) == [0.0, 1.0]
    assert [ref.commits for ref in trial.chain.attempts] == [(one, two), (three, landing)]
    assert [ref.attempt_id for ref in trial.chain.attempts] == ["pr:10/push:0", "pr:10/push:1"]
    assert "-cache\n+cache with lock" in trial.episodes[1].steps[1].text
    assert "review" not in trial.task.prompt
    assert [note.reason for note in trial.notes] == ["reward_only"]


@pytest.mark.parametrize(
    ("message", "files"),
    [
        ("Fix review comments", {"code.py": body(line2="cache", line9="more")}),
        ("Rename the cache", {"code.py": body(line2="store")}),
        ("Add a fixture", {"code.py": body(line2="store")}),
        ("Adding the fixed store", {"code.py": body(line2="store")}),
        ("Fix review comments", {"note.txt": "note\n"}),
    ],
    ids=["rewrites_no_own_line", "says_nothing", "only_builds_on", "only_builds_on_it", "other_file"],
)
def test_a_later_commit_that_corrects_nothing_makes_no_trial(
    repo: GitRepo, mine: Mine, message: str, files: dict[str, str]
) -> None:
    repo.commit("Cache the settings", {"code.py": body(line2="cache")}, on="t", parent=repo.tips["main"])
    tip = repo.commit(message, files, on="t")
    repo.merge("Merge pull request #10 from ada/t\n\nCache the parsed settings", tip)
    later(repo)
    assert mine() == []


def test_a_pull_request_with_pushes_and_a_later_fix_is_one_family(repo: GitRepo, mine: Mine) -> None:
    repo.commit("Cache the settings", {"code.py": body(line2="cache")}, on="t", parent=repo.tips["main"])
    tip = repo.commit("Fix review comments", {"code.py": body(line2="cache with lock")}, on="t")
    repo.merge("Merge pull request #10 from ada/t\n\nCache the parsed settings", tip)
    repo.squashed(11, "Fix a bug introduced in #10", {"code.py": body(line2="cache with locks")})
    later(repo)
    trials = mine()
    assert len(trials) == 2 and len({trial.group_id for trial in trials}) == 1
    assert sorted(rewards(trial) for trial in trials) == [[0.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"b.png": b"\x89\x00"}, "binary"),
        ({"latin.txt": b"\xe9\n"}, "non_utf8"),
        ({"s": ("160000", "1" * 40)}, "submodule"),
    ],
)
def test_a_chain_with_an_edit_that_cannot_be_text_is_dropped_with_its_reason(
    repo: GitRepo, mine: Mine, tmp_path: Path, files: dict[str, bytes], reason: str
) -> None:
    cached(repo)
    repo.commit("Fix a bug introduced in #10 (#11)", {"code.py": body(line2="cache", line3="lock"), **files})
    assert mine() == []
    assert counts(tmp_path).dropped == {reason: 1}


def test_a_fix_that_branched_before_the_attempt_landed_is_dropped(repo: GitRepo, mine: Mine, tmp_path: Path) -> None:
    old = repo.tips["main"]
    cached(repo)
    tip = repo.commit("Lock the settings", {"code.py": body(line3="lock")}, on="t", parent=old)
    repo.merge("Merge pull request #11 from ada/t\n\nFix a bug introduced in #10", tip, base=old)
    assert mine() == []
    assert counts(tmp_path).dropped == {"branched_before_previous": 1}


def test_clocks_that_run_backwards_drop_the_chain(repo: GitRepo, mine: Mine, tmp_path: Path) -> None:
    repo.commit("Cache the parsed settings (#10)", {"code.py": body(line2="cache")}, day=50)
    repo.commit('Revert "Cache the parsed settings (#10)" (#11)', {"code.py": body()}, day=40)
    later(repo)
    assert mine() == []
    assert counts(tmp_path).dropped == {"time_disorder": 1}


def test_text_that_names_nothing_is_no_task(repo: GitRepo, mine: Mine, tmp_path: Path) -> None:
    wip = repo.commit("WIP", {"code.py": body(line2="cache")})
    repo.commit(f"Revert accidental work\n\nThis reverts commit {wip}.", {"code.py": body()})
    assert mine() == []
    assert counts(tmp_path).dropped == {"no_intent": 1}
