"""Mining as stages of the lake: a clone → `attempts` → `links` → `trials`."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
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
from sources.chains import Answer, ChainPlan, Chains, chains
from sources.edits import EditLimits
from sources.git import Git, local_clone
from sources.history import read_history
from sources.links import LINKERS, linker
from sources.names import own_shards, repository_name, shard_prefix
from sources.pushes import answering, pushes
from sources.trials import MINER_VERSION, NoTrialError, TrialConfig, TrialMaker

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
    """What to mine and how."""

    repo: str
    """A folder with a bare or ordinary clone, or a URL that is mirrored into `cache`."""
    name: str = ""
    """What the repository is called in the corpus, its URL or owner/name; empty for the URL that `repo` is, a folder
    must have one. Pull-request addresses in messages count where they are of this name. Repositories of different
    names stand side by side in a lake."""
    branch: str = ""
    """The default branch; empty for the one that the clone's HEAD names."""
    cache: str = "build/clones"
    """Where mirrors of URLs lie."""
    horizon_days: int = 180
    """How long an attempt must have stood unanswered to have earned 1; before that its reward is open."""
    min_confidence: float = 0.75
    """Links below this confidence make no chain."""
    max_chain: int = 6
    """Episodes a trial has at most."""
    in_pull_requests: bool = True
    """Also make trials of pull requests whose later commits correct their earlier ones."""
    rules: tuple[str, ...] = ()
    """Linker rules to apply; empty for all."""
    block_units: int = 1000
    """Units of the default branch that make a shard."""
    max_commits: int = 100
    """An unmerged pull request with more commits of its own is left aside."""
    context_chars: int = 12_000
    """How much of the files a prompt shows."""
    feedback_chars: int = 8_000
    """Where a diff shown as feedback is cut."""
    message_chars: int = 4_000
    """Where a message is cut."""
    edit: EditLimits = field(default_factory=EditLimits)
    """How large an edit may be; a chain with a larger one makes no trial."""

    def __post_init__(self) -> None:
        for rule in self.rules:
            linker(rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """A repository whose attempts and links are in the lake: what it is called, where its clone is, and up to when."""

    name: str
    path: str
    as_of: int
    attempts: Attempts
    links: list[Link]


def run(lake: Lake, config: MineConfig, *, workers: int = 1, progress: Progress | None = None) -> Ledger:
    """Mine one repository into the stages `attempts`, `links` and `trials` of a lake; the ledger of all of `trials`.

    Raises `GitError` for a clone that is damaged or not whole, `ValueError` for a folder without a name. A run that was
    stopped goes on where it stopped; shards are blocks of the first-parent line from its oldest commit, so a longer
    history adds shards and keeps the old ones.
    """
    linked = run_links(lake, config, workers=workers, progress=progress)
    prefix = shard_prefix(linked.name)
    found = chains(linked.links, linked.attempts, min_confidence=config.min_confidence, max_chain=config.max_chain)
    settings = TrialConfig(
        name=linked.name,
        as_of=linked.as_of,
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
        transform=MakeTrials(path=linked.path, config=settings),
        config={**asdict(settings), "as_of": 0, "version": MINER_VERSION},
    )
    inputs = list(_trial_inputs(lake, found, prefix, settings, config))
    workers = _worth(workers, len(inputs))
    made = run_stage(lake, stage, inputs, owns=prefix, workers=workers, progress=progress)
    _tell(lake, prefix, linked)
    return made


def run_links(lake: Lake, config: MineConfig, *, workers: int = 1, progress: Progress | None = None) -> Linked:
    """The first two stages of `run`, which do not need the content of files but where a linker rule reads it."""
    name = repository_name(config.repo, config.name)
    path = local_clone(config.repo, config.cache)
    prefix = shard_prefix(name)
    with Git(path) as git:
        git.check_whole()
        history = read_history(
            git, branch=config.branch or None, block_units=config.block_units, max_commits=config.max_commits
        )
    stage = Stage(
        name=attempts_module.STAGE,
        unit="attempts",
        tables={"part": attempts_module.SCHEMA},
        transform=ReadAttempts(path=path),
        config={"name": name},
    )
    blocks = [
        ShardInput(key=prefix + key, fingerprint=_digest(plans), payload=plans) for key, plans in history.blocks.items()
    ]
    run_stage(lake, stage, blocks, owns=prefix, workers=_worth(workers, len(blocks)), progress=progress)

    whole = _digest([[s.key, s.sha256] for s in own_shards(lake, attempts_module.STAGE, name)])
    index = _Index(root=lake.root, name=name, fingerprint=whole, path=path, head=history.head)
    stage = Stage(
        name=LINKS,
        unit="links",
        tables={"part": LINK_SCHEMA},
        transform=FindLinks(index=index),
        config={"name": name, "version": MINER_VERSION},
    )
    rules = list(config.rules or LINKERS)
    inputs = [ShardInput(key=prefix + rule, fingerprint=whole, payload=rule) for rule in rules]
    run_stage(lake, stage, inputs, owns=prefix)
    links = read_links(lake, name)
    return Linked(name=name, path=path, as_of=history.as_of, attempts=_indexed(index), links=links)


def _worth(workers: int, shards: int) -> int:
    """How many workers pay: starting a process costs as much as mining thousands of commits."""
    return max(1, min(workers, shards // 4))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class FindLinks:
    """The transform of the links stage: applies the rule that the shard names to all attempts of a repository."""

    index: _Index

    def __call__(self, lake: Lake, item: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield the links of one rule."""
        found = linker(item.payload)(_indexed(self.index))
        ledger.take(len(found))
        ledger.keep(len(found))
        for link in found:
            ledger.counts[f"kind_{link.kind}"] += 1
        rows = [asdict(link) for link in found]
        if rows:
            yield "part", pa.RecordBatch.from_pylist(rows, schema=LINK_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Which attempts, as they are by their fingerprint, and the clone they are from."""

    root: str
    name: str
    fingerprint: str
    path: str
    head: str


@lru_cache(maxsize=1)
def _indexed(index: _Index) -> Attempts:
    """The attempts of a repository; the rules that run in one process share one index."""
    return Attempts(Lake(index.root), index.name, clone=index.path, head=index.head)


def read_links(lake: Lake, name: str | None = None) -> list[Link]:
    """All links of one repository; a null `name` is the only one of the lake."""
    shards = own_shards(lake, LINKS, name)
    return [Link(**row) for shard in shards for batch in lake.batches(shard.path) for row in batch.to_pylist()]


def _trial_inputs(
    lake: Lake, found: Chains, prefix: str, settings: TrialConfig, config: MineConfig
) -> Iterator[ShardInput]:
    """One input per block of the first-parent line: a chain is made with the block of its oldest landed attempt."""
    by_block: dict[str, list[ChainPlan]] = {}
    for plan in found.chains:
        position = next((a.position for a in plan.attempts if a.landed), 0)  # what did not land has no place of its own
        by_block.setdefault(f"{prefix}line-{position // config.block_units:05d}", []).append(plan)
    for shard in own_shards(lake, attempts_module.STAGE, settings.name):
        if not shard.key.startswith(f"{prefix}line-"):
            continue
        ids = [
            name
            for batch in lake.batches(shard.path, ["attempt_id"])
            for name in batch.column("attempt_id").to_pylist()
        ]
        work = Work(
            chains=tuple(by_block.get(shard.key, ())),
            shard=shard.path if config.in_pull_requests else None,
            families={name: found.families[name] for name in ids if name in found.families},
            answers={name: found.answers[name] for name in ids if name in found.answers},
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


def _tell(lake: Lake, prefix: str, linked: Linked) -> None:
    entries = [entry for entry in lake.manifest(TRIALS) if entry["key"].startswith(prefix)]
    made = Ledger.total(TRIALS, "chains", (Ledger.from_json(entry["ledger"]) for entry in entries))
    kinds = Counter(link.kind for link in linked.links)
    attempts = len(linked.attempts)
    log.info("attempts %d, links %s, trials %d", attempts, dict(sorted(kinds.items())), made.rows_out)
    if not linked.links:
        log.warning(
            "no links among %d attempts: messages in this history name no earlier change; mine a longer history, or "
            "one whose messages say what they revert and fix",
            attempts,
        )
    if not made.rows_out:
        log.warning("no trials from %d chains; dropped: %s", made.rows_in, dict(made.dropped) or "none")


def _digest(value: Any) -> str:
    """A hash of frozen dataclasses and what they hold; their `repr` names every field."""
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()
