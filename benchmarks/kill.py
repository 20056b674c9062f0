"""Kill -9 at random moments, restart, compare: is the lake byte-identical to that of an undisturbed run?

Runs the path of a TOML file (by default: mine the bundled history, verify in the sandbox, synthesise, filter, package,
a short pretraining) once undisturbed, then again and again with its whole process group killed at random moments, until
KILLS kills are counted; every time a disturbed run gets to its end, all its bytes are compared.
DATA names another TOML file, in which `{folder}` stands for the output folder and `{repo}` for the bundled history.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.results import write_results
from sources.sample_history import build

KILLS = int(os.environ.get("KILLS", "24"))
_TOML = """
[run]
lake = "{folder}/lake"
workers = 2
[mine]
repo = "{repo}"
name = "sample"
[verify]
repo = "{repo}"
name = "sample"
runs = 1
[[synth]]
environment = "hidden_door"
trials = 3000
shard_trials = 500
[[synth]]
environment = "number_guess"
trials = 2000
shard_trials = 500
[filter]
sources = ["verified", "synth"]
[package]
target = "{folder}/release"
name = "killed"
[cpt]
name = "short"
steps = 60
checkpoint_steps = 10
data = { stages = ["filtered"], environments = ["hidden_door"] }
"""


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by relative path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def differing_bytes(left: dict[str, bytes], right: dict[str, bytes]) -> int:
    """Bytes at which two snapshots differ; a file that only one has counts whole."""
    total = 0
    for name in sorted(set(left) | set(right)):
        a, b = left.get(name, b""), right.get(name, b"")
        total += abs(len(a) - len(b)) + sum(x != y for x, y in zip(a, b, strict=False))
        if a != b:
            print(f"  differs: {name}", file=sys.stderr)
    return total


def start(toml: Path) -> subprocess.Popen[bytes]:
    """The path in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "run", str(toml)],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def main() -> None:
    """Run the benchmark and print its figures."""
    seed = int(os.environ.get("SEED", "1"))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        repo = build(root / "repo")
        text = Path(os.environ["DATA"]).read_text() if os.environ.get("DATA") else _TOML
        # the same folder for both: a path that is part of a config is part of what is written
        folder = root / "run"
        toml = root / "run.toml"
        toml.write_text(text.replace("{folder}", str(folder)).replace("{repo}", str(repo)))

        def finish() -> float:
            began = time.monotonic()
            child = start(toml)
            _, errors = child.communicate()
            if child.returncode != 0:
                raise RuntimeError(f"the path failed without being killed: {errors.decode()[-2000:]}")
            return time.monotonic() - began

        seconds = finish()
        calm = snapshot(folder)
        print(f"undisturbed: {seconds:.1f} s, {len(calm)} files, {sum(map(len, calm.values())):,} bytes", flush=True)
        kills = runs = differing = 0
        while kills < KILLS:
            shutil.rmtree(folder)
            killed_here = 0
            while True:
                child = start(toml)
                try:
                    # later restarts have less to do: aim within what is left, never so late that nothing is hit
                    _, errors = child.communicate(timeout=rng.uniform(0.5, max(2.0, seconds / (1 + killed_here / 3))))
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.communicate()
                    kills += 1
                    killed_here += 1
                    if killed_here < 12:
                        continue
                    finish()
                else:
                    if child.returncode != 0:
                        raise RuntimeError(f"restart after {kills} kills failed: {errors.decode()[-2000:]}")
                break
            runs += 1
            found = differing_bytes(calm, snapshot(folder))
            differing += found
            print(f"run {runs}: {killed_here} kills, {found} bytes differ", flush=True)
    figures = {"kills": kills, "runs": runs, "differing_bytes": differing, "undisturbed_seconds": round(seconds, 1)}
    print(write_results(Path("benchmarks/results/kill.json"), "kill", figures, f"KILLS={KILLS} make bench-kill"))


if __name__ == "__main__":
    main()
