"""Pull requests that did not land because another one did: said, or plain to see, and what makes no such link."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.lake import Lake
from pipeline.records import Link, Trial
from sources.mine import MineConfig, read_links, run
from tests.sources.gitrepo import GitRepo, body
from tests.sources.test_trials import check, rewards, shape, trials_of

NAME = "org/project"
WORK = {"line2": "cache = parse(path)", "line3": "lock = Lock()", "line4": "return cache[lock]"}
TITLE = "Cache the parsed settings"


class Story:
    """A history in which pull request 10 stays unmerged, and what lands later on."""

    def __init__(self, path: Path) -> None:
        self.repo = GitRepo(path / "r")
        self.lake = path / "lake"
        self.start = self.repo.commit("Start of it all", {"code.py": body(), "other.py": body(), "setup.cfg": "x\n"})

    def closed(self, number: int = 10, title: str = TITLE, *, author: str = "Ada", **lines: str) -> str:
        files = {"code.py": body(**(lines or WORK))}
        tip = self.repo.commit(title, files, on=f"pr-{number}", parent=self.start, author=author)
        return self.out_of_sight(number, tip)

    def out_of_sight(self, number: int, tip: str) -> str:
        self.repo.pull(number, tip)
        self.repo._send(f"reset refs/heads/pr-{number}\nfrom {'0' * 40}\n\n")
        return tip

    def landed(self, title: str, words: str = "", *, number: int = 12, author: str = "Grace", **lines: str) -> None:
        files = {"code.py": body(**(lines or {"line2": "cache = {}", "line7": "return cache"}))}
        tip = self.repo.commit(title, files, on=f"pr-{number}", parent=self.repo.tips["main"], author=author)
        self.out_of_sight(number, tip)
        self.repo.commit(f"{title} (#{number})\n\n{words}", files, author=author)

    def found(self, *rules: str) -> list[Link]:
        path = self.repo.done() if not self.repo.finished else self.repo.path
        chosen = rules or ("superseded", "reopened")
        run(Lake(self.lake), MineConfig(repo=str(path), name=NAME, rules=chosen))
        return read_links(Lake(self.lake))

    def pairs(self, *rules: str) -> list[tuple[str, str]]:
        """The links that are sure enough to make a chain."""
        return [(link.source, link.target) for link in self.found(*rules) if link.confidence >= 0.75]

    def trials(self) -> list[Trial]:
        self.found()
        trials = trials_of(self.lake)
        for trial in trials:
            check(self.repo.path, trial)
        return trials


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "Supersedes #10.",
        "This replaces #10 and does it without a lock.",
        "An alternative to #10.",
        "Continuation of #10",
        "This continues the work started in #10.",
        "It is a resubmit of @ada's #10, rebased.",
        "Based on the work in #10.",
        "Closes #10",
        "Closes #7, closes #10",
        "Fixes #7 and #10.",
        "Picks up https://github.com/org/project/pull/10/ again",
        "The old #10 is superseded by this: #10 is superseded.",
    ],
)
def test_words_that_say_so_make_a_link(story: Story, words: str) -> None:
    story.closed()
    story.landed("Keep settings in memory", words)
    [link] = story.found("superseded")
    assert (link.source, link.target, link.kind, link.rule) == ("pr:10", "pr:12", "superseded", "superseded")
    assert link.confidence >= 0.75


@pytest.mark.parametrize(
    "words",
    [
        "See #10.",
        "Split out of #10, which it does not replace: prepares #10.",
        "First part of #10, which this continues.",
        "A prerequisite of closing #10",
        "This should be fixed by #10.",
        "Stacked on a rework of #10.",
        "Supersedes other/project#10.",
        "Supersedes #11.",
        "```\nSupersedes #10\n```",
        "* Replace the cache (#10)",
        "See https://github.com/org/project/pull/10#discussion_r1, which it replaces",
    ],
)
def test_other_words_make_no_link(story: Story, words: str) -> None:
    story.closed()
    story.landed("Keep settings in memory", words)
    assert story.pairs() == []


def test_what_landed_is_not_superseded(story: Story) -> None:
    story.landed(TITLE, number=10)
    story.landed("Keep settings in memory", "Supersedes #10.", line5="x")
    assert story.pairs() == []


def test_a_pull_request_landed_by_hand_is_not_superseded_by_itself(story: Story) -> None:
    story.closed()
    story.repo.commit("Keep settings\n\nCloses #10", {"code.py": body(**WORK)}, author="ada")
    assert story.pairs() == []


def test_the_same_commit_landed_by_another_hand_is_not_superseded(story: Story) -> None:
    story.closed()
    story.repo.commit(f"{TITLE}\n\nCloses #10", {"code.py": body(**WORK)}, author="Grace")
    assert story.pairs() == []


def test_a_maintainers_own_commit_may_supersede(story: Story) -> None:
    story.closed()
    commit = story.repo.commit("Keep parsed settings\n\nCloses #10", {"code.py": body(line2="c")}, author="Grace")
    assert story.pairs() == [("pr:10", f"commit:{commit}")]


def test_a_commit_about_something_else_that_closes_it_is_doubtful(story: Story) -> None:
    story.closed()
    story.repo.commit("Drop old things\n\nCloses #10", {"code.py": body(line2="c")}, author="Grace")
    assert len(story.found()) == 1 and story.pairs() == []


def test_both_must_touch_a_file_or_speak_of_the_same(story: Story) -> None:
    story.closed()
    tip = story.repo.commit("Speed up", {"other.py": body(line1="c")}, on="t", parent=story.start, author="Grace")
    story.out_of_sight(12, tip)
    story.repo.commit("Speed up (#12)\n\nCloses #10", {"other.py": body(line1="c")}, author="Grace")
    story.repo.commit("Keep parsed settings (#13)\n\nSupersedes #10", {"other.py": body(line1="d")}, author="Grace")
    assert story.pairs() == [("pr:10", "pr:13")]


def test_a_roll_up_supersedes_nothing(story: Story) -> None:
    story.closed()
    story.landed("Release 2.0", "Closes #10")
    assert story.pairs() == []


def test_which_of_two_version_bumps_landed_teaches_little(story: Story) -> None:
    for number, content in ((10, "y\n"), (12, "z\n")):
        tip = story.repo.commit("Bump parser", {"setup.cfg": content}, on="t", parent=story.start, author=f"A{number}")
        story.out_of_sight(number, tip)
    story.repo.commit("Bump parser (#12)\n\nCloses #10", {"setup.cfg": "z\n"}, author="Grace")
    assert len(story.found()) == 1 and story.pairs() == []


def test_what_an_author_opens_anew_is_found_without_words(story: Story) -> None:
    story.closed()
    story.landed(f"{TITLE} for good", author="Ada", **WORK, line9="more = 1")
    [link] = story.found()
    assert (link.source, link.target, link.kind, link.rule) == ("pr:10", "pr:12", "superseded", "reopened")
    assert link.confidence >= 0.75 and "3 of its added lines (100%)" in link.evidence


def test_without_words_author_title_and_lines_must_all_speak(story: Story) -> None:
    story.closed()
    story.closed(20, "Parse faster", line6="six", line7="seven", line8="eight")
    plugins = {f"line{n}": f"plugin = {n}" for n in range(6)}
    story.closed(30, "Load plugins lazily", **plugins)
    story.landed(TITLE, number=12, author="Grace", **WORK)
    story.landed("Write docstrings", number=22, author="Ada", line6="six", line7="seven", line8="eight")
    half = {name: plugins[name] for name in list(plugins)[:3]} | {"line8": "other = 1", "line9": "another = 2"}
    story.landed("Load plugins lazily", number=32, author="Ada", **half)
    assert story.found() == []


def test_what_was_opened_later_or_is_for_another_line_is_not_superseded(story: Story) -> None:
    story.closed(14)
    story.closed(15, f"[1.x] {TITLE}")
    story.landed(TITLE, number=13, author="Ada", **WORK, line9="more = 1")
    assert story.found() == []


def test_what_was_split_off_does_not_supersede(story: Story) -> None:
    lines = {f"line{n}": f"step({n})" for n in range(10)}
    story.closed(**lines)
    story.landed(TITLE, author="Ada", **{name: lines[name] for name in list(lines)[:7]})
    assert story.found() == []


def test_what_is_stacked_on_another_is_not_superseded_by_it(story: Story) -> None:
    first = story.repo.commit(TITLE, {"code.py": body(**WORK)}, on="t", parent=story.start)
    tip = story.repo.commit("Parsed settings in the cache", {"code.py": body(**WORK, line9="n")}, on="t")
    story.repo.pull(11, tip)
    story.out_of_sight(10, first)
    story.repo._send(f"reset refs/heads/t\nfrom {'0' * 40}\n\n")
    story.repo.commit(f"{TITLE} (#11)", {"code.py": body(**WORK, line9="n")})
    assert story.found() == []


def test_a_superseded_pull_request_and_what_landed_make_a_trial(story: Story) -> None:
    story.closed()
    story.repo.commit("Meanwhile", {"code.py": body(line11="else")})
    story.landed("Keep settings in memory", "Supersedes #10.", line2="cache = {}", line7="return", line11="else")
    story.repo.commit("Much later", {"other.py": body(line1="x")}, day=story.repo.day + 400)
    [trial] = story.trials()
    assert shape(trial) == [["edit"], ["environment", "message", "edit"]]
    assert rewards(trial) == [0.0, 1.0]
    assert "superseded by pr:12" in (trial.episodes[0].reward_evidence or "")
    assert trial.task.base_commit == story.start
    drift = trial.episodes[1].steps[0].text
    assert "+else" in drift and "lock" not in drift, "what did not land is no part of what others changed"
    assert "Supersedes" in trial.episodes[1].steps[1].text
    assert "Supersedes" not in trial.task.prompt and "#10" not in trial.task.prompt
    assert [note.reason for note in trial.notes] == ["reward_only"]
    assert trial.group_id == f"{NAME}:pr:10"


def test_a_superseded_pull_request_is_never_rewarded_on_a_doubtful_link(story: Story) -> None:
    story.closed()
    story.repo.commit("Drop old things\n\nCloses #10", {"code.py": body(line2="c")}, author="Grace")
    assert len(story.found()) == 1 and story.trials() == []


def test_the_same_edit_opened_anew_makes_no_trial(story: Story) -> None:
    story.closed()
    story.landed(TITLE, author="Ada", **WORK)
    assert story.pairs() == [("pr:10", "pr:12")]
    assert story.trials() == []
    ledger = Lake(story.lake).ledger("trials")
    assert ledger is not None and ledger.dropped == {"same_edit": 1}
