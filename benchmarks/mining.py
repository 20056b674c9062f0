"""Mining a Git history against the floor and a peer: `git log -p` of the same commits, and PyDriller.

REPO names a clone (or a URL, which is cloned first). All three read the default branch alone, through a bare
repository that borrows REPO's objects; then REPO itself is mined once with the pull requests it holds. Each is a
process of its own, they take turns REPEATS times, and medians are compared. PyDriller reads a sample of SAMPLE evenly
spaced commits, and its time is scaled to all of them.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.results import write_results

REPEATS = int(os.environ.get("REPEATS", "3"))
SAMPLE = int(os.environ.get("SAMPLE", "300"))
_MINE = """
import json, resource, sys
from pipeline.lake import Lake
from sources.mine import MineConfig, run
path, folder, workers = sys.argv[1:]
if __name__ == "__main__":
    lake = Lake(folder)
    made = run(lake, MineConfig(repo=path, name="bench/repository"), workers=int(workers))
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({
        "attempts": lake.ledger("attempts").rows_out, "links": lake.ledger("links").rows_out,
        "chains": made.rows_in, "trials": made.rows_out, "peak_rss_gib": (own + children) / 2**20,
    }))
"""
_PYDRILLER = """
import sys
from pydriller import Repository
characters = 0
for commit in Repository(sys.argv[1], only_commits=sys.argv[2:]).traverse_commits():
    characters += len(commit.msg) + sum(len(file.diff) for file in commit.modified_files)
print(characters)
"""


def timed(argv: list[str], stdout: int = subprocess.PIPE) -> tuple[float, str]:
    """Wall seconds and output of a process that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(
        argv, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, cwd=Path(__file__).parents[1]
    )
    if done.returncode:
        raise SystemExit(f"{argv[0]} failed with {done.returncode}: {done.stderr.strip()[-1000:]}")
    return time.perf_counter() - started, done.stdout or ""


def default_branch(repo: Path, folder: Path) -> Path:
    """A bare repository with the default branch of `repo` alone, which borrows its objects."""
    head = _git(repo, "rev-parse", "HEAD").strip()
    objects = Path(_git(repo, "rev-parse", "--absolute-git-dir").strip()) / "objects"
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(folder)], check=True)
    (folder / "objects" / "info" / "alternates").write_text(f"{objects}\n")
    _git(folder, "update-ref", "refs/heads/main", head)
    return folder


def main() -> None:
    """Measure, print a table and, last, the JSON object that is also kept in `benchmarks/results`."""
    repo = os.environ.get("REPO")
    if not repo:
        raise SystemExit("REPO is not set; give a clone to mine: make bench-mining REPO=/path/to/clone")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        if not Path(repo).is_dir():
            subprocess.run(["git", "clone", "-q", "--mirror", "--", repo, str(work / "clone")], check=True)
        source = Path(repo) if Path(repo).is_dir() else work / "clone"
        branch = default_branch(source.absolute(), work / "branch")
        commits = _git(branch, "rev-list", "HEAD").split()
        sample = commits[:: max(1, len(commits) // SAMPLE)]
        seconds: dict[str, list[float]] = {"git_log": [], "ours": [], "ours_two_cores": [], "pydriller": []}
        found: dict[str, float] = {}
        for turn in range(REPEATS):
            log = ["git", "-C", str(branch), "-c", "safe.directory=*", "log", "-p", "--no-renames"]
            seconds["git_log"].append(timed(log, subprocess.DEVNULL)[0])
            for name, workers in (("ours", 1), ("ours_two_cores", 2)):
                wall, said = timed(
                    [sys.executable, "-c", _MINE, str(branch), str(work / f"{name}-{turn}"), str(workers)]
                )
                seconds[name].append(wall)
                found = json.loads(said.splitlines()[-1]) if workers == 1 else found
            wall = timed([sys.executable, "-c", _PYDRILLER, str(branch), *sample])[0]
            seconds["pydriller"].append(wall * len(commits) / len(sample))
        whole_wall, said = timed([sys.executable, "-c", _MINE, str(source.absolute()), str(work / "whole"), "1"])
    whole = json.loads(said.splitlines()[-1])
    medians = {name: statistics.median(walls) for name, walls in seconds.items()}
    figures = {
        **{f"{name}_seconds": round(wall, 2) for name, wall in medians.items()},
        "wall_ratio_to_git_log": round(medians["ours"] / medians["git_log"], 3),
        "wall_ratio_to_pydriller": round(medians["ours"] / medians["pydriller"], 4),
        "two_core_speedup": round(medians["ours"] / medians["ours_two_cores"], 2),
        "commits": len(commits),
        "pydriller_sampled_commits": len(sample),
        **{name: round(value, 3) for name, value in found.items()},
        "with_pull_requests.seconds": round(whole_wall, 2),
        **{f"with_pull_requests.{name}": round(value, 3) for name, value in whole.items()},
    }
    for name, value in figures.items():
        print(f"{name:36s} {value}")
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", os.environ.get("NAME") or Path(repo.rstrip("/")).name.removesuffix(".git"))
    target = Path(__file__).parent / "results" / f"mining-{slug}.json"
    print(write_results(target, "mining", figures, f"make bench-mining REPO=<clone of {slug}>"))


def _git(path: Path, *arguments: str) -> str:
    argv = ["git", "-C", str(path), "-c", "safe.directory=*", *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
