"""Fixes that do not say what they fix: the lines they remove were written by one earlier attempt (SZZ).

Blame alone is right in two of three cases (audited on 19 histories); the rules below are what makes it precise: the
title says that it is a fix, tests come with it, it is small, nearly all lines that it removes are from one attempt,
and that attempt wrote them rather than moved them. Needs the clone; without it there are no links.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher

from pipeline.records import Link
from sources.attempts import Attempt, Attempts
from sources.blame import UNKNOWN, RemovedLine, squeezed, trivial, unit_lines
from sources.git import Git
from sources.links.words import is_changelog, messages, precedes, prose

RULE = "szz"
SAYS = r"fix|bug|regress|crash|broken|incorrect|wrong|repair|correct"
"""What an attempt must say for this rule to look at it."""

MOST_DAYS = 365
MOST_FILES = 5
MOST_LINES = 25
LEAST_SHARE = 0.67
MOVED = 0.85
MOST_SOURCE_FILES = 100
"""Bounds from an audit of 34 links on 19 histories: 24 were right without the rules, 29 of 32 with them."""

_FIXES = re.compile(
    r"\b(?:(?:bug|hot)?fix(?:e[sd]|ing|up)?|bugs?|regress(?:ion|ions|ed)|crash(?:es|ed|ing)?|broken?|incorrect(?:ly)?"
    r"|wrong(?:ly)?|repair(?:s|ed)?|correct(?:s|ed|ly)?)\b",
    re.IGNORECASE,
)
_NO_FAULT = re.compile(
    r"\btypos?\b|\bspell|\bdoc(?:s|strings?|umentation)?\b|\breadme\b|\blint\w*|\bflake8\b|\bpep-?8\b|\bstyle\b"
    r"|\bformat(?:ting)?\b|\bclippy\b|\bwarnings?\b|\bdeprecat|\bcomments?\b|\bflaky\b|\bbump\b|\bupgrade\b|\bmypy\b"
    r"|\btyping\b|\bci\b|\btravis\b|\btests?\b|\bspecs\b|\bdoc-?tests?\b|\brefactor|\bclean[ -]?up"
    r"|\bchangelog\b|\brelease\b"
    r"|\brevert|\bmessages?\b|\bwording\b|\bauto merge of\b|\bstabili[sz]|\bpython ?[23]\b|\bcompat"
    r"|\bwindows build\b|\bgrammar\b|\blinks?\b|\bprefix|\bfixtures?\b|\bsuffix",
    re.IGNORECASE,
)
_NO_AUTHOR = re.compile(
    r"\brefactor|\bre-?format|\bformat(?:ting)?\b|\bblack\b|\bpyupgrade\b|\bmigrat|\bmov(?:e|es|ed|ing)\b|\brenam"
    r"|\bstyl(?:e|ing)\b|\blint|\bpep-?8\b|\bflake8\b|\bclean[ -]?up|\bre-?organi[sz]|\brestructur|\bsplit|\bextract"
    r"|\bimport sort|\bisort\b|\bmodernize\b|\bf-strings?\b|\bcopy\b|\bvendor|\btyp(?:ing|es?|e hints?)\b|\bannotat"
    r"|\bwhitespace\b|\bindent|\bmerge (?:branch|remote|tag)\b|\bbump\b|\bversion\b|\brelease\b|\bconvert\b"
    r"|\brevert|\brust-?fmt\b|\bgo-?fmt\b|\bedition\b|\bsimplif|\binitial (?:commit|import)\b|\btypos?\b|\bspell",
    re.IGNORECASE,
)
_FAULT = re.compile(
    r"\bregress|\bbroken?\b|\bbreak|\bcrash|\bincorrect|\bwrong|\bpanic|\berror\b|\bfail|\bbug\b|\bhang|\bleak"
    r"|\bmissing\b|\brace\b|\bdeadlock|\boverflow|\bnot work|\bexception",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"fix(?:\([^)]*\))?!?: ")
_POLISHES = re.compile(
    r"\bminor\b|\bmore\b|\bbetter\b|\bimprove|\badd(?:ed|s)?\b.*\bsupport\b|\bconfusing\b"
    r"|\ballow\b|\bdefault(?:s|ed)?\b|\bperformance\b|\bfaster\b|\boptimi[sz]|\bsome\b|\bvarious\b|\bseveral\b"
    r"|\bsmall\b",
    re.IGNORECASE,
)
_CODE = re.compile(r"\.(?:py|pyx|pyi|rs|go|js|mjs|jsx|tsx?|c|cc|cpp|h|hpp|java|kt|rb|php|cs|swift|scala|lua|sh)\Z")
_TEST = re.compile(
    r"(?:^|/)(?:tests?|testing|testsuite|test-suite|specs?|__tests__|test-data)/|(?:^|/)(?:tests?_|conftest)[^/]*\Z"
    r"|_tests?\.\w+\Z|\.(?:test|spec)\.\w+\Z|(?:^|/)tests?\.\w+\Z",
    re.IGNORECASE,
)
_DOCS = re.compile(r"(?:^|/)(?:docs?|examples?|setup\.py|conf\.py|_?version\.py|__(?:version|about)__\.py)(?:/|\Z)")
_TEST_MARK = re.compile(rb"#\[(?:\w+::)?test\]|cfg\(test\)|>>> ")
_CLOSES = re.compile(
    r"\b(?:close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?: issue)?:? *(?:[\w.-]+/[\w.-]+)?(?:#|GH-"
    r"|https://github\.com/[\w.-]+/[\w.-]+/issues/)(?P<number>\d+)\b",
    re.IGNORECASE,
)


_COMMON = re.compile(
    r"(?:fix|bug|add|merge|when|with|from|that|this|into|support|issue|pull|request|some|does|make|allow)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An attempt (`source`, landed by `unit`) that wrote `lines` of the `telling` ones that a fix removes from code."""

    source: Attempt
    target: Attempt
    unit: str
    lines: tuple[RemovedLine, ...]
    telling: int
    issues: frozenset[int]

    @property
    def days(self) -> float:
        """Days from the landing of the one to that of the other."""
        if self.source.landed_at is None or self.target.landed_at is None:
            return 0.0
        return (self.target.landed_at - self.source.landed_at).total_seconds() / 86_400


