"""The dataset card of a release: YAML by which `datasets.load_dataset(folder)` finds the splits, then tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from pipeline.ledger import Ledger
from pipeline.statistics import NONE, Statistics

_HUB_LICENSES = (
    *("afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear"),
    *("bsl-1.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "ecl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "gpl-2.0"),
    *("gpl-3.0", "isc", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "ms-pl", "ncsa", "ofl-1.1", "osl-3.0"),
    *("postgresql", "unlicense", "wtfpl", "zlib"),
)
"""Of the license ids that the Hub accepts, those that are SPDX ids in lower case."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGER = ((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))


class _File(Protocol):
    @property
    def split(self) -> str: ...
    @property
    def rows(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class _Release(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def schema_version(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def license(self) -> str: ...
    @property
    def files(self) -> Iterable[_File]: ...
    @property
    def statistics(self) -> Statistics: ...
    @property
    def ledgers(self) -> Iterable[Ledger]: ...


def card(release: _Release) -> str:
    """The card of a release (a `package.Manifest`) as Markdown behind a YAML head."""
    return f"{_head(release)}\n{_body(release)}"


def hub_license(spdx: str) -> str:
    """The Hub's id of an SPDX license: `GPL-3.0-only` is `gpl-3.0`, an id it does not list is `other`."""
    name = spdx.lower().removesuffix("-only").removesuffix("-or-later")
    return name if name in _HUB_LICENSES else "other"


def _head(release: _Release) -> str:
    statistics = release.statistics
    licenses = sorted({hub_license(name) for name in statistics.licenses if name != NONE}) or ["unknown"]
    if release.license:
        licenses = [release.license]
    splits = sorted({file.split for file in release.files}, key=("train", "validation", "test").index)
    size = next((name for limit, name in (*_SIZES, *_LARGER) if statistics.trials < limit), "n>1T")
    lines = ["---", f"pretty_name: {json.dumps(release.name)}", "license:", *(f"- {name}" for name in licenses)]
    lines += ["task_categories:", "- text-generation", "tags:", "- trial-and-error", "- meta-learning"]
    lines += ["size_categories:", f"- {size}", "configs:", "- config_name: default", "  data_files:"]
    for split in splits:
        lines += [f"  - split: {split}", f"    path: data/{split}-*.parquet"]
    return "\n".join([*lines, "---", ""])


def _body(release: _Release) -> str:
    statistics = release.statistics
    bytes_of: Counter[str] = Counter()
    for file in release.files:
        bytes_of[file.split] += file.bytes
    parts = [
        f"# {release.name}",
        "A corpus of trials: several episodes at one task in one context, so that later episodes can learn from the "
        "feedback and the rewards of earlier ones.",
        f"{statistics.trials:,} trials, {statistics.episodes:,} episodes, {statistics.steps:,} steps, "
        f"{statistics.text_bytes:,} bytes of text. Record schema {release.schema_version}.",
        _table(
            ("split", "trials", "bytes on disk"),
            [(split, f"{statistics.splits[split]:,}", f"{size:,}") for split, size in bytes_of.items()],
        ),
        '```python\nfrom datasets import load_dataset\n\ntrials = load_dataset("PATH")["train"]\n```',
        "## A row",
        "`task` (prompt, environment, seed or repository and base commit), `episodes` (each with `steps`, actions and "
        "feedback, then a `reward` in [0, 1], null where it is not known, and `reward_source`), `chain` (the mined "
        "attempts and the links between them, with evidence), `provenance` (urls, commits, license, model, sampling), "
        "`group_id` (what was kept on one side of the split), `notes` (what filters changed). "
        "Steps up to an episode's last action are the episode; feedback and reflections behind it came afterwards.",
        "## What is in it",
        _counts("source", statistics.sources),
        _counts("environment", statistics.environments),
        _counts("language", statistics.languages),
        _counts("episodes in a trial", statistics.episodes_per_trial),
        _counts("step channel", statistics.channels, "steps"),
        "Rewards by episode:",
        _rewards(statistics.rewards),
        _counts("reward source", statistics.reward_sources, "episodes"),
        "## Licenses",
        "The SPDX id of the repository's license at the base commit; `none` where none was recognised or the trial is "
        "synthetic.",
        _counts("license", statistics.licenses),
        "## How it was made",
        "Each stage accounts for every row: rows in are rows out, dropped with a reason, or errored.",
        _ledgers(release.ledgers),
        "What was dropped, by reason:",
        _drops(release.ledgers),
        "All trials of a group (`group_id`) lie in one split: the one their environment had set, else one by a hash of "
        "the group when they were filtered. Training that reads the filtered trials reads only those of its split. "
        f"Rows are ordered by a hash of the group with seed {release.seed}. `manifest.json` has the SHA-256 of every "
        "file and the ledgers in full.",
        "## Limits",
        "Rewards of mined trials whose `reward_source` is `history` are inferred from what became of a change (landed, "
        "reverted, corrected), not from running it. Links between attempts are found by rules and carry a confidence. "
        "A null reward is unknown, not a failure. Texts are as people wrote them: they may hold names, errors and rude "
        "words, and text that looks like the marks of a chat or of a special token.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, words: int = 1) -> str:
    """A Markdown table of which the first `words` columns are words and the others figures."""
    lines = [head, tuple("---" if place < words else "---:" for place in range(len(head))), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _counts(what: str, counts: Mapping[str, int], unit: str = "trials") -> str:
    if not counts:
        return ""
    rows = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return _table((what, unit), [(name, f"{count:,}") for name, count in rows])


def _rewards(rewards: Mapping[str, int]) -> str:
    classes = ("1", "0", "partial", "unknown")
    indices = sorted({int(name.split()[0]) for name in rewards})
    rows = [(str(index), *(f"{rewards.get(f'{index} {each}', 0):,}" for each in classes)) for index in indices]
    return _table(("episode", *classes), rows)


def _ledgers(ledgers: Iterable[Ledger]) -> str:
    rows = []
    for each in ledgers:
        figures = (each.rows_in, each.rows_out, each.dropped.total(), each.errored.total())
        rows.append((each.stage, each.unit, *(f"{figure:,}" for figure in figures)))
    return _table(("stage", "unit", "in", "out", "dropped", "errored"), rows, words=2)


def _drops(ledgers: Iterable[Ledger]) -> str:
    rows = [(each.stage, reason, f"{n:,}") for each in ledgers for reason, n in sorted(each.dropped.items())]
    return _table(("stage", "reason", "rows"), rows, words=2) if rows else "Nothing was dropped."
