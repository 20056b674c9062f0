"""Which commits make up which attempt, on histories of every shape that projects leave behind."""

from __future__ import annotations

from pathlib import Path

from sources.git import Git
from sources.history import Plan, read_history
from tests.sources.gitrepo import GitRepo, body


def plans(path: Path, **options: int) -> dict[str, Plan]:
    with Git(path) as git:
        history = read_history(git, **options)
    found = [plan for block in history.blocks.values() for plan in block]
    assert len({plan.attempt_id for plan in found}) == len(found)
    return {plan.attempt_id: plan for plan in found}


def test_a_merge_by_button_is_one_attempt_with_its_own_commits_oldest_first(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    landing = repo.merged(12, "Add b", [("Begin b", {"b": "1\n"}), ("Finish b", {"b": "1\n2\n"})])
    found = plans(repo.done())
    plan = found["pr:12"]
    assert set(found) == {f"commit:{root}", "pr:12"}
    assert (plan.base, plan.landing, len(plan.commits), plan.holds) == (root, landing, 2, 0)
    assert plan.tip == plan.commits[-1] != landing
    assert plan.branch == plan.commits


def test_a_squash_keeps_the_branch_it_was_made_of(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    repo.commit("Begin", {"b": "1\n"}, on="topic", parent=root)
    repo.pull(3, repo.commit("Finish", {"b": "2\n"}, on="topic"))
    squash = repo.commit("Add b (#3)", {"b": "2\n"})
    plan = plans(repo.done())["pr:3"]
    assert (plan.base, plan.commits, plan.landing, plan.tip) == (root, (squash,), squash, squash)


def test_without_the_topic_branch_the_pull_request_head_tells_the_branch(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    repo.squashed(3, "Add b", {"b": "2\n"})
    plan = plans(repo.done())["pr:3"]
    assert plan.branch_base == root
    assert len(plan.branch) == 1 and plan.branch != plan.commits


def test_a_commit_belongs_to_the_innermost_pull_request(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    outer_one = repo.commit("Outer begins", {"b": "1\n"}, on="outer", parent=root)
    inner = repo.commit("Inner work", {"c": "1\n"}, on="inner", parent=outer_one)
    inner_landing = repo.merge("Merge pull request #8 from ada/inner\n\nInner", inner, on="outer")
    outer_two = repo.commit("Outer ends", {"b": "2\n"}, on="outer")
    repo.merge("Merge pull request #9 from ada/outer\n\nOuter", outer_two)
    found = plans(repo.done())
    assert (found["pr:8"].commits, found["pr:8"].landing) == ((inner,), inner_landing)
    assert found["pr:9"].commits == (outer_one, outer_two)
    assert (found["pr:9"].holds, found["pr:8"].holds) == (1, 0)


def test_a_release_branch_that_is_merged_back_is_a_roll_up_and_its_pull_requests_are_found(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    repo.commit("Fix one (#21)", {"b": "1\n"}, on="1.x", parent=root)
    repo.commit("Fix two (#22)", {"c": "1\n"}, on="1.x")
    own = repo.commit("Release 1.1", {"d": "1\n"}, on="1.x")
    repo.merge("Merge branch '1.x'", own)
    more = repo.commit("Fix three (#23)", {"e": "1\n"}, on="1.x")
    more = repo.commit("Fix four (#24)", {"f": "1\n"}, on="1.x")
    more = repo.commit("Release 1.2", {"d": "2\n"}, on="1.x")
    repo.merge("Merge pull request #30 from org/1.x\n\nMerge 1.x", more)
    found = plans(repo.done())
    assert {f"pr:{n}" for n in (21, 22, 23, 24, 30)} <= set(found)
    assert f"commit:{own}" in found
    assert found["pr:30"].holds == 2
    assert found["pr:30"].commits == (more,)


def test_a_merge_of_the_default_branch_into_a_pull_request_brings_nothing_of_others(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    one = repo.commit("Begin", {"b": "1\n"}, on="topic", parent=root)
    other = repo.commit("Others' work", {"a": body(line1="changed")})
    tip = repo.merge("Merge branch 'main' into topic", other, on="topic", base=root)
    two = repo.commit("Finish", {"b": "2\n"}, on="topic")
    repo.merge("Merge pull request #5 from ada/topic\n\nAdd b", two, base=other)
    plan = plans(repo.done())["pr:5"]
    assert plan.commits == (one, two)
    assert (plan.base, plan.tip, plan.branch_linear) == (other, two, False)
    assert tip not in plan.commits


def test_a_pull_that_swapped_the_parents_still_finds_the_pull_requests(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    local = repo.commit("Local work", {"l": "1\n"}, on="local", parent=root)
    repo.merged(6, "Add b", [("Add b", {"b": "1\n"})])
    upstream = repo.tips["main"]
    swapped = repo.merge("Merge branch 'main' of example.org:project", upstream, on="local", base=root)
    repo.commit("Next", {"l": "2\n"}, on="main", parent=swapped)
    found = plans(repo.done())
    assert found["pr:6"].landing == upstream
    assert f"commit:{local}" in found


def test_a_pull_request_is_one_attempt_though_it_was_merged_twice_or_pushed_as_it_is(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("Start", {"a": body()})
    repo.merged(5, "Add b", [("Add b", {"b": "1\n"})])
    more = repo.commit("More of b", {"b": "2\n"}, on="t", parent=repo.tips["main"])
    repo.merge("Merge pull request #5 from ada/branch-5\n\nAdd b", more)
    pushed = repo.pull(6, repo.commit("Fast-forwarded", {"c": "1\n"}))
    found = plans(repo.done())
    assert {f"commit:{more}", f"commit:{pushed}", "pr:5"} <= set(found)
    assert "pr:6" not in found


def test_a_bors_merge_is_a_pull_request(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    own = repo.commit("Add b", {"b": "1\n"}, on="topic", parent=root)
    repo.merge("Auto merge of #77 - ada:topic, r=grace\n\nAdd b\n\nWith words.", own)
    assert plans(repo.done())["pr:77"].commits == (own,)


def test_a_pull_request_that_never_landed_is_an_attempt_without_landing(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    one = repo.commit("Try", {"b": "1\n"}, on="topic", parent=root)
    two = repo.commit("Try more", {"b": "2\n"}, on="topic")
    repo.pull(4, two)
    repo.commit("Next", {"a": body(line1="x")})
    repo._send(f"reset refs/heads/topic\nfrom {'0' * 40}\n\n")
    plan = plans(repo.done())["pr:4"]
    assert (plan.commits, plan.landing, plan.base, plan.drop) == ((one, two), None, root, "")


def test_a_pull_request_landed_elsewhere_is_not_taken_for_refused(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    repo.pull(4, repo.commit("Fix on 1.x", {"b": "1\n"}, on="1.x", parent=root))
    repo.pull(5, repo.commit("Squashed there", {"c": "1\n"}, on="tmp", parent=root))
    repo._send(f"reset refs/heads/tmp\nfrom {'0' * 40}\n\n")
    repo.commit("Squashed there (#5)", {"c": "1\n"}, on="1.x")
    found = plans(repo.done())
    assert (found["pr:4"].drop, found["pr:5"].drop) == ("merged_elsewhere", "merged_elsewhere")


def test_a_rebase_merge_is_found_by_author_time_and_subject(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    root = repo.commit("Start", {"a": body()})
    one = repo.commit("Begin", {"b": "1\n"}, on="topic", parent=root, day=1)
    two = repo.commit("Finish", {"b": "2\n"}, on="topic", day=2)
    repo.pull(9, two)
    repo._send(f"reset refs/heads/topic\nfrom {'0' * 40}\n\n")
    other = repo.commit("Others", {"c": "1\n"}, day=3)
    first = repo.commit("Begin", {"b": "1\n"}, day=4, authored=1)
    last = repo.commit("Finish", {"b": "2\n"}, day=4.1, authored=2)
    found = plans(repo.done())
    assert (found["pr:9"].commits, found["pr:9"].landing, found["pr:9"].base) == ((first, last), last, other)
    assert not {f"commit:{oid}" for oid in (one, two, first, last)} & set(found)


def test_a_number_in_brackets_that_is_an_issue_makes_no_pull_request(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    repo.commit("Start", {"a": body()})
    for number in (11, 12):
        repo.squashed(number, f"Change {number}", {f"{number}": "x\n"})
    issue = repo.commit("Fix the thing (#7)", {"c": "x\n"})
    found = plans(repo.done())
    assert f"commit:{issue}" in found and "pr:7" not in found
    assert {"pr:11", "pr:12"} <= set(found)


def test_a_branch_of_too_many_commits_is_left_aside_with_its_reason(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    tip = repo.commit("Start", {"a": body()})
    for number in range(6):
        tip = repo.commit(f"Step {number}", {"b": f"{number}\n"}, on="topic", parent=tip)
    repo.pull(2, tip)
    repo._send(f"reset refs/heads/topic\nfrom {'0' * 40}\n\n")
    path = repo.done()
    assert plans(path, max_commits=5)["pr:2"].drop == "too_many_commits"
    assert plans(path, max_commits=6)["pr:2"].drop == ""


def test_blocks_keep_their_name_and_content_when_the_history_grows(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    for number in range(7):
        repo.commit(f"Change {number}", {"a": f"{number}\n"})
        if number == 4:
            at_four = repo.tips["main"]
    path = repo.done()
    with Git(path) as git:
        grown = read_history(git, block_units=2)
        git.run("update-ref", "refs/heads/old", at_four)
        before = read_history(git, branch="old", block_units=2)
    assert list(grown.blocks) == ["line-00000", "line-00001", "line-00002", "line-00003"]
    assert before.blocks["line-00000"] == grown.blocks["line-00000"]
    assert before.blocks["line-00001"] == grown.blocks["line-00001"]
    assert [len(block) for block in grown.blocks.values()] == [2, 2, 2, 1]
