"""A repository's state and its tests: the files of one commit in a sandbox, and what pytest says about them there.

Not an environment to act in yet: it answers one question, which of these tests pass on these files. The tests are
arbitrary code and could write a report of their own liking; the exit code is held against the report, and beyond that
a result is as honest as the tests.
"""

from __future__ import annotations

import io
import re
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal
from xml.etree import ElementTree

from scaffolds.protocols import Execution, InfrastructureError, Limits, Sandbox

_ARCHIVE = ".retrial-state.tar"
_REPORT = ".retrial-report.xml"
_LINK_MODE = "120000"
_PYTEST_PASSED, _PYTEST_FAILED, _PYTEST_USAGE, _PYTEST_NONE = 0, 1, 4, 5  # pytest.ExitCode
_NOT_STARTED = (126, 127)  # as env and prlimit say it

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_VARYING = (
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b"), "0x..."),
    (re.compile(r"/tmp/pytest-of-\w+/pytest-\d+"), "/tmp/pytest"),
    (re.compile(r"/tmp/tmp\w{8}\b"), "/tmp/tmp"),
    (re.compile(r"\bin \d+\.\d+s\b"), "in ...s"),
)

Status = Literal["passed", "failed", "skipped", "uncollectable"]
"""`uncollectable` stands for a whole file that pytest could not import, under the name of the file."""

_WORST_FIRST: tuple[Status, ...] = ("uncollectable", "failed", "skipped", "passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of a commit: its path with `/`, its Git mode in octal digits and its bytes (of a link, its target)."""

    path: str
    mode: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one test did; `text` is its failure as pytest tells it, cleaned, empty where it passed."""

    test_id: str
    status: Status
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of one run by test id, and `problem`, a reason code where the run as a whole is worth nothing."""

    results: tuple[Result, ...] = ()
    problem: str | None = None


def put(sandbox: Sandbox, files: Sequence[SourceFile]) -> None:
    """Lay `files` out in the sandbox's work folder, links and executable bits included.

    The archive is unpacked inside, so that a path or link that leads outside leads nowhere. Raises
    `InfrastructureError` where they do not fit or cannot be unpacked.
    """
    sandbox.write(_ARCHIVE, _archive(files))
    for argv in (["tar", "-x", "--no-same-owner", "-f", _ARCHIVE], ["rm", _ARCHIVE]):
        run = sandbox.exec(argv)
        if run.exit_code != 0:
            raise InfrastructureError(f"a state of {len(files)} files cannot be unpacked: {run.output[-300:].strip()}")


def run_tests(
    sandbox: Sandbox,
    files: Sequence[SourceFile],
    targets: Sequence[str],
    *,
    python: str = sys.executable,
    plugins: Sequence[str] = (),
    limits: Limits | None = None,
    hidden: Sequence[str] = (),
) -> Report:
    """Run the test files `targets` with pytest on a state, in a sandbox that is new for it.

    `python` must have pytest and what the project needs. `plugins` of pytest are loaded by name (as for `-p`); none
    load themselves, as many an installed one costs each run more than the tests. `hidden` names folders of the host to
    be left out of the texts. `problem` is one of: `limit_<name>` a limit ended the run, `no_tests` were found,
    `crashed` where pytest did not end by itself, `report_missing` and `report_mismatch` where report and exit code do
    not fit each other. Raises `InfrastructureError` where the state cannot be laid out or `python` does not start.
    """
    put(sandbox, files)
    roots = [sandbox.folder]
    if any(file.path.startswith("src/") and file.path.endswith(".py") for file in files):
        roots.insert(0, f"{sandbox.folder}/src")
    folder = str(PurePosixPath(python).parent)
    run = sandbox.exec(
        [
            *("env", f"PYTHONPATH={':'.join(roots)}", f"PATH={folder}:/usr/local/bin:/usr/bin:/bin"),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1",
            *(python, "-m", "pytest", "-q", "--rootdir=.", "--tb=short", "--color=no"),
            *("-p", "no:cacheprovider", "--continue-on-collection-errors"),
            *(part for plugin in plugins for part in ("-p", plugin)),
            # options of the project's own may need plugins that are not here, and say nothing about a test's outcome
            *(
                "-o",
                "addopts=",
                "-o",
                "required_plugins=",
                "-o",
                "junit_family=xunit1",
                f"--junitxml={_REPORT}",
                "--",
                *targets,
            ),
        ],
        limits=limits,
    )
    return _judged(sandbox, run, targets, (sandbox.folder, *hidden))


def cleaned(text: str, hidden: Sequence[str] = ()) -> str:
    """`text` without escape codes and control characters, and with what varies from run to run made equal.

    `hidden` are folders: the first is cut from paths, the others become `<python>`.
    """
    text = _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))
    for place, folder in enumerate(hidden):
        text = text.replace(f"{folder}/", "" if place == 0 else "<python>/")
    for pattern, constant in _VARYING:
        text = pattern.sub(constant, text)
    return text


