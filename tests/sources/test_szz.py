"""Fixes that do not say what they fix: what makes one a link, and each rule that keeps a look-alike out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.records import Link
from sources.attempts import Attempts
from sources.links.szz import is_code, links
from sources.mine import MineConfig, read_links, run
from tests.sources.gitrepo import Content, GitRepo, body, text

CODE, TESTS = "src/settings.py", "tests/test_settings.py"
FAULT = {"line2": "cache = parse(path)", "line3": "return cache[0]"}
MENDED = {"line2": "cache = {}", "line3": "return cache.get(path) or load()"}


class Story:
    """A history in which pull request 10 writes two lines and 11 mends them, with whatever a test changes of it."""

    def __init__(self, path: Path) -> None:
        self.repo = GitRepo(path / "r")
        self._lake = Lake(path / "lake")
        self.repo.commit("Start of it all", {CODE: body(), TESTS: body(), "src/more.py": body()})

    def written(self, title: str = "Cache the parsed settings", files: Mapping[str, Content] | None = None) -> None:
        self.repo.squashed(10, title, files or {CODE: body(**FAULT)})

    def mended(
        self,
        title: str = "Fix a crash with stale settings",
        files: Mapping[str, Content] | None = None,
        words: str = "",
    ) -> None:
        self.repo.squashed(11, title, files or {CODE: body(**MENDED), TESTS: body(line4="check")}, words)

    def found(self) -> list[Link]:
        run(self._lake, MineConfig(repo=str(self.repo.done()), name="org/project", rules=("szz",)))
        return read_links(self._lake)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_a_fix_is_linked_to_what_wrote_the_lines_it_removes(story: Story) -> None:
    story.written()
    story.mended()
    [link] = story.found()
    assert (link.source, link.target, link.kind, link.rule) == ("pr:10", "pr:11", "fix_of", "szz")
    assert link.evidence == f"wrote 2 of the 2 lines removed in {CODE} (3, 4)"
    assert link.confidence >= 0.75


def test_merges_and_rebased_pull_requests_are_followed_too(story: Story) -> None:
    story.repo.merged(10, "Cache the settings", [("One", {CODE: body(line2="a = 1")}), ("Two", {CODE: body(**FAULT)})])
    mended = [("Test", {TESTS: body(line1="t")}), ("Mend", {CODE: body(**MENDED)})]
    story.repo.merged(11, "Fix a crash with stale settings", mended)
    assert [(link.source, link.target) for link in story.found()] == [("pr:10", "pr:11")]


def test_lines_of_a_renamed_file_keep_their_origin(story: Story) -> None:
    story.written()
    story.repo.commit("Tidy up", {CODE: None, "lib/settings.py": body(**FAULT)})
    story.mended(files={"lib/settings.py": body(**MENDED), TESTS: body(line4="check")})
    assert [(link.source, link.target) for link in story.found()] == [("pr:10", "pr:11")]


def test_of_several_attempts_in_one_merge_the_one_that_touched_the_file_wrote_it(story: Story) -> None:
    start = story.repo.tips["main"]
    story.repo.commit("Speed up", {"src/more.py": body(line1="m")}, on="side", parent=start)
    tip = story.repo.commit("Cache the parsed settings", {CODE: body(**FAULT)}, on="side")
    story.repo.merge("Merge branch 'side'", tip, base=start)
    story.mended()
    assert [(link.source, link.target) for link in story.found()] == [(f"commit:{tip}", "pr:11")]


@pytest.mark.parametrize(
    "title",
    ["Store settings elsewhere", "Fix the docs of settings", "Fix a typo", "Fix lint warnings", "Fix flaky tests"],
)
def test_a_title_that_speaks_of_no_fault_is_no_fix(story: Story, title: str) -> None:
    story.written()
    story.mended(title)
    assert story.found() == []


@pytest.mark.parametrize(
    "files",
    [
        {CODE: body(**MENDED)},
        {CODE: body(**MENDED), TESTS: body(line4="check")} | {f"src/part{n}.py": "x = 1\n" for n in range(5)},
    ],
    ids=["without tests", "in many files"],
)
def test_a_fix_brings_tests_and_is_small(story: Story, files: Mapping[str, Content]) -> None:
    story.written()
    story.mended(files=files)
    assert story.found() == []


@pytest.mark.parametrize(("lines", "links"), [(25, 1), (26, 0)])
def test_a_fix_removes_few_lines(story: Story, lines: int, links: int) -> None:
    story.written(files={CODE: body(40, **{f"line{n}": f"fault {n} = here" for n in range(lines)})})
    story.mended(
        files={CODE: body(40, **{f"line{n}": f"mended({n})" for n in range(lines)}), TESTS: body(line4="check")}
    )
    assert len(story.found()) == links


@pytest.mark.parametrize(("others", "links"), [(1, 1), (2, 0)])
def test_nearly_all_removed_lines_are_from_one_attempt(story: Story, others: int, links: int) -> None:
    story.written(files={CODE: body(line0="zero = 0", **FAULT)})
    changed = {f"line{n}": f"else {n}" for n in range(7, 7 + others)}
    story.mended(files={CODE: body(line0="one = 1", **MENDED, **changed), TESTS: body(line4="check")})
    assert len(story.found()) == links


@pytest.mark.parametrize(("days", "links"), [(364, 1), (366, 0)])
def test_a_fault_of_more_than_a_year_ago_is_history(story: Story, days: int, links: int) -> None:
    story.written()
    story.repo.day += days
    story.mended()
    assert len(story.found()) == links


@pytest.mark.parametrize(
    "title",
    ["Refactor the settings", "Reformat with black", "Move settings here", "Migrate to f-strings", "Bump version"],
)
def test_what_only_reshaped_the_code_wrote_no_fault(story: Story, title: str) -> None:
    story.written(title)
    story.mended()
    assert story.found() == []


def test_a_mass_change_wrote_no_fault(story: Story) -> None:
    story.written(files={CODE: body(**FAULT)} | {f"src/part{n}.py": "x = 1\n" for n in range(101)})
    story.mended()
    assert story.found() == []


@pytest.mark.parametrize(("issue", "links"), [(9, 0), (12, 1)])
def test_a_fault_reported_before_the_pull_request_is_not_from_it(story: Story, issue: int, links: int) -> None:
    story.written()
    story.mended(words=f"Fixes #{issue}.")
    assert len(story.found()) == links


def test_moved_lines_are_not_written_by_what_moved_them(story: Story) -> None:
    lines = list(FAULT.values())
    story.repo.commit("Fill in", {"src/more.py": body() + text(*lines)})
    story.written(files={CODE: body(line2=f"    {lines[0]}", line3=lines[1]), "src/more.py": body()})
    story.mended()
    assert story.found() == []


def test_lines_that_were_only_touched_up_are_not_written_then(story: Story) -> None:
    story.repo.commit("Fill in", {CODE: body(line2="cache = parse(path, kind)", line3="return cache[0:1]")})
    story.written(files={CODE: body(line2="cache = parse(path, kinds)", line3="return cache[0:2]")})
    story.mended()
    assert story.found() == []


def test_lines_that_come_back_are_not_removed(story: Story) -> None:
    story.written()
    inside = {name: f"if path:\n    {line}" for name, line in FAULT.items()}
    story.mended(files={CODE: body(**inside), TESTS: body(line4="check")})
    assert story.found() == []


def test_bots_write_and_mend_nothing(story: Story) -> None:
    story.repo.commit("Cache the parsed settings", {CODE: body(**FAULT)}, author="renovate[bot]")
    story.mended()
    assert story.found() == []


@pytest.mark.parametrize(
    ("title", "files"),
    [
        ("Fix better and more messages, minor", {CODE: body(**MENDED), TESTS: body(line4="check")}),
        ("Fix some of it", {CODE: body(line2="other", line3=FAULT["line3"]), TESTS: body(line4="check")}),
    ],
)
def test_weak_signals_make_a_weak_link(story: Story, title: str, files: Mapping[str, Content]) -> None:
    story.written()
    story.repo.day += 300
    story.mended(title, files)
    assert all(link.confidence < 0.75 for link in story.found())


def test_without_the_clone_there_are_no_links(story: Story, tmp_path: Path) -> None:
    story.written()
    story.mended()
    assert len(story.found()) == 1
    assert links(Attempts(Lake(tmp_path / "lake"))) == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("src/a.py", True),
        ("src/_pytest/main.py", True),
        ("pkg/a.go", True),
        ("pkg/a_test.go", False),
        ("tests/a.py", False),
        ("test/app.js", False),
        ("lib/a.test.js", False),
        ("docs/conf.py", False),
        ("README.rst", False),
        ("setup.cfg", False),
    ],
)
def test_code_is_told_from_tests_and_documents(path: str, code: bool) -> None:
    assert is_code(path) == code
