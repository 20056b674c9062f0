"""Runs the tests of a correction on the states before and after it, several times, and says what that shows."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.records import AttemptRef
from scaffolds.environments.repository import Report, Result, SourceFile, run_tests
from scaffolds.protocols import InfrastructureError, Limits
from scaffolds.sandboxes import open_sandbox
from sources.git import Git
from sources.states import Correction, correction, own_commits, state, tree_before

_TRIES = 2  # a sandbox that fails is tried once more before the row is left as it is
_MOST_NODES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """The Python that runs the tests: its path, the folders it needs to read, and a fingerprint of what it holds."""

    python: str
    prefixes: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a correction's tests show of the earlier attempt.

    `reason` is `executed` where tests fail on the earlier state and pass on the corrected one, else why nothing is
    shown. `failing` are those tests as they fail on the earlier state, or, where that state cannot collect them for
    what others added since, as they fail right before the correction; `uncollectable` counts those that the earlier
    state cannot collect, `ran` how many tests pass on the corrected one. `stable`: the texts were equal in all runs.
    """

    reason: str
    failing: tuple[Result, ...] = ()
    uncollectable: int = 0
    ran: int = 0
    stable: bool = True


@dataclass(slots=True, kw_only=True)
class Executor:
    """Runs tests for one repository: each state with each set of tests once, and what decides `runs` times.

    Safe to call from threads.
    """

    git: Git
    sandbox: str
    limits: Limits
    runs: int
    interpreter: Interpreter
    plugins: tuple[str, ...]
    _reports: dict[tuple[str, str], Report] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, earlier: AttemptRef, later: AttemptRef, *, undone: bool = False) -> Judgement:
        """Hold an attempt against the tests of the one that answers it.

        `undone`: it was reverted before the later one landed, so that what it broke works right before the later one;
        then a test that it broke, sound before it, counts too.
        Raises `InfrastructureError`, `GitError` or `StateError` where that cannot be found out.
        """
        with self._lock:
            tests = correction(self.git, own_commits(self.git, later))
            commits = own_commits(self.git, earlier)
            broken = self.git.tree_of(commits[-1]) if commits else ""
            sound = tree_before(self.git, commits) if commits and undone else ""
        if not tests.targets:
            return Judgement(reason="unsupported_language" if tests.foreign else "no_tests")
        if not broken:
            return Judgement(reason="no_commits")
        fixed = self._run(tests.after, tests)
        passing = {result.test_id for result in fixed.results if result.status == "passed"}
        if fixed.problem or not passing:
            return Judgement(reason=fixed.problem or "fails_at_fix")
        before = self._run(broken, tests)
        failing = _failing(before, passing)
        if before.problem or not failing:
            return Judgement(reason=before.problem or "not_discriminating", ran=len(passing))
        # Tests may fail on an old state for what others added since: only those count that the correction mends.
        base = before if tests.before == broken else self._run(tests.before, tests)
        without = _failing(base, passing)
        counting = set(without)
        if sound:
            counting |= {result.test_id for result in self._run(sound, tests).results if result.status == "passed"}
        mended = {test_id: result for test_id, result in failing.items() if test_id in counting}
        if base.problem or not mended:
            return Judgement(reason=base.problem or "drift_only", ran=len(passing))
        judgement = self._again(tests, broken, mended, len(passing))
        drifted = {
            result.test_id: without[result.test_id]
            for result in judgement.failing
            if result.status == "uncollectable"
            and result.test_id in without
            and without[result.test_id].status == "failed"
        }
        return self._told(tests, judgement, drifted) if drifted else judgement

    def _told(self, tests: Correction, judgement: Judgement, drifted: dict[str, Result]) -> Judgement:
        """The judgement with these failures in the place of collection errors that others' changes explain."""
        report = self._once(self._state(tests.before, tests), _nodes(drifted, tests.targets, whole=True))
        return replace(
            judgement,
            failing=tuple(drifted.get(result.test_id, result) for result in judgement.failing),
            stable=judgement.stable and _failing(report, set(drifted)) == drifted,
        )

    def _again(self, tests: Correction, broken: str, failing: dict[str, Result], ran: int) -> Judgement:
        """Run what decides, and that alone, until it was run `runs` times; tests that contradict themselves are out."""
        stable = True
        for _ in range(1, self.runs):
            fixed = self._once(self._state(tests.after, tests), _nodes(failing, tests.targets, whole=False))
            before = self._once(self._state(broken, tests), _nodes(failing, tests.targets, whole=True))
            if problem := fixed.problem or before.problem:
                return Judgement(reason=problem)
            passing = {result.test_id for result in fixed.results if result.status == "passed"}
            again = _failing(before, passing)
            failing = {test_id: result for test_id, result in failing.items() if test_id in again}
            if not failing:
                return Judgement(reason="flaky", ran=ran)
            stable = stable and all(again[test_id] == result for test_id, result in failing.items())
        return Judgement(
            reason="executed",
            failing=tuple(result for _, result in sorted(failing.items())),
            uncollectable=sum(result.status == "uncollectable" for result in failing.values()),
            ran=ran,
            stable=stable,
        )

    def _run(self, tree: str, tests: Correction) -> Report:
        key = (tree, tests.fingerprint)
        if key not in self._reports:
            self._reports[key] = self._once(self._state(tree, tests), tests.targets)
        return self._reports[key]

    def _state(self, tree: str, tests: Correction) -> list[SourceFile]:
        with self._lock:
            return state(self.git, tree, tests, self.limits.file_bytes // 2)

    def _once(self, files: Sequence[SourceFile], targets: Sequence[str]) -> Report:
        for left in reversed(range(_TRIES)):
            try:
                with open_sandbox(self.sandbox, limits=self.limits, read_only=self.interpreter.prefixes) as sandbox:
                    return run_tests(
                        sandbox,
                        files,
                        targets,
                        python=self.interpreter.python,
                        plugins=self.plugins,
                        hidden=self.interpreter.prefixes,
                    )
            except InfrastructureError:
                if not left:
                    raise
        raise InfrastructureError("no try was made")


def _failing(report: Report, tests: set[str]) -> dict[str, Result]:
    """Those of `tests` that fail in a report, be it with the whole file that holds them."""
    known = {result.test_id: result for result in report.results}
    found = {}
    for test_id in tests:
        result, file = known.get(test_id), known.get(test_id.partition("::")[0])
        if result is not None and result.status == "failed":
            found[test_id] = result
        elif result is None and file is not None and file.status == "uncollectable":
            found[test_id] = replace(file, test_id=test_id)
    return found


def _nodes(failing: dict[str, Result], files: Sequence[str], *, whole: bool) -> list[str]:
    """What pytest is to run for these tests: themselves, or with `whole` the file where it cannot be collected."""
    names = [
        test_id.partition("::")[0] if whole and result.status == "uncollectable" else test_id
        for test_id, result in sorted(failing.items())
    ]
    # A cleaned name may not be the test's own, and a command line has its length.
    if len(names) > _MOST_NODES or any("0x..." in name for name in names):
        return list(files)
    return list(dict.fromkeys(names))
