"""Which trials the report shows, chosen by rule, and the corpus in figures; one pass that reads no long text."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.lake import Lake
from pipeline.records import Trial, from_batch

SHORTLIST = 24
"""So many trials of each kind are read whole and compared by the length of their texts."""

COLUMNS = (
    "trial_id",
    "task.environment",
    "task.repo",
    "episodes.list.element.reward",
    "episodes.list.element.reward_source",
    "episodes.list.element.steps.list.element.kind",
    "episodes.list.element.steps.list.element.channel",
    "chain.links.list.element.kind",
    "chain.attempts.list.element.attempt_id",
    "provenance.retrieved_at",
    "provenance.versions",
    "tokens",
)
"""All that the pass over the corpus reads."""


@dataclass(slots=True, kw_only=True)
class Corpus:
    """The corpus in a few figures. `kinds` counts trials by kind; `rewards` episodes by (source, reward)."""

    trials: int = 0
    episodes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    rewards: Counter[tuple[str, str]] = field(default_factory=Counter)
    repos: set[str] = field(default_factory=set)
    environments: set[str] = field(default_factory=set)
    versions: set[tuple[str, str]] = field(default_factory=set)
    history_end: datetime | None = None
    tokens: int = 0
    tokens_counted: int = 0

    @property
    def executed(self) -> int:
        """Episodes whose reward was executed in the sandbox."""
        return sum(count for (source, _), count in self.rewards.items() if source == "tests")

    @property
    def unknown(self) -> int:
        """Episodes whose reward is not known yet."""
        return sum(count for (_, reward), count in self.rewards.items() if reward == "null")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A trial worth showing: where it is, and how much it shows before its texts are read."""

    kind: str
    mined: bool
    score: float
    trial_id: str
    shard: str


def kind_of(mined: bool, environment: str, link_kinds: Sequence[str]) -> str:
    """A trial's kind: for mined ones the kinds of its links in order, once each; for others the environment."""
    return (" + ".join(dict.fromkeys(link_kinds)) or "pull request") if mined else environment


def survey(lake: Lake, stage: str) -> tuple[Corpus, list[Candidate]]:
    """The figures of a stage of trials, and a short list of candidates for each kind, best first."""
    corpus = Corpus()
    lists: dict[tuple[bool, str], list[Candidate]] = {}
    for shard in lake.shards(stage):
        for batch in lake.batches(shard.path, COLUMNS):
            for row in batch.to_pylist():
                candidate = _candidate(row, shard.path)
                _count(corpus, row, candidate)
                best = lists.setdefault((candidate.mined, candidate.kind), [])
                best.append(candidate)
                if len(best) >= 4 * SHORTLIST:
                    best[:] = heapq.nsmallest(SHORTLIST, best, key=_rank)
    return corpus, [c for key in sorted(lists) for c in heapq.nsmallest(SHORTLIST, lists[key], key=_rank)]


def choose(lake: Lake, candidates: Sequence[Candidate], count: int = 3) -> list[Trial]:
    """Up to `count` trials: the best mined one, mined ones of other kinds, and the best synthetic one last.

    Preferred are executed rewards, a failure followed by a success, feedback from tests, CI, reviews or issues, two to
    four episodes and texts of moderate length; ties go to the smaller `trial_id`. Where one sort is missing, the
    others fill its place.
    """
    ranked = sorted(_measured(lake, candidates), key=lambda pair: (-pair[0], pair[1].trial_id))
    mined = _one_per_kind([trial for _, trial in ranked if is_mined(trial)])
    synthetic = _one_per_kind([trial for _, trial in ranked if not is_mined(trial)])
    chosen = mined[: count - 1 if synthetic else count]
    return chosen + synthetic[: count - len(chosen)]


def is_mined(trial: Trial) -> bool:
    """Whether a trial comes from a history rather than from an environment."""
    return bool(trial.chain.attempts)


def trial_kind(trial: Trial) -> str:
    """The kind of a trial, see `kind_of`."""
    return kind_of(is_mined(trial), trial.task.environment, [link.kind for link in trial.chain.links])


def _rank(candidate: Candidate) -> tuple[float, str]:
    return (-candidate.score, candidate.trial_id)


def _candidate(row: Mapping[str, Any], shard: str) -> Candidate:
    mined = bool(row["chain"]["attempts"])
    rewards = [episode["reward"] for episode in row["episodes"]]
    sources = {episode["reward_source"] for episode in row["episodes"] if episode["reward"] is not None}
    steps = [step for episode in row["episodes"] for step in episode["steps"]]
    told = {step["channel"] for step in steps if step["kind"] == "feedback"}
    score = 4.0 * ("tests" in sources)
    score += 3.0 * (0.0 in rewards and 1.0 in rewards[rewards.index(0.0) :])
    score += 2.0 * (2 <= len(rewards) <= 4)
    score += 1.0 * bool(told & {"test", "ci", "review", "issue"})
    score += 0.5 * len(told)
    score -= 0.1 * max(0, len(steps) - 16)
    return Candidate(
        kind=kind_of(mined, row["task"]["environment"], [link["kind"] for link in row["chain"]["links"]]),
        mined=mined,
        score=score,
        trial_id=row["trial_id"],
        shard=shard,
    )


def _count(corpus: Corpus, row: Mapping[str, Any], candidate: Candidate) -> None:
    corpus.trials += 1
    corpus.episodes += len(row["episodes"])
    corpus.kinds[candidate.kind] += 1
    for episode in row["episodes"]:
        reward = episode["reward"]
        value = "null" if reward is None else f"{reward:g}" if reward in (0.0, 1.0) else "between"
        corpus.rewards[(episode["reward_source"] or "none", value)] += 1
    if candidate.mined and row["task"]["repo"]:
        corpus.repos.add(row["task"]["repo"])
    elif not candidate.mined:
        corpus.environments.add(row["task"]["environment"])
    corpus.versions.update((version["name"], version["version"]) for version in row["provenance"]["versions"])
    end = row["provenance"]["retrieved_at"]
    if end is not None:
        corpus.history_end = max(end.astimezone(UTC), corpus.history_end or end.astimezone(UTC))
    if row["tokens"] is not None:
        corpus.tokens += row["tokens"]
        corpus.tokens_counted += 1


def _measured(lake: Lake, candidates: Sequence[Candidate]) -> Iterator[tuple[float, Trial]]:
    """The candidates' trials with their final score: less for texts that are too short or too long to read."""
    scores = {candidate.trial_id: candidate.score for candidate in candidates}
    for shard in sorted({candidate.shard for candidate in candidates}):
        for batch in lake.batches(shard):
            wanted = [place for place, name in enumerate(batch["trial_id"].to_pylist()) if name in scores]
            for trial in from_batch(batch.take(wanted)) if wanted else ():
                texts = [len(step.text) for episode in trial.episodes for step in episode.steps]
                whole = len(trial.task.prompt) + sum(texts)
                penalty = max(0.0, (whole - 8_000) / 4_000) + 2.0 * (is_mined(trial) and whole < 300)
                yield scores[trial.trial_id] - min(penalty, 6.0), trial


def _one_per_kind(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the first of every kind in front, otherwise in order."""
    seen: set[str] = set()
    first: list[Trial] = []
    later: list[Trial] = []
    for trial in trials:
        kind = trial_kind(trial)
        (later if kind in seen else first).append(trial)
        seen.add(kind)
    return first + later