@dataclass(slots=True)
class _Fix:
    """A fix while its units come in, of which `left` are still to come."""

    attempt: Attempt
    left: int
    own: set[int] = field(default_factory=set)
    lines: list[RemovedLine] = field(default_factory=list)
    tests: bool = False


def links(attempts: Attempts) -> list[Link]:
    """A link to each fix from the attempt that wrote nearly all the lines it removes."""
    return [link for suspect in suspects(attempts) if (link := _link(suspect)) is not None]


def suspects(attempts: Attempts) -> list[Suspect]:
    """The pairs that pass every rule, before they are scored."""
    if attempts.clone is None or attempts.head is None:
        return []
    with Git(attempts.clone) as git:
        units = git.run("rev-list", "--first-parent", "--reverse", attempts.head).decode().split()
        found = [
            suspect
            for fix in _read(git, attempts.head, _fixes(attempts, set(units)))
            if (suspect := _suspect(git, fix, units, attempts)) is not None
        ]
        return _without_moved(git, found)


def _fixes(attempts: Attempts, units: set[str]) -> dict[str, _Fix]:
    """Unit → the fix it is, or is a part of."""
    found: dict[str, _Fix] = {}
    for attempt in attempts.saying(SAYS):
        title = attempt.subject
        if not attempt.landed or attempt.bot or attempt.holds or not _FIXES.search(title) or _NO_FAULT.search(title):
            continue
        code = [path for path in attempt.files if is_code(path)]
        if not 1 <= len(code) <= MOST_FILES or attempt.files_changed > len(attempt.files):
            continue
        own = [oid for oid in attempt.all_commits if oid in units]
        if attempt.landing in own and attempt.landing not in attempt.commits:
            own = [attempt.landing]
        fix = _Fix(attempt, len(own), tests=any(_TEST.search(path) for path in attempt.files))
        found.update((oid, fix) for oid in own)
    return found


def _read(git: Git, head: str, fixes: Mapping[str, _Fix]) -> Iterator[_Fix]:
    """The fixes that bring tests and remove a few telling lines of code, in landing order."""
    for unit in unit_lines(git, head, fixes):
        fix = fixes[unit.commit]
        fix.left -= 1
        fix.own.add(unit.position)
        fix.tests = fix.tests or any(_TEST_MARK.search(text) for _, text in unit.added)
        fix.lines.extend(line for line in unit.telling() if is_code(line.path))
        if not fix.left and fix.tests and 1 <= len(fix.lines) <= MOST_LINES:
            yield fix


def _suspect(git: Git, fix: _Fix, units: list[str], attempts: Attempts) -> Suspect | None:
    """The attempt that wrote at least `LEAST_SHARE` of the telling lines, if it may have written a fault."""
    [(origin, count)] = Counter(line.origin for line in fix.lines).most_common(1)
    if origin == UNKNOWN or origin in fix.own or count < LEAST_SHARE * len(fix.lines):
        return None
    lines = tuple(line for line in fix.lines if line.origin == origin)
    source = _attempt_of(git, units[origin], {line.path for line in lines}, attempts)
    if source is None or source.bot or not precedes(source, fix.attempt, MOST_DAYS):
        return None
    if source.files_changed > MOST_SOURCE_FILES:
        return None
    if _NO_AUTHOR.search(source.subject):
        return None
    issues = closed_issues(fix.attempt, attempts)
    if source.number is not None and any(number < source.number for number in issues):
        return None  # the issue is older than the pull request that is to have brought the fault
    return Suspect(
        source=source,
        target=fix.attempt,
        unit=units[origin],
        lines=lines,
        telling=len(fix.lines),
        issues=frozenset(issues),
    )


