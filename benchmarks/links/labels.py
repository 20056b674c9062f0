"""The labelled pairs, and the attempts of a mined clone that they name."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sources.attempts import Attempt, Attempts

FOLDER = Path(__file__).parent

DEVELOPMENT = (
    "bottlepy+bottle",
    "encode+httpx",
    "more-itertools+more-itertools",
    "pallets+flask",
    "psf+requests",
    "pytest-dev+pytest",
    "python+mypy",
    "python-attrs+attrs",
    "sympy+sympy",
    "tokio-rs+tokio",
)
"""Repositories whose labels may be looked at while a rule is made; those of the others are held out."""

WINDOWS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "encode+httpx": (703, 1164),
        "gin-gonic+gin": (856, 1479),
        "pallets+flask": (2017, 2611),
        "prometheus+prometheus": (8546, 9013),
        "pypa+pip": (9198, 9783),
        "pytest-dev+pytest": (5963, 6277),
        "python+mypy": (3081, 3875),
        "python-attrs+attrs": (747, 1079),
        "rust-lang+cargo": (6506, 6861),
        "tokio-rs+tokio": (4377, 4770),
    }
)
"""The first and last pull request, by landing, of the stretch of each history that was labelled exhaustively."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A labelled pair. `link` is false for a hard negative; `window`: its class was labelled exhaustively there."""

    link: bool
    source: str
    target: str
    kind: str
    stratum: str
    window: bool


def repositories() -> list[str]:
    """The labelled repositories, as `owner+name`."""
    return sorted(path.stem for path in FOLDER.glob("*+*.tsv"))


def labels(repository: str) -> Iterator[Label]:
    """The labelled pairs of a repository."""
    with (FOLDER / f"{repository}.tsv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            yield Label(
                link=row["label"] == "link",
                source=row["source"],
                target=row["target"],
                kind=row["kind"],
                stratum=row["stratum"],
                window=row["window"] == "1",
            )


def clone(data: Path, repository: str) -> Path | None:
    """The clone of a repository below `data`, null where there is none."""
    places = (data / repository / "repo", data / f"{repository}.git", data / repository)
    return next((place for place in places if (place / "HEAD").exists() or (place / ".git").exists()), None)


def named(attempts: Attempts, name: str) -> Attempt | None:
    """The attempt that `pr:N` or `commit:<oid>` names: a commit stands for the pull request that it landed with."""
    form, _, value = name.partition(":")
    return attempts.by_number(int(value)) if form == "pr" else attempts.by_commit(value)
