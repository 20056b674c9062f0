"""What the tests of the report stand on: trials, a lake of real stages over them, and a reader of pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.records import (
    SCHEMA,
    AttemptRef,
    Chain,
    Episode,
    Link,
    Note,
    Provenance,
    Step,
    Task,
    Trial,
    Version,
    from_batch,
    seal,
    to_batch,
)
from pipeline.report import ReportConfig, report
from pipeline.stage import ShardInput, Stage, run_stage, shard_inputs

START = datetime(2021, 3, 4, 10, 22, tzinfo=UTC)

DIFF = """\
diff --git a/app/cart.py b/app/cart.py
index 1f2d3c4..5e6f7a8 100644
--- a/app/cart.py
+++ b/app/cart.py
@@ -10,5 +10,6 @@ class Cart:
     def total(self):
-        return sum(item.price for item in self.items)
+        # an empty cart costs nothing
+        return sum(item.price * item.count for item in self.items)
~
     def clear(self):
         self.items = []
diff --git a/tests/test_cart.py b/tests/test_cart.py
index 1f2d3c4..5e6f7a8 100644
--- a/tests/test_cart.py
+++ b/tests/test_cart.py
@@ -1,2 +1,4 @@
 from app.cart import Cart
~
+def test_counts():
+    assert Cart([Item(2, count=3)]).total() == 6
""".replace("~", " ")
"""An edit; `~` keeps the blank context lines' space."""

PYTEST = "\n".join(
    ["============ test session starts ============", "collected 14 items", ""]
    + [f"tests/test_cart.py::test_case_{n} PASSED" for n in range(30)]
    + [
        "    def test_counts():",
        ">       assert Cart([Item(2, count=3)]).total() == 6",
        "E       assert 2 == 6",
        "FAILED tests/test_cart.py::test_counts - assert 2 == 6",
    ]
)


def mined(kind: str = "fixes", number: int = 41, text: str = DIFF, reward_source: str = "tests") -> Trial:
    """Two attempts of a repository, the later one correcting the earlier one."""
    second = START + timedelta(days=12)
    return seal(
        Trial(
            task=Task(
                prompt="Let a cart hold several pieces of an item.\n\nThe total ignores the count that #38 brought.",
                environment="repository",
                repo="shop/cart",
                base_commit="4f" * 20,
                language="Python",
            ),
            episodes=(
                Episode(
                    index=0,
                    steps=(
                        Step(kind="action", channel="edit", text=text, actor="dana", at=START, available_at=START),
                        Step(
                            kind="action", channel="message", text=f"Count the pieces of an item (#{number})", at=START
                        ),
                    ),
                    reward=0.0,
                    reward_source=reward_source,
                    reward_evidence="tests/test_cart.py::test_counts fails at this attempt's state",
                ),
                Episode(
                    index=1,
                    steps=(
                        Step(
                            kind="feedback", channel="issue", text="The total ignores counts.", actor="kim", at=second
                        ),
                        Step(kind="feedback", channel="test", text=PYTEST, at=second, available_at=second),
                        Step(kind="action", channel="edit", text=DIFF, actor="dana", at=second, available_at=second),
                    ),
                    reward=1.0,
                    reward_source=reward_source,
                    reward_evidence="14 passed",
                ),
            ),
            group_id=f"shop/cart#{number}",
            chain=Chain(
                attempts=(
                    AttemptRef(
                        attempt_id=f"pr-{number}", kind="pull_request", number=number, commits=("ab" * 20,), at=START
                    ),
                    AttemptRef(attempt_id="pr-52", kind="pull_request", number=52, commits=("cd" * 20,), at=second),
                ),
                links=(
                    Link(
                        source=f"pr-{number}",
                        target="pr-52",
                        kind=kind,
                        evidence=f"“fixes the total, which #{number} broke”",
                        confidence=0.9,
                        rule="mention",
                    ),
                ),
            ),
            provenance=Provenance(
                source="git",
                urls=("https://example.org/shop/cart/pull/41", "javascript:alert(1)"),
                commits=("ab" * 20,),
                license="MIT",
                retrieved_at=datetime(2024, 6, 30, 8, 5, tzinfo=UTC),
                versions=(Version(name="sources.mine", version="1"),),
            ),
            tokens=812,
            notes=(Note(filter="secrets", action="keep", reason="clean"),),
        )
    )


def synthetic(seed: int = 3) -> Trial:
    """Three guesses at a hidden door."""
    guesses = ((1, 0.0), (0, 0.0), (2, 1.0))
    return seal(
        Trial(
            task=Task(prompt="Four doors, one prize. Name a door.", environment="hidden_door", seed=seed),
            episodes=tuple(
                Episode(
                    index=index,
                    steps=(
                        Step(kind="action", channel="message", text=f"door {door}"),
                        Step(kind="feedback", channel="environment", text="a prize" if reward else "a goat"),
                    ),
                    reward=reward,
                    reward_source="verifier",
                )
                for index, (door, reward) in enumerate(guesses)
            ),
            group_id=f"hidden_door-{seed}",
            provenance=Provenance(source="scaffold", model="explorer", versions=(Version(name="retry", version="1"),)),
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """A transform that writes the trials of its payload."""

    def __call__(self, lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
        trials = shard.payload
        ledger.take(len(trials) + 3)
        ledger.keep(len(trials))
        ledger.drop("does_not_replay", 2)
        ledger.error("sandbox_down")
        for trial in trials:
            ledger.counts.update(f"link.{link.kind}" for link in trial.chain.links)
            ledger.counts.update(f"reward.{episode.reward_source}" for episode in trial.episodes)
        yield "part", to_batch(trials)


def _no_twins(lake: Lake, shard: ShardInput, ledger: Ledger) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Keeps the first trial of every group."""
    seen: set[str] = set()
    for batch in lake.batches(shard.payload):
        kept = []
        for trial in from_batch(batch):
            ledger.take()
            if trial.group_id in seen:
                ledger.drop("exact_duplicate")
                continue
            seen.add(trial.group_id)
            ledger.keep()
            kept.append(trial)
        yield "part", to_batch(kept)


def lake_of(folder: Path, *trials: Trial) -> Lake:
    """A lake whose stages `trials` and `filtered` were run over these trials."""
    lake = Lake(folder)
    made = Stage(name="trials", unit="trials", tables={"part": SCHEMA}, transform=Trials())
    run_stage(lake, made, [ShardInput(key="a", fingerprint="1", payload=list(trials))])
    kept = Stage(name="filtered", unit="trials", tables={"part": SCHEMA}, transform=_no_twins)
    run_stage(lake, kept, shard_inputs(lake, "trials"))
    return lake


def page_of(lake: Lake, folder: Path, **options: object) -> str:
    """The report of a lake as text."""
    return report(lake, ReportConfig(target=folder / "report.html", **options)).read_text()  # type: ignore[arg-type]


class Reader(HTMLParser):
    """Reads a page as a browser would: elements, their attributes, and the text outside of the style sheet."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[int] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
