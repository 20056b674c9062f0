"""The sandbox attacked and timed: how many known ways out succeed, and what a run costs beside a bare process.

Every attack is real code in a real sandbox with something planted on the host to reach (a file, a variable, a server, a
process); it counts as an escape when it reached it, or when a limit did not hold. Spawns are timed in turns, ours and a
bare process, and medians are quoted.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.sandbox_attacks import LIMITS, SECRET, Planted, attacks
from pipeline.results import write_results
from scaffolds.sandboxes import open_sandbox
from scaffolds.sandboxes.bubblewrap import probe

ROUNDS = int(os.environ.get("ROUNDS", "60"))


@contextmanager
def planted() -> Iterator[Planted]:
    """The host side of the attacks, for as long as the context is open."""
    os.environ["PLANTED_TOKEN"] = SECRET
    name = f"\0planted-{os.getpid()}"
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        abstract.bind(name)
        abstract.listen()
        (Path(folder) / "secret").write_text(SECRET)
        process = subprocess.Popen(["sleep", "600"])
        try:
            yield Planted(folder=Path(folder), port=server.getsockname()[1], abstract=name, process=process)
        finally:
            process.kill()
            process.wait()


def spawns() -> dict[str, float]:
    """Medians in milliseconds of a run of `true` in the sandbox, bare, and of opening and closing a sandbox."""
    inside, bare, opened = [], [], []
    with open_sandbox(limits=LIMITS) as sandbox:
        for _ in range(ROUNDS):
            inside.append(_timed(lambda: sandbox.exec(["true"])))
            bare.append(_timed(lambda: subprocess.run(["true"], check=True, stdout=subprocess.PIPE)))
            opened.append(_timed(lambda: open_sandbox(limits=LIMITS).close()))
    figures = {"run_ms": inside, "bare_ms": bare, "open_ms": opened}
    medians = {name: 1000 * statistics.median(times) for name, times in figures.items()}
    return {**medians, "spawn_overhead_ms": medians["run_ms"] - medians["bare_ms"]}


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Attack, time, print and keep the figures."""
    probe()
    escapes = 0
    with planted() as host:
        tried = attacks(host)
        for attack in tried:
            with open_sandbox(limits=LIMITS) as sandbox:
                run = sandbox.exec([sys.executable, "-S", "-c", attack.code])
                escaped = attack.escaped(run, sandbox, host)
            escapes += escaped
            print(f"{'ESCAPED' if escaped else 'held':8}{attack.name} ({run.seconds:.2f} s)", flush=True)
    figures = {"attacks": float(len(tried)), "escapes": float(escapes), **spawns()}
    print(write_results(Path("benchmarks/results/sandbox.json"), "sandbox", figures, "make bench-sandbox"))


if __name__ == "__main__":
    main()
