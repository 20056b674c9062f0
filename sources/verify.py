"""Executed rewards: runs the tests that a correction brought, before and after it, and lets the result win.

Where tests of the later attempt fail on the state that the earlier one left, and pass on its own, the earlier episode
has earned 0 and the later one 1, both from `tests`, and the failing output becomes feedback. In every other case the
row stays as it is and a count says why: a sandbox that is down or a run that took too long is no failed episode.
"""

from __future__ import annotations

import functools
import itertools
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from pipeline import records
from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import AttemptRef, Episode, Note, Step, Trial
from pipeline.stage import Progress, ShardInput, Stage, config_json, run_stage, shard_inputs
from scaffolds.protocols import InfrastructureError, Limits
from scaffolds.sandboxes import open_sandbox
from sources.executed import Executor, Interpreter, Judgement
from sources.git import Git, local_clone
from sources.git_process import GitError
from sources.names import repository_name, shard_prefix
from sources.states import StateError

log = logging.getLogger(__name__)

STAGE = "verified"
FILTER = "verify"
"""The name that this stage signs its notes with."""

_BATCH_ROWS = 64
_NAMED = 3
# How the reward read off the history compares with the executed one, for the two episodes of a pair.
_EARLIER = {0.0: "earlier_agrees", 1.0: "earlier_disagrees", None: "earlier_was_open"}
_LATER = {0.0: "later_undone_since", 1.0: "later_agrees", None: "later_was_open"}
# What is installed is read off the names of its folders: a tenth of the time that importlib.metadata takes.
_DESCRIBE = (
    "import hashlib, importlib.util, os, sys; "
    "importlib.util.find_spec('pytest') or sys.exit('No module named pytest'); "
    "held = sorted(name for path in sys.path if os.path.isdir(path) for name in os.listdir(path) if '-info' in name); "
    "print(sys.prefix); print(sys.base_prefix); "
    "print(hashlib.sha256(repr((sys.version, held)).encode()).hexdigest())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyConfig:
    """Whose trials are verified, where and how."""

    repo: str
    """The clone that the trials were mined from: a folder, or a URL that is mirrored into `cache`."""
    name: str = ""
    """What the repository was called when it was mined; empty for the URL that `repo` is, a folder must have one. The
    trials of other repositories are left alone."""
    cache: str = "build/clones"
    """Where mirrors of URLs lie."""
    source: str = "trials"
    """The stage to read."""
    stage: str = STAGE
    """The stage to write."""
    sandbox: str = "bubblewrap"
    """Where tests run: bubblewrap, or unsafe_local for code that you trust as your own."""
    python: str = ""
    """An interpreter with pytest and what the project's tests need; empty for the one that runs this."""
    plugins: tuple[str, ...] = ()
    """Pytest plugins that the tests need, as for `-p`; none are loaded by themselves."""
    runs: int = 3
    """How often a test must say the same to count."""
    feedback_chars: int = 4_000
    """How much of the failing output becomes feedback."""
    limits: Limits = field(
        default_factory=lambda: Limits(
            wall_seconds=120.0, cpu_seconds=120, memory_bytes=4 << 30, processes=256, file_bytes=512 << 20
        )
    )
    """What one run may use."""


def run(lake: Lake, config: VerifyConfig, *, workers: int = 1, progress: Progress | None = None) -> Ledger:
    """Write `config.stage`: a repository's trials of `config.source`, with executed rewards where tests can tell.

    Without a working sandbox all rows pass unchanged, counted as `sandbox_unavailable`, and the log names the command
    that mends it; the next run, with a sandbox, does the work. Raises `ValueError` for a config that cannot be.
    """
    if config.runs < 1:
        raise ValueError(f"runs is {config.runs}; give at least 1")
    name = repository_name(config.repo, config.name)
    path = local_clone(config.repo, config.cache)
    prefix = shard_prefix(name)
    inputs = [item for item in shard_inputs(lake, config.source) if item.key.startswith(prefix)]
    if not inputs:
        log.warning("stage %s has no trials of %r to verify; mine it under this name first", config.source, name)
    interpreter, obstacle = _interpreter(config.python), _obstacle(config)
    if obstacle is not None:
        log.warning("no executed rewards: %s. All trials keep the rewards read off the history.", obstacle)
    transform = _Transform(
        path=path,
        config=config,
        interpreter=interpreter,
        isolated=obstacle is None,
        threads=max(1, workers // max(1, len(inputs))),
    )
    stage = Stage(
        name=config.stage,
        unit="trials",
        tables={"part": records.SCHEMA},
        transform=transform,
        config={**config_json(config), "interpreter": interpreter.fingerprint, "isolated": obstacle is None},
    )
    return run_stage(lake, stage, inputs, owns=prefix, workers=workers, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transform:
    path: str
    config: VerifyConfig
    interpreter: Interpreter
    isolated: bool
    threads: int

    def __call__(self, lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        with Git(self.path) as git, ThreadPoolExecutor(self.threads) as pool:
            executor = Executor(
                git=git,
                sandbox=self.config.sandbox,
                limits=self.config.limits,
                runs=self.config.runs,
                interpreter=self.interpreter,
                plugins=self.config.plugins,
            )
            for batch in lake.batches(shard.payload):
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    trials = list(records.from_batch(batch.slice(start, _BATCH_ROWS)))
                    ledger.take(len(trials))
                    judged = pool.map(functools.partial(self._judged, executor), trials)
                    done = [self._applied(trial, found, ledger) for trial, found in zip(trials, judged, strict=True)]
                    ledger.keep(len(done))
                    yield "part", records.to_batch(done)

    def _judged(self, executor: Executor, trial: Trial) -> list[Judgement]:
        """One judgement for each pair of neighbouring episodes."""
        attempts = episode_attempts(trial)
        if not self.isolated:
            return [Judgement(reason="sandbox_unavailable")]
        if attempts is None:
            return [Judgement(reason="no_pair")]
        relands = {link.target for link in trial.chain.links if link.kind == "reland"}
        pairs = itertools.pairwise(attempts)
        return [_tried(executor, earlier, later, later.attempt_id in relands) for earlier, later in pairs]

    def _applied(self, trial: Trial, judgements: Sequence[Judgement], ledger: Ledger) -> Trial:
        for judgement in judgements:
            ledger.counts[judgement.reason] += 1
        noted = trial
        if any(judgement.reason == "executed" for judgement in judgements):
            noted = _rewarded(trial, judgements, self.config.feedback_chars, ledger)
        for judgement in judgements:
            if judgement.reason.startswith(("error.", "limit_")):
                note = Note(filter=FILTER, action="keep", reason=judgement.reason)
                noted = replace(noted, notes=(*noted.notes, note))
        return noted


def episode_attempts(trial: Trial) -> list[AttemptRef] | None:
    """The attempt behind each episode, oldest first, or null where the chain does not tell or there is but one.

    A revert is what the world answered, so it is an attempt without an episode, unless it lands again what another
    revert had undone.
    """
    reverts = {link.target for link in trial.chain.links if link.kind == "revert"}
    relands = {link.target for link in trial.chain.links if link.kind == "reland"}
    attempts = [attempt for attempt in trial.chain.attempts if attempt.attempt_id not in reverts - relands]
    return attempts if len(attempts) == len(trial.episodes) > 1 else None


def feedback_text(judgement: Judgement, max_chars: int) -> str:
    """The failing output as a policy would have read it: each failure with its traceback, then the tally.

    Where the texts differed from run to run only the names are given. Cut in the middle to `max_chars`.
    """
    lines, told = [], set()
    for result in judgement.failing:
        place = result.test_id.partition("::")[0] if result.status == "uncollectable" else result.test_id
        if place in told:
            continue
        told.add(place)
        lines.append(f"{'ERROR' if result.status == 'uncollectable' else 'FAILED'} {place}")
        if judgement.stable and result.text:
            lines += [result.text, ""]
    text = records.well_formed("\n".join(lines).rstrip())
    tally = f"{len(judgement.failing)} failed, {judgement.ran - len(judgement.failing)} others"
    if len(text) > max_chars:
        half = max_chars // 2
        text = f"{text[:half]}\n[... {len(text) - 2 * half} characters cut ...]\n{text[-half:]}"
    return f"{text}\n{tally}"


def _tried(executor: Executor, earlier: AttemptRef, later: AttemptRef, undone: bool) -> Judgement:
    try:
        return executor.judge(earlier, later, undone=undone)
    except StateError as error:
        return Judgement(reason=f"error.{error.reason}")
    except GitError as error:
        log.warning("no executed reward for %s: %s", later.attempt_id, error)
        return Judgement(reason="error.git")
    except InfrastructureError as error:
        log.warning("no executed reward for %s: %s", later.attempt_id, error)
        return Judgement(reason="error.sandbox")


def _rewarded(trial: Trial, judgements: Sequence[Judgement], feedback_chars: int, ledger: Ledger) -> Trial:
    """The trial with executed rewards and the failing output as feedback, sealed anew."""
    episodes, changed = list(trial.episodes), []
    for index, judgement in enumerate(judgements):
        if judgement.reason != "executed":
            continue
        changed.append(f"{index}")
        earlier, later = episodes[index], episodes[index + 1]
        ledger.counts[_EARLIER.get(earlier.reward, "earlier_disagrees")] += 1
        episodes[index] = replace(earlier, reward=0.0, reward_source="tests", reward_evidence=_evidence(judgement))
        later = _told(later, feedback_text(judgement, feedback_chars))
        # A fix that history undid later keeps its 0: passing its own tests does not outweigh that.
        if index + 2 == len(episodes):
            ledger.counts[_LATER.get(later.reward, "later_disagrees")] += 1
            if later.reward != 0.0:
                count = len(judgement.failing)
                evidence = f"{count} of {judgement.ran} tests of this change fail before it and pass here"
                later = replace(later, reward=1.0, reward_source="tests", reward_evidence=evidence)
        episodes[index + 1] = later
    # Where each failure is told now, it is no longer the reward alone that tells it.
    spoken = len(changed) == len(judgements)
    notes = tuple(note for note in trial.notes if not (spoken and note.reason == "reward_only"))
    note = Note(filter=FILTER, action="change", reason="executed", detail=f"episodes {', '.join(changed)}")
    return records.seal(replace(trial, episodes=tuple(episodes), notes=(*notes, note), tokens=None))


def _evidence(judgement: Judgement) -> str:
    """A line such as `2 of 3 tests of the correction fail here: test_x, test_y`."""
    names = list(dict.fromkeys(result.test_id.partition("::")[2] for result in judgement.failing))
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    because = f" ({judgement.uncollectable} of them cannot be collected)" if judgement.uncollectable else ""
    return f"{len(judgement.failing)} of {judgement.ran} tests of the correction fail here{because}: {listed}"


def _told(episode: Episode, text: str) -> Episode:
    """The episode with a piece of test feedback in front of its first action, behind what the world said before.

    The tests came with the correction, so they could first be run at its time: it carries the times of the action.
    """
    steps = list(episode.steps)
    place = next((at for at, step in enumerate(steps) if step.kind == "action"), len(steps))
    action = steps[place] if place < len(steps) else None
    told = Step(
        kind="feedback",
        channel="test",
        text=text,
        actor="pytest",
        at=action.at if action else None,
        available_at=action.available_at if action else None,
    )
    return replace(episode, steps=(*steps[:place], told, *steps[place:]))


def _obstacle(config: VerifyConfig) -> str | None:
    """Why runs cannot be isolated here, with the remedy, or null where they can."""
    try:
        with open_sandbox(config.sandbox, limits=config.limits) as sandbox:
            done = sandbox.exec(["true"])
    except InfrastructureError as error:
        return str(error)
    return (
        None if done.exit_code == 0 else f"a first run in {config.sandbox} ended with {done.exit_code}: {done.output}"
    )


def _interpreter(python: str) -> Interpreter:
    """What the interpreter is and holds, as it says itself."""
    # not resolved: a virtual environment is known by the link that starts it
    path = str(Path(python).absolute()) if python else sys.executable
    try:
        done = subprocess.run([path, "-I", "-c", _DESCRIBE], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise ValueError(f"python {path!r} cannot run tests ({said}); name an interpreter that has pytest") from error
    prefix, base, fingerprint = done.stdout.split("\n")[:3]
    return Interpreter(python=path, prefixes=tuple(dict.fromkeys((prefix, base))), fingerprint=fingerprint)
