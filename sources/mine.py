"""Mining as stages of the lake: a clone → `attempts` → `links` → `trials`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import SCHEMA as TRIAL_SCHEMA
from pipeline.records import Link, Trial, to_batch
from pipeline.stage import Progress, ShardInput, Stage, run_stage
from sources import attempts as attempts_module
from sources.attempts import Attempts, ReadAttempts, from_batch
from sources.chains import Answer, ChainPlan, chains
from sources.edits import EditLimits
from sources.git import Git, local_clone
from sources.history import read_history
from sources.links import LINKERS, linker
from sources.pushes import answering, pushes
from sources.trials import NoTrialError, TrialConfig, TrialMaker

log = logging.getLogger(__name__)

LINKS, TRIALS = "links", "trials"
LINK_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("target", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("evidence", pa.large_string()),
        pa.field("confidence", pa.float64()),
        pa.field("rule", pa.string(), nullable=False),
    ],
    metadata={b"retrial.schema_version": b"1.0"},
)
"""The Arrow schema of the links stage, one row per link."""

_BATCH = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class MineConfig:
    """What to mine and how.

    `repo` is a folder with a bare or ordinary clone, or a URL that is mirrored into the folder `cache`. `name` stands
    for it in the corpus (a URL or `owner/name`); it must be given for a folder, whose path means nothing elsewhere.
    `branch` is the default branch, null for the one the clone's HEAD names. `rules` null means all linkers.
    """

    repo: str
    name: str | None = None
    branch: str | None = None
    cache: str = "build/clones"
    horizon_days: int = 180
    min_confidence: float = 0.75
    max_chain: int = 6
    in_pull_requests: bool = True
    rules: tuple[str, ...] | None = None
    block_units: int = 1000
    max_commits: int = 100
    context_chars: int = 12_000
    feedback_chars: int = 8_000
    message_chars: int = 4_000
    edit: EditLimits = field(default_factory=EditLimits)

    def __post_init__(self) -> None:
        if self.name is None and "://" not in self.repo:
            raise ValueError(f"repo {self.repo!r} is a folder; give `name`, the URL or owner/name it is a clone of")
        for rule in self.rules or ():
            linker(rule)


def run(lake: Lake, config: MineConfig, *, workers: int = 1, progress: Progress | None = None) -> Ledger:
    """Mine one repository into the stages `attempts`, `links` and `trials` of a lake; the ledger of `trials`.

    Raises `GitError` for a clone that is damaged or not whole. A run that was stopped goes on where it stopped; shards
    are blocks of the first-parent line from its oldest commit, so a longer history adds shards and keeps the old ones.
    """
    path = local_clone(config.repo, config.cache)
    name = config.name or config.repo.removesuffix("/").removesuffix(".git")
    with Git(path) as git:
        git.check_whole()
        history = read_history(
            git, branch=config.branch, block_units=config.block_units, max_commits=config.max_commits
        )
    stage = Stage(
        name=attempts_module.STAGE,
        unit="attempts",
        tables={"part": attempts_module.SCHEMA},
        transform=ReadAttempts(path=path),
        config={"name": name},
    )
    blocks = [ShardInput(key=key, fingerprint=_digest(plans), payload=plans) for key, plans in history.blocks.items()]
    # starting a process costs as much as mining thousands of commits
    workers = max(1, min(workers, len(blocks) // 4))
    taken = run_stage(lake, stage, blocks, workers=workers, progress=progress)

    whole = _digest([[shard.key, shard.sha256] for shard in lake.shards(attempts_module.STAGE)])
    rules = list(config.rules or LINKERS)
    stage = Stage(name=LINKS, unit="links", tables={"part": LINK_SCHEMA}, transform=find_links, config={"name": name})
    linked = run_stage(lake, stage, [ShardInput(key=rule, fingerprint=whole) for rule in rules])

    attempts = _indexed(lake.root, whole)
    found = chains(read_links(lake), attempts, min_confidence=config.min_confidence, max_chain=config.max_chain)
    settings = TrialConfig(
        name=name,
        as_of=history.as_of,
        horizon_days=config.horizon_days,
        min_confidence=config.min_confidence,
        max_chain=config.max_chain,
        context_chars=config.context_chars,
        feedback_chars=config.feedback_chars,
        message_chars=config.message_chars,
        edit=config.edit,
    )
    stage = Stage(
        name=TRIALS,
        unit="chains",
        tables={"part": TRIAL_SCHEMA},
        transform=MakeTrials(path=path, config=settings),
        config={**asdict(settings), "as_of": 0},
    )
    inputs = _trial_inputs(lake, found.chains, found.families, found.answers, settings, config)
    made = run_stage(lake, stage, inputs, workers=workers, progress=progress)
    _tell(taken, linked, made)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one shard of the trials stage has to do: chains, and the pull requests of one shard of attempts."""

    chains: tuple[ChainPlan, ...]
    shard: str | None
    families: dict[str, str]
    answers: dict[str, tuple[Answer, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeTrials:
    """The transform of the trials stage."""

    path: str
    config: TrialConfig

    def __call__(self, lake: Lake, item: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield the trials of one block: of its chains first, then of its pull requests that correct themselves."""
        work: Work = item.payload
        with Git(self.path) as git:
            maker = TrialMaker(git, self.config)
            waiting: list[Trial] = []
            for trial in self._trials(lake, maker, work, ledger):
                waiting.append(trial)
                if len(waiting) == _BATCH:
                    yield "part", to_batch(waiting)
                    waiting = []
            if waiting:
                yield "part", to_batch(waiting)

    def _trials(self, lake: Lake, maker: TrialMaker, work: Work, ledger: Ledger) -> Iterator[Trial]:
        for plan in work.chains:
            ledger.take()
            try:
                trial = maker.of_chain(plan)
            except NoTrialError as reason:
                ledger.drop(str(reason))
                continue
            _count(ledger, trial, "cross_pull_request")
            yield trial
        if work.shard is None:
            return
        several = (b.filter(pc.greater(pc.list_value_length(b.column("branch")), 1)) for b in lake.batches(work.shard))
        found = (attempt for batch in several for attempt in from_batch(batch) if answering(attempt))
        for attempt, parts in pushes(maker.git, list(found), self.config.max_chain):
            ledger.take()
            if not parts:
                ledger.drop("no_own_line_rewritten")
                continue
            family = work.families.get(attempt.attempt_id, attempt.attempt_id)
            try:
                trial = maker.of_pushes(attempt, parts, work.answers.get(attempt.attempt_id, ()), family)
            except NoTrialError as reason:
                ledger.drop(str(reason))
                continue
            _count(ledger, trial, "in_pull_request")
            yield trial


def find_links(lake: Lake, item: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
    """The transform of the links stage: the shard's key is the rule to apply to all attempts of the lake."""
    found = linker(item.key)(_indexed(lake.root, item.fingerprint))
    ledger.take(len(found))
    ledger.keep(len(found))
    for link in found:
        ledger.counts[f"kind_{link.kind}"] += 1
    rows = [asdict(link) for link in found]
    if rows:
        yield "part", pa.RecordBatch.from_pylist(rows, schema=LINK_SCHEMA)


@lru_cache(maxsize=1)
def _indexed(root: str, fingerprint: str) -> Attempts:
    """The attempts of a lake; the rules that run in one process share one index."""
    return Attempts(Lake(root))


def read_links(lake: Lake) -> list[Link]:
    """All links of a lake."""
    return [
        Link(**row) for shard in lake.shards(LINKS) for batch in lake.batches(shard.path) for row in batch.to_pylist()
    ]


def _trial_inputs(
    lake: Lake,
    plans: tuple[ChainPlan, ...],
    families: dict[str, str],
    answers: dict[str, tuple[Answer, ...]],
    settings: TrialConfig,
    config: MineConfig,
) -> Iterator[ShardInput]:
    """One input per block of the first-parent line: a chain is made with the block of its oldest attempt."""
    by_block: dict[str, list[ChainPlan]] = {}
    for plan in plans:
        by_block.setdefault(f"line-{plan.attempts[0].position // config.block_units:05d}", []).append(plan)
    for shard in lake.shards(attempts_module.STAGE):
        if not shard.key.startswith("line-"):
            continue
        ids = [
            name
            for batch in lake.batches(shard.path, ["attempt_id"])
            for name in batch.column("attempt_id").to_pylist()
        ]
        work = Work(
            chains=tuple(by_block.get(shard.key, ())),
            shard=shard.path if config.in_pull_requests else None,
            families={name: families[name] for name in ids if name in families},
            answers={name: answers[name] for name in ids if name in answers},
        )
        yield ShardInput(key=shard.key, fingerprint=_digest((shard.sha256, settings.as_of, work)), payload=work)


def _count(ledger: Ledger, trial: Trial, origin: str) -> None:
    ledger.keep()
    ledger.counts[f"trials_{origin}"] += 1
    ledger.counts["episodes"] += len(trial.episodes)
    for episode in trial.episodes:
        ledger.counts[f"reward_{'null' if episode.reward is None else int(episode.reward)}"] += 1
    if any(note.reason == "reward_only" for note in trial.notes):
        ledger.counts["trials_reward_only"] += 1


def _tell(taken: Ledger, linked: Ledger, made: Ledger) -> None:
    log.info("attempts %d, links %s, trials %d", taken.rows_out, dict(sorted(linked.counts.items())), made.rows_out)
    if not linked.rows_out:
        log.warning(
            "no links among %d attempts: messages in this history name no earlier change; mine a longer history, or "
            "one whose messages say what they revert and fix",
            taken.rows_out,
        )
    if not made.rows_out:
        log.warning("no trials from %d chains; dropped: %s", made.rows_in, dict(made.dropped) or "none")


def _digest(value: Any) -> str:
    """A hash of frozen dataclasses and what they hold; their `repr` names every field."""
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()
