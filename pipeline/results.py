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
        "commit": _commit(),
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


def _commit() -> str | None:
    root = Path(__file__).parent.parent
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return None
    if done.returncode != 0:
        return None
    dirty = subprocess.run(
        ["git", "-C", str(root), "status", "--porcelain", "--untracked-files=no"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")
