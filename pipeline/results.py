"""The one form in which measured figures are kept: what was measured, by which command, at which commit, on what."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def results(benchmark: str, figures: Mapping[str, float], command: str) -> dict[str, Any]:
    """The JSON object of a benchmark's figures: `{"benchmark", "figures", "command", "commit", "machine"}`."""
    return {
        "benchmark": benchmark,
        "figures": dict(sorted(figures.items())),
        "command": command,
        "commit": commit(),
        "machine": machine(),
    }


def write_results(path: Path, benchmark: str, figures: Mapping[str, float], command: str) -> str:
    """Write the object to `path` and return it as one line, to be printed last."""
    value = results(benchmark, figures, command)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")
    return json.dumps(value)


def machine() -> str:
    """This machine in a few words: system, processor, cores, memory, Python."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, "
        f"Python {platform.python_version()}"
    )


def commit(root: Path = Path(__file__).parent.parent) -> str | None:
    """The commit of a checkout, null outside of one; `+changes` behind it where tracked files or any code differ.

    Files that Git does not track and that are no Python code are figures and outputs: they change nothing measured.
    """
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    state = _git(root, "status", "--porcelain", "-z", "--untracked-files=all")
    if head is None or state is None:
        return None
    changes = [entry for entry in state.split("\0") if entry and (entry[:2] != "??" or entry.endswith(".py"))]
    return head.strip() + ("+changes" if changes else "")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
