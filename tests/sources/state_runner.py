"""Run as a program: pytest over many extracted trees, one forked child each, so that pytest is imported once.

Reads a JSON object folder → test files on stdin (none: all of them) and writes folder → {test id: outcome} to stdout.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest


class Outcomes:
    """Notes how every test ended; a module that cannot be imported counts as one failed test."""

    def __init__(self) -> None:
        self.by_test: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst phase of a test."""
        if report.failed or report.when == "call":
            self.by_test[report.nodeid] = report.outcome

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that does not import."""
        if report.failed:
            self.by_test[report.nodeid] = "failed"


def outcomes(folder: str, files: list[str], answer: Path) -> None:
    """Run tests of `folder` in this process and write what came out to `answer`."""
    os.chdir(folder)
    sys.path.insert(0, folder)
    found = Outcomes()
    pytest.main(["-q", "--assert=plain", "-p", "no:cacheprovider", "--rootdir", folder, *files], plugins=[found])
    answer.write_text(json.dumps(found.by_test))


def main() -> None:
    """Fork once per folder, one after another."""
    sys.dont_write_bytecode = True
    silence = os.open(os.devnull, os.O_WRONLY)
    speech = os.dup(1)
    os.dup2(silence, 1)
    answers: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        answer = Path(scratch) / "answer.json"
        for folder, files in json.load(sys.stdin).items():
            child = os.fork()
            if child == 0:
                outcomes(folder, files, answer)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if status:
                raise SystemExit(f"the tests of {folder} ended with wait status {status}")
            answers[folder] = json.loads(answer.read_text())
            answer.unlink()
    with os.fdopen(speech, "w") as out:
        json.dump(answers, out)


if __name__ == "__main__":
    main()
