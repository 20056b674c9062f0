"""Trials from lake shards as packed batches, in an order that three integers can resume."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.finished import finished_shards
from pipeline.lake import Lake, ShardFile
from pipeline.records import Episode, Trial, from_batch, seal
from pipeline.render import Encoded, RenderOptions, encode, render
from pipeline.tokens import PAD, Tokenizer
from training.packing import PackedBatch, best_fit, collate, pieces

log = logging.getLogger(__name__)

_CACHED_TOKENS = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where reading stands: epochs finished, windows finished in this epoch, packed rows finished in this window."""

    epoch: int = 0
    window: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """What is read and how it is packed. Shards are opened some at a time, shuffled together and packed best-fit, so
    memory is bounded and neighbouring shards mix.
    """

    stages: tuple[str, ...] = ("synth",)
    """Stages of the lake whose trials are read."""
    environments: tuple[str, ...] = ()
    """Only trials of these environments; empty for all."""
    split: str = "train"
    """Only trials of this split. A trial without one is an error: stage `filtered` gives one to each."""
    sequence_tokens: int = 128
    """Tokens a packed row holds; a longer trial is cut into runs."""
    batch_rows: int = 12
    """Packed rows a batch holds."""
    window_shards: int = 16
    """Shards opened, shuffled and packed together."""
    single_episodes: bool = False
    """Cut every trial into its episodes, each a document of its own: the control without trials."""
    render: RenderOptions = field(default_factory=RenderOptions)
    """What of a trial is shown, and what of it is learned."""
    seed: int = 0
    """Decides the order."""


def read_trials(lake: Lake, config: DataConfig, shard: ShardFile) -> Iterator[Trial]:
    """The trials of one shard that `config` selects, in order; raises `ValueError` for a trial without a split."""
    for batch in lake.batches(shard.path):
        if batch["split"].null_count:
            # taken for one of the split asked for, it might be one that a release holds back for tests
            raise ValueError(f"{shard.path} has trials without a split; run the filters and read stage 'filtered'")
        wanted = pc.equal(batch["split"], config.split)
        if config.environments:
            environment = pc.struct_field(batch["task"], "environment")
            wanted = pc.and_(wanted, pc.is_in(environment, pa.array(config.environments)))
        for trial in from_batch(batch.filter(wanted)):
            yield from single_episodes(trial) if config.single_episodes else (trial,)


def single_episodes(trial: Trial) -> Iterator[Trial]:
    """Each episode as a trial of its own, as a corpus without trials would hold it.

    Feedback that stands before the first action of a later episode answered the earlier one, so it goes.
    """
    for episode in trial.episodes:
        steps = episode.steps
        if episode.index > 0:
            first = next((place for place, step in enumerate(steps) if step.kind == "action"), len(steps))
            steps = steps[first:]
        if steps:
            alone: Episode = replace(episode, index=0, steps=steps)
            yield seal(replace(trial, episodes=(alone,), trial_id=""))


def texts(lake: Lake, config: DataConfig, trials: int) -> Iterator[str]:
    """The texts of the first `trials` trials, structure left out: what a tokenizer is trained on."""
    read = (trial for shard in shards(lake, config.stages) for trial in read_trials(lake, config, shard))
    for trial in islice(read, trials):
        for segment in render(trial, config.render):
            if not segment.special and segment.text:
                yield segment.text


def shards(lake: Lake, stages: Sequence[str]) -> list[ShardFile]:
    """The shards of several finished stages; raises `ValueError` for one that is not, and where there are none."""
    found = [shard for stage in stages for shard in finished_shards(lake, stage)]
    if not found:
        raise ValueError(f"no shards of {', '.join(stages)} in {lake.root}; run these stages first")
    return found


class PackedTrials:
    """An endless stream of packed batches over the shards of some stages.

    The order is a function of the seed, the epoch and the shards alone. A document is a trial, or a run of a trial
    that is longer than a row: `pieces` cuts it, no token is lost, and a warning says how many.
    """

    def __init__(self, lake: Lake, tokenizer: Tokenizer, config: DataConfig) -> None:
        self._lake = lake
        self._tokenizer = tokenizer
        self._config = config
        self._shards = shards(lake, config.stages)
        self._cache: dict[str, list[Encoded]] = {}
        self._cached_tokens = 0
        self._pad = tokenizer.special_id(PAD)

    def batches(self, cursor: Cursor) -> Iterator[tuple[PackedBatch, Cursor]]:
        """Batches from `cursor` on, each with the cursor behind it. Batches cross windows and epochs."""
        gathered: list[list[Encoded]] = []
        barren = True
        while True:
            order = np.random.default_rng((self._config.seed, cursor.epoch)).permutation(len(self._shards))
            windows = range(0, len(order), self._config.window_shards)
            for window in range(cursor.window, len(windows)):
                chosen = order[windows[window] : windows[window] + self._config.window_shards]
                rows = self._rows(sorted(int(place) for place in chosen), cursor.epoch)
                for row in range(cursor.row, len(rows)):
                    gathered.append(rows[row])
                    if len(gathered) == self._config.batch_rows:
                        cursor = Cursor(epoch=cursor.epoch, window=window, row=row + 1)
                        yield collate(gathered, self._pad), cursor
                        gathered = []
                cursor = Cursor(epoch=cursor.epoch, window=window + 1)
                if rows:
                    barren = False
            if barren:
                raise ValueError(
                    f"no trials of split {self._config.split!r} and environments {self._config.environments or 'all'} "
                    f"in {', '.join(self._config.stages)}; run the stages that make them"
                )
            cursor = Cursor(epoch=cursor.epoch + 1)

    def _rows(self, chosen: list[int], epoch: int) -> list[list[Encoded]]:
        documents = [document for place in chosen for document in self._documents(self._shards[place])]
        rng = np.random.default_rng((self._config.seed, epoch, *chosen))
        mixed = [documents[place] for place in rng.permutation(len(documents))]
        bins = best_fit([len(document) for document in mixed], self._config.sequence_tokens)
        rows = [[mixed[place] for place in places] for places in bins]
        return [rows[place] for place in rng.permutation(len(rows))]

    def _documents(self, shard: ShardFile) -> list[Encoded]:
        if shard.path in self._cache:
            return self._cache[shard.path]
        documents: list[Encoded] = []
        cut = 0
        for trial in read_trials(self._lake, self._config, shard):
            whole = encode(render(trial, self._config.render), self._tokenizer)
            run = pieces(whole, self._config.sequence_tokens)
            cut += len(run) > 1
            documents.extend(run)
        if cut:
            log.warning("%s: %d trials exceed %d tokens and were cut", shard.path, cut, self._config.sequence_tokens)
        size = sum(map(len, documents))
        if self._cached_tokens + size <= _CACHED_TOKENS:
            self._cache[shard.path] = documents
            self._cached_tokens += size
        return documents