def _archive(files: Sequence[SourceFile]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path)
            if file.mode == _LINK_MODE:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.data.decode("utf-8", "surrogateescape")
                archive.addfile(entry)
            else:
                entry.mode, entry.size = int(file.mode[-3:], 8), len(file.data)
                archive.addfile(entry, io.BytesIO(file.data))
    return stream.getvalue()


def _judged(sandbox: Sandbox, run: Execution, targets: Sequence[str], hidden: Sequence[str]) -> Report:
    if run.limit is not None:
        return Report(problem=f"limit_{run.limit}")
    if run.exit_code in _NOT_STARTED:
        raise InfrastructureError(f"the interpreter of the tests does not start in the sandbox: {run.output[-300:]}")
    if run.exit_code == _PYTEST_USAGE:
        # a conftest.py that cannot be imported ends pytest before it writes a report
        text = cleaned(run.output, hidden).strip()
        return Report(results=tuple(Result(test_id=path, status="uncollectable", text=text) for path in targets))
    if run.exit_code == _PYTEST_NONE:
        return Report(problem="no_tests")
    if run.exit_code not in (_PYTEST_PASSED, _PYTEST_FAILED):
        return Report(problem="crashed")
    try:
        results = _parsed(sandbox.read(_REPORT), hidden)
    except (FileNotFoundError, ValueError):
        return Report(problem="report_missing")
    failed = any(result.status in ("failed", "uncollectable") for result in results)
    if not results or failed != (run.exit_code == _PYTEST_FAILED):
        return Report(problem="report_mismatch")
    return Report(results=results)


def _parsed(report: bytes, hidden: Sequence[str]) -> tuple[Result, ...]:
    """The results in a JUnit report, by test id; raises `ValueError` for what is none."""
    if b"<!" in report.replace(b"<![CDATA[", b""):
        raise ValueError("a report with declarations was not written by pytest")
    try:
        root = ElementTree.fromstring(report)
    except ElementTree.ParseError as error:
        raise ValueError(f"the report is not XML: {error}") from error
    found: dict[str, Result] = {}
    for case in root.iter("testcase"):
        result = _result(case, hidden)
        known = found.get(result.test_id)
        if known is None or _WORST_FIRST.index(result.status) < _WORST_FIRST.index(known.status):
            found[result.test_id] = result
    return tuple(found[test_id] for test_id in sorted(found))


def _result(case: ElementTree.Element, hidden: Sequence[str]) -> Result:
    name, classname, file = case.get("name", ""), case.get("classname", ""), case.get("file", "")
    failure, error = case.find("failure"), case.find("error")
    if error is not None and error.get("message", "").startswith("collection "):
        path = file or name.replace(".", "/") + ".py"
        return Result(test_id=path, status="uncollectable", text=cleaned(error.text or "", hidden).strip())
    module = file.removesuffix(".py").replace("/", ".")
    inner = classname.removeprefix(module).strip(".").replace(".", "::")
    test_id = cleaned("::".join(part for part in (file, inner, name) if part))
    bad = failure if failure is not None else error
    if bad is not None:
        return Result(test_id=test_id, status="failed", text=cleaned(bad.text or "", hidden).strip())
    return Result(test_id=test_id, status="skipped" if case.find("skipped") is not None else "passed")
