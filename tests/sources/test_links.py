"""Linker rules, each with what it must find and with what looks like it and is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.lake import Lake
from sources.links import LINKERS, linker
from sources.mine import MineConfig, read_links, run
from tests.sources.gitrepo import GitRepo, body

Found = set[tuple[str, str, str]]


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    made = GitRepo(tmp_path / "r")
    made.commit("Start of it all", {"code.py": body(), "other.py": body(), "CHANGES.rst": "Changes\n"})
    made.squashed(10, "Cache the parsed settings", {"code.py": body(line2="cache")})
    return made


@pytest.fixture
def found(repo: GitRepo, tmp_path: Path) -> Callable[[], Found]:
    """Mines the repository; (source, target, kind) of all links, commits named by the start of their subject."""

    def mine() -> Found:
        lake = Lake(tmp_path / "lake")
        run(lake, MineConfig(repo=str(repo.done()), name="org/project"))
        return {(link.source, link.target, link.kind) for link in read_links(lake)}

    return mine


def sha_of(repo: GitRepo) -> str:
    return repo.tips["main"]


def test_each_rule_is_reached_by_its_name_and_an_unknown_one_is_an_error() -> None:
    assert all(callable(linker(rule)) for rule in LINKERS)
    with pytest.raises(ValueError, match="revert, reland"):
        linker("telepathy")


def test_a_revert_by_commit_id_is_found(repo: GitRepo, found: Callable[[], Found]) -> None:
    landed = sha_of(repo)
    repo.squashed(11, 'Revert "Cache the parsed settings"', {"code.py": body()}, f"This reverts commit {landed}.")
    assert found() == {("pr:10", "pr:11", "revert")}


def test_a_revert_that_names_the_pull_request_or_its_merge_is_found(repo: GitRepo, found: Callable[[], Found]) -> None:
    merge = repo.merged(12, "Sort the other lines", [("Sort", {"other.py": body(line1="x")})])
    repo.merged(13, "Revert sorting", [("Back", {"other.py": body()})], "Reverts org/project#12")
    repo.squashed(14, "Sort the other lines once more", {"other.py": body(line1="x")})
    first_parent = repo.tips["main"]
    undo = f'Revert "Merge pull request #12"\n\nThis reverts commit {merge}, reversing\nchanges made to {first_parent}.'
    repo.commit(undo, {"other.py": body(line3="y")})
    links = found()
    assert ("pr:12", "pr:13", "revert") in links
    assert not any(source == "pr:14" for source, _, _ in links), "what is named as the other parent was not undone"


def test_a_revert_by_title_needs_a_title_of_its_own_with_specific_words(
    repo: GitRepo, found: Callable[[], Found]
) -> None:
    repo.squashed(12, "Fix it", {"other.py": body(line1="x")})
    repo.squashed(13, 'Revert "Fix it"', {"other.py": body()})
    repo.squashed(14, 'Revert "Cache the parsed settings"', {"code.py": body()})
    steps = '* Rework the lines\n\n* Revert "Fix it"\n\n* Revert "Cache the parsed settings"\n'
    repo.squashed(15, "Rework the lines of the file", {"other.py": body(line5="y")}, steps)
    assert found() == {("pr:10", "pr:14", "revert")}


def test_work_that_a_pull_request_undoes_within_itself_is_no_revert(repo: GitRepo, found: Callable[[], Found]) -> None:
    own = repo.commit("Try a faster way", {"other.py": body(line1="x")}, on="t", parent=sha_of(repo))
    text = f'Revert "Try a faster way"\n\nThis reverts commit {own}.'
    tip = repo.commit(text, {"other.py": body(), "third.py": "x\n"}, on="t")
    repo.merge("Merge pull request #12 from ada/t\n\nMake it faster", tip)
    assert found() == set()


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Revert two changes", "Reverts #10 and #12."),
        ("Revert two changes", "This reverts commits:\n\n* {ten}\n* {twelve}"),
        (
            "Revert two changes",
            "Reverts https://example.org/org/project/pull/10, https://example.org/org/project/pull/12",
        ),
    ],
)
def test_a_revert_of_several_changes_undoes_each_that_it_lists(
    repo: GitRepo, found: Callable[[], Found], title: str, words: str
) -> None:
    ten = sha_of(repo)
    twelve = repo.squashed(12, "Sort the other lines", {"other.py": body(line1="x")})
    back = {"code.py": body(), "other.py": body()}
    repo.squashed(13, title, back, words.format(ten=ten, twelve=twelve))
    assert found() == {("pr:10", "pr:13", "revert"), ("pr:12", "pr:13", "revert")}


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ('settings: revert "Cache the parsed settings"', ""),
        ('Revert "Cache the parsed settings (#10)" and what needs it', ""),
        ("Revert settings cache", '* Revert "Cache the parsed settings (#10)"\n\n* Add a test'),
        ("settings: revert parsed cache", "Refs: #10"),
        ("Prepare the release", "This reverts commit {ten}."),
        ("Prepare the release", "This is a partial revert of #10."),
    ],
)
def test_a_revert_may_say_so_in_other_ways(repo: GitRepo, found: Callable[[], Found], title: str, words: str) -> None:
    repo.squashed(11, title, {"code.py": body()}, words.format(ten=sha_of(repo)))
    assert found() == {("pr:10", "pr:11", "revert")}


def test_a_revert_may_come_after_years(repo: GitRepo, found: Callable[[], Found]) -> None:
    landed = sha_of(repo)
    repo.day += 1_000
    repo.squashed(11, 'Revert "Cache the parsed settings"', {"code.py": body()}, f"This reverts commit {landed}.")
    assert found() == {("pr:10", "pr:11", "revert")}


def test_a_revert_that_mentions_another_change_undoes_only_its_own(repo: GitRepo, found: Callable[[], Found]) -> None:
    repo.squashed(12, "Sort the other lines of code", {"code.py": body(line2="cache", line7="y")})
    repo.squashed(
        13, "Revert the settings cache", {"code.py": body(line7="y")}, "It is of no use after #12.\n\nRefs: #10"
    )
    assert ("pr:12", "pr:13", "revert") not in found()


@pytest.mark.parametrize(
    "title",
    [
        "Skip whole weeks in add_business_days",
        "Keep the lock until readers are notified",
        "Pin!(x) in the select macro",
    ],
)
def test_a_feature_whose_title_sounds_temporary_is_reverted_like_any_other(
    repo: GitRepo, found: Callable[[], Found], title: str
) -> None:
    landed = repo.squashed(12, title, {"other.py": body(line1="x")})
    repo.squashed(13, f'Revert "{title}"', {"other.py": body()}, f"This reverts commit {landed}.")
    assert found() == {("pr:12", "pr:13", "revert")}


@pytest.mark.parametrize("title", ["Skip a flaky test on macOS", "Pin the parser library", "tests: xfail test_reader"])
def test_a_stopgap_is_undone_as_planned_without_the_word(repo: GitRepo, found: Callable[[], Found], title: str) -> None:
    landed = repo.squashed(12, title, {"other.py": body(line1="x")})
    repo.squashed(13, f'Revert "{title}"', {"other.py": body()}, f"This reverts commit {landed}.")
    assert found() == {("pr:12", "pr:13", "planned_revert")}


def test_what_was_announced_as_temporary_is_a_planned_revert(repo: GitRepo, found: Callable[[], Found]) -> None:
    repo.squashed(12, "Temporarily pin the parser library", {"other.py": body(line1="pin")})
    pin = sha_of(repo)
    repo.squashed(
        13, 'Revert "Temporarily pin the parser library"', {"other.py": body()}, f"This reverts commit {pin}."
    )
    assert found() == {("pr:12", "pr:13", "planned_revert")}


def test_a_fix_that_undoes_an_earlier_change_among_others_is_a_correction(
    repo: GitRepo, found: Callable[[], Found]
) -> None:
    landed = sha_of(repo)
    more = {"code.py": body(line7="other way"), "other.py": body(line1="x")}
    repo.squashed(11, "Fix stale settings", more, f"This reverts commit {landed}.\n\nAnd does it in another way.")
    assert found() == {("pr:10", "pr:11", "fix_of")}


def test_a_roll_up_of_several_pull_requests_is_no_revert(repo: GitRepo, found: Callable[[], Found]) -> None:
    landed = sha_of(repo)
    tip = repo.commit("Fix one (#21)", {"b": "1\n"}, on="1.x", parent=landed)
    tip = repo.commit("Fix two (#22)", {"c": "1\n"}, on="1.x")
    tip = repo.commit(f"Prepare the branch\n\nThis reverts commit {landed}.", {"code.py": body()}, on="1.x")
    repo.merge("Merge pull request #30 from org/1.x\n\nRevert the settings cache", tip)
    assert not any(target == "pr:30" for _, target, _ in found())


@pytest.mark.parametrize(
    "title",
    ['Revert "Revert "Cache the parsed settings (#10)""', 'Reapply "Cache the parsed settings" (#10)', "Reland #10"],
)
def test_a_reland_is_found(repo: GitRepo, found: Callable[[], Found], title: str) -> None:
    repo.squashed(11, 'Revert "Cache the parsed settings (#10)"', {"code.py": body()})
    undo = sha_of(repo)
    repo.squashed(
        12, title, {"code.py": body(line2="cache")}, f"This reverts commit {undo}." if "Re" in title[:8] else ""
    )
    assert found() == {("pr:10", "pr:11", "revert"), ("pr:10", "pr:12", "reland")}


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Cache the parsed settings (take 2)", ""),
        ("Cache settings, second attempt", "See #10 for the first one."),
        ("Resubmit #10", ""),
        ("An opt-in settings cache", "Re-lands the cache from #10 (reverted due to a leak), off by default."),
    ],
)
def test_a_second_take_of_what_was_reverted_is_a_reland(
    repo: GitRepo, found: Callable[[], Found], title: str, words: str
) -> None:
    repo.squashed(11, 'Revert "Cache the parsed settings (#10)"', {"code.py": body()})
    repo.squashed(12, title, {"code.py": body(line2="cache")}, words)
    assert found() == {("pr:10", "pr:11", "revert"), ("pr:10", "pr:12", "reland")}


def test_a_second_take_of_what_was_never_reverted_is_no_reland(repo: GitRepo, found: Callable[[], Found]) -> None:
    repo.squashed(12, "Cache the parsed settings (take 2)", {"code.py": body(line2="cache", line3="lock")})
    assert found() == set()


def test_what_lands_again_under_its_old_title_is_a_reland(repo: GitRepo, found: Callable[[], Found]) -> None:
    repo.squashed(11, 'Revert "Cache the parsed settings (#10)"', {"code.py": body()})
    repo.squashed(12, "Cache the parsed settings", {"code.py": body(line2="cache", line3="lock")})
    assert ("pr:10", "pr:12", "reland") in found()


def test_the_same_title_without_a_revert_is_no_reland(repo: GitRepo, found: Callable[[], Found]) -> None:
    repo.squashed(12, "Cache the parsed settings", {"code.py": body(line2="cache", line3="lock")})
    assert found() == set()


@pytest.mark.parametrize(
    ("title", "words", "kind"),
    [
        ("Fix stale settings", "Regression introduced in #10.", "regression_fix"),
        ("Fix stale settings", "This was broken by #10.", "regression_fix"),
        ("Reload the settings", "The cache of #10 went stale: fix a bug introduced by #10.", "regression_fix"),
        ("Correct an oversight in #10", "", "fix_of"),
        ("Reload the settings", "They are stale for good; broken since #10.", "regression_fix"),
        ("Reload the settings", "Since #10 was merged they fail to reload.", "regression_fix"),
        ("Reload the settings", "They are ignored since the cache was introduced in #10.", "regression_fix"),
        ("Fix stale settings", "#10 cached them for ever, so a change was never seen.", "fix_of"),
        ("Fix stale settings in the reader: #10 kept them where they cannot change", "", "fix_of"),
        ("Reload the settings", "PR #10 put them into a cache. But it forgot to clear that.", "regression_fix"),
        ("Reload the settings", "Fixes what #10 forgot: a way to clear them.", "fix_of"),
        ("Reload the settings", "The line was lost in #10.", "fix_of"),
        ("Fix a typo in https://example.org/org/project/pull/10", "", "fix_of"),
        ("Fix the cache", "Ref: https://example.org/org/project/pull/10#discussion_r123", "fix_of"),
        ("Polish the docs of #10", "", "follow_up"),
        ("Settings: clean up", "This is left over from #10.", "follow_up"),
        ("Fixes #10", "", "fix_of"),
        ("Fix the cache", "Follow-up to #10, which did not go far enough.", "fix_of"),
        ("Fix the cache", "Follow-up to #10.", "follow_up"),
        ("Document the cache", "Follow-up to #10.", "follow_up"),
        ("Remove unused names", "Forgotten in #10.", "fix_of"),
    ],
)
def test_a_reference_with_a_corrective_word_is_a_link(
    repo: GitRepo, found: Callable[[], Found], title: str, words: str, kind: str
) -> None:
    repo.squashed(11, title, {"code.py": body(line2="cache", line3="lock")}, words)
    assert found() == {("pr:10", "pr:11", kind)}


def test_a_reference_by_commit_id_is_a_link(repo: GitRepo, found: Callable[[], Found]) -> None:
    landed = sha_of(repo)
    text = f"Fix stale settings\n\nThis regressed in {landed[:10]}, after which\nnothing was read again."
    repo.commit(text, {"code.py": body(line2="cache", line3="lock")})
    links = found()
    assert {(source, kind) for source, _, kind in links} == {("pr:10", "regression_fix")}


@pytest.mark.parametrize(
    ("title", "words"),
    [
        ("Add a lock", "The settings are cached since #10."),
        ("Fix the lock", "Like in #10, the fix is in the reader."),
        ("Fix the lock", "See #10 for the bug."),
        ("Backport the fix of #10", ""),
        ("Fix the lock", "Based on #10, with a fix."),
        ("Fix the lock", "The same error was already fixed in #10."),
        ("Fix the lock", "It fails without the fix from #10."),
        ("Fix the lock", "Fixes other/project#10."),
        ("Fix the lock", "Fixes #999."),
        ("Fix a bug introduced in https://example.org/org/other/pull/10", ""),
        ("Fix the lock", "The settings are no longer needed since #10."),
        ("Fix the lock", "#10 added the settings, so they are at hand."),
        ("Add a lock", "#10 cached them for ever, so a change was missed."),
        ("Add a lock", "PR #10 put them into a cache. This uses it."),
        ("Fix the lock", "```\nbroken by #10\n```"),
        ("Fix the lock", "    Regression introduced in #10"),
        ("Rework the lines", "* Fix the reader (#10)\n* Fix the writer (#10)"),
        ("Fix the lock", "Fixes the pull request of 10 days ago."),
    ],
)
def test_a_reference_for_another_reason_is_no_link(
    repo: GitRepo, found: Callable[[], Found], title: str, words: str
) -> None:
    repo.squashed(11, title, {"code.py": body(line2="cache", line3="lock")}, words)
    assert {kind for _, _, kind in found()} <= {"backport"}


def test_a_fix_must_share_a_file_that_is_no_changelog(repo: GitRepo, found: Callable[[], Found]) -> None:
    repo.squashed(11, "Add a note", {"CHANGES.rst": "Changes\n- note\n", "third.py": "x\n"})
    repo.squashed(12, "Fix a bug introduced in #11", {"CHANGES.rst": "Changes\n- notes\n", "other.py": body(line1="x")})
    assert found() == set()


def test_a_fix_after_more_than_two_years_is_no_link(repo: GitRepo, found: Callable[[], Found]) -> None:
    repo.day += 731
    repo.squashed(11, "Fix a bug introduced in #10", {"code.py": body(line2="cache", line3="lock")})
    assert found() == set()


def test_a_reference_to_what_did_not_land_or_comes_later_is_no_link(repo: GitRepo, found: Callable[[], Found]) -> None:
    tip = repo.commit("Try", {"code.py": body(line2="c", line3="l")}, on="t", parent=sha_of(repo))
    repo.pull(11, tip)
    repo._send(f"reset refs/heads/t\nfrom {'0' * 40}\n\n")
    repo.squashed(12, "Fix a bug introduced in #11 and fix #13", {"code.py": body(line2="c", line4="l")})
    repo.squashed(13, "Change the fourth line", {"code.py": body(line2="c", line4="m")})
    assert found() == set()


def test_bots_correct_nothing(repo: GitRepo, found: Callable[[], Found]) -> None:
    text = "Fix a bug introduced in #10\n\nBumps the lock."
    repo.commit(text, {"code.py": body(line2="cache", line3="lock")}, author="dependabot[bot]")
    assert found() == set()


def test_a_pull_request_to_a_release_branch_is_a_backport(repo: GitRepo, found: Callable[[], Found]) -> None:
    tip = repo.commit("Backport PR #10 on 1.x", {"other.py": body(line2="cache")}, on="1.x", parent=sha_of(repo))
    repo.pull(12, tip)
    repo._send(f"reset refs/heads/1.x\nfrom {'0' * 40}\n\n")
    assert found() == {("pr:10", "pr:12", "backport")}


def test_a_cherry_pick_is_a_backport_of_its_origin(repo: GitRepo, found: Callable[[], Found]) -> None:
    origin = sha_of(repo)
    text = f"Cache the settings on 1.x\n\n(cherry picked from commit {origin})"
    pick = repo.commit(text, {"other.py": body(line2="cache")}, on="1.x", parent=sha_of(repo))
    repo.merge("Merge branch '1.x'", pick)
    assert found() == {("pr:10", f"commit:{pick}", "backport")}