def _attempt_of(git: Git, unit: str, paths: set[str], attempts: Attempts) -> Attempt | None:
    """The attempt that a unit landed; for a merge of several, the only one of them that touched the files."""
    landed = attempts.by_commit(unit)
    if landed is not None and not landed.holds:
        return landed
    parents = git.commit(unit).parents
    if len(parents) < 2:
        return None
    merged = {
        attempt.attempt_id: attempt
        for commit in git.commits(parents[1:], parents[:1])
        if (attempt := attempts.by_commit(commit.oid)) is not None and paths & set(attempt.files)
    }
    return next(iter(merged.values())) if len(merged) == 1 else None


def closed_issues(attempt: Attempt, attempts: Attempts) -> set[int]:
    """The numbers that an attempt says it closes and that are no pull requests."""
    numbers = {
        int(found["number"])
        for subject, body in messages(attempt)
        for found in _CLOSES.finditer(f"{subject}\n\n{prose(body)}")
    }
    return {number for number in numbers if attempts.by_number(number) is None}


def _without_moved(git: Git, suspects: list[Suspect]) -> list[Suspect]:
    """The suspects with the lines they wrote themselves; none whose unit had only moved or restyled the lines."""
    units = sorted({suspect.unit for suspect in suspects})
    removed: dict[str, list[tuple[str, bytes]]] = {}
    paths = {(suspect.unit, line.path) for suspect in suspects for line in suspect.lines}
    for unit, path, line in git.changed_lines(units):
        if line.startswith(b"-") and not trivial(line[1:]):
            removed.setdefault(unit, []).append((path if (unit, path) in paths else "", squeezed(line[1:])))
    kept = []
    for suspect in suspects:
        before = removed.get(suspect.unit, [])
        lines = tuple(line for line in suspect.lines if not _moved(line, before))
        if lines and len(lines) >= LEAST_SHARE * suspect.telling:
            kept.append(replace(suspect, lines=lines))
    return kept


def _moved(line: RemovedLine, before: list[tuple[str, bytes]]) -> bool:
    """Whether a line was there already, in other words or places, when its unit wrote it."""
    text = squeezed(line.text)
    for path, old in before:
        if old == text:
            return True
        if path == line.path and 2 * min(len(old), len(text)) >= MOVED * (len(old) + len(text)):
            matcher = SequenceMatcher(None, old, text, autojunk=False)
            if matcher.quick_ratio() >= MOVED and matcher.ratio() >= MOVED:
                return True
    return False


def is_code(path: str) -> bool:
    """Whether a file is code of the product: no test, document, example or list of versions."""
    return bool(_CODE.search(path)) and not (_TEST.search(path) or _DOCS.search(path) or is_changelog(path))


def score(suspect: Suspect) -> float:
    """How sure it is, added up by hand from weak signals.

    A score of 0.75 or more is meant to be right in 95 of 100 cases.
    """
    source, target = suspect.source, suspect.target
    same_topic = bool(_words(source.subject) & _words(target.subject))
    found = 0.65
    found += 0.05 if len(suspect.lines) > 1 else 0.0 if same_topic else -0.04
    found += 0.10 if suspect.days <= 30 else 0.05 if suspect.days <= 120 else -0.06 if suspect.days > 240 else 0.0
    found += 0.04 if source.author == target.author else 0.0
    found += 0.08 if source.number and any(number > source.number for number in suspect.issues) else 0.0
    found += 0.05 if _FAULT.search(target.subject) else 0.0
    found += 0.06 if same_topic else 0.0
    if _PREFIX.match(target.subject) and not _FAULT.search(target.subject) and not suspect.issues:
        found -= 0.06  # where every change is called fix, feat or chore, much is a fix that mends no fault
    found -= 0.14 if _POLISHES.search(target.subject) else 0.0
    found -= 0.10 if source.files_changed > 40 else 0.04 if source.files_changed > 15 else 0.0
    return round(min(found, 0.93), 2)


def _words(title: str) -> set[str]:
    """The specific words of a title, their ends cut so that forms of one word are alike."""
    return {word[:6] for word in re.findall(r"[^\W\d_]{4,}", title.lower()) if not _COMMON.match(word)}


def _link(suspect: Suspect) -> Link | None:
    places: dict[str, list[int]] = {}
    for line in suspect.lines:
        places.setdefault(line.path, []).append(line.line)
    where = "; ".join(f"{path} ({', '.join(map(str, numbers))})" for path, numbers in sorted(places.items()))
    return Link(
        source=suspect.source.attempt_id,
        target=suspect.target.attempt_id,
        kind="fix_of",
        evidence=f"wrote {len(suspect.lines)} of the {suspect.telling} lines removed in {where}",
        confidence=score(suspect),
        rule=RULE,
    )
