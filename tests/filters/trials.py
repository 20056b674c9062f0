"""A good mined trial as the filters see it, to be spoilt one way at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from filters.frame import Decision, make
from pipeline.records import AttemptRef, Chain, Episode, Provenance, Step, Task, Trial, seal, to_batch

START = datetime(2024, 5, 1, 12, tzinfo=UTC)

FIRST_EDIT = """\
diff --git a/shop/cart.py b/shop/cart.py
index 1111111..2222222 100644
--- a/shop/cart.py
+++ b/shop/cart.py
@@ -10,3 +10,4 @@ class Cart:
     def total(self):
         items = self.items
-        return sum(items)
+        rebate = self.rebate_of(items)
+        return sum(items) - rebate
"""

SECOND_EDIT = """\
diff --git a/shop/cart.py b/shop/cart.py
index 2222222..3333333 100644
--- a/shop/cart.py
+++ b/shop/cart.py
@@ -10,4 +10,7 @@ class Cart:
     def total(self):
         items = self.items
-        rebate = self.rebate_of(items)
-        return sum(items) - rebate
+        if not items:
+            return Money.zero(self.currency)
+        rebate = min(self.rebate_of(items), self.limit)
+        price = sum(item.price for item in items)
+        return max(price - rebate, Money.zero(self.currency))
"""


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def step(kind: str, channel: str, text: str, at: float, known: float | None = None, actor: str = "Ada") -> Step:
    return Step(
        kind=kind,
        channel=channel,
        text=text,
        actor=actor,
        at=hours(at),
        available_at=hours(at if known is None else known),
    )


def mined_trial(number: int = 0, **changes: Any) -> Trial:
    """A merged change, an issue about it, the output of the fix's tests, and the fix."""
    first = Episode(
        index=0,
        steps=(
            step("action", "message", "Take the rebate off the total of a cart", 0),
            step("action", "edit", FIRST_EDIT, 0),
        ),
        reward=0.0,
        reward_source="history",
    )
    second = Episode(
        index=1,
        steps=(
            step("feedback", "issue", f"Report {number}: an empty cart raises since the last release.", 5),
            step("feedback", "test", "E  AssertionError: Money.zero()\nFAILED test_cart.py::test_empty", 9),
            step("action", "message", "Return zero for carts that hold nothing (#12)", 8),
            step("action", "edit", SECOND_EDIT, 8),
        ),
        reward=1.0,
        reward_source="history",
    )
    trial = Trial(
        task=Task(
            prompt=f"Repository shop, change {number}.\n\n    def total(self):\n        return sum(items)\n",
            environment="repository",
            repo="shop/shop",
            base_commit="0" * 40,
        ),
        episodes=(first, second),
        group_id=f"family-{number}",
        provenance=Provenance(source="git"),
        chain=Chain(
            attempts=(
                AttemptRef(attempt_id="pr-7", kind="pull_request", number=7, commits=("a" * 40,), at=hours(0)),
                AttemptRef(attempt_id="pr-12", kind="pull_request", number=12, commits=("bc" * 20,), at=hours(8)),
            )
        ),
    )
    return seal(replace(trial, **changes))


def synthetic_trial(number: int = 0, text: str = "left") -> Trial:
    episode = Episode(
        index=0, steps=(Step(kind="action", channel="message", text=text),), reward=0.0, reward_source="verifier"
    )
    return seal(
        Trial(
            task=Task(prompt="Find the door.", environment="hidden_door", seed=number),
            episodes=(episode,),
            group_id=f"door-{number}",
            provenance=Provenance(source="synth", model="m"),
        )
    )


def with_steps(trial: Trial, index: int, *steps: Step) -> Trial:
    """The trial with other steps in one episode."""
    episodes = [replace(each, steps=steps) if each.index == index else each for each in trial.episodes]
    return seal(replace(trial, episodes=tuple(episodes)))


def with_edit(trial: Trial, index: int, text: str) -> Trial:
    """The trial with another edit in one episode."""
    steps = (replace(each, text=text) if each.channel == "edit" else each for each in trial.episodes[index].steps)
    return with_steps(trial, index, *steps)


def decide(name: str, *trials: Trial, **options: Any) -> list[Decision]:
    """What a filter decides on trials."""
    return make(name, options).decide(to_batch(trials))


def reason(name: str, trial: Trial, **options: Any) -> str:
    """The reason for which a filter drops one trial, or an empty text."""
    (decision,) = decide(name, trial, **options)
    return decision.reason
