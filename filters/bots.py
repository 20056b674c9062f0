"""Drops mined trials in which no human acted: dependency updates, formatters and releases pushed by bots."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from filters.frame import KEEP, Decision, drop, mined
from pipeline.records import Trial

BOTS = (
    "dependabot",
    "dependabot-preview",
    "renovate",
    "renovate-bot",
    "greenkeeper",
    "greenkeeperio-bot",
    "snyk-bot",
    "pyup-bot",
    "pyup.io bot",
    "pre-commit-ci",
    "pre-commit.ci",
    "github-actions",
    "github actions",
    "github-merge-queue",
    "semantic-release-bot",
    "release-please",
    "release-drafter",
    "mergify",
    "bors",
    "homu",
    "imgbot",
    "imgbotapp",
    "allcontributors",
    "codecov-io",
    "weblate",
    "transifex",
    "crowdin-bot",
    "travis-ci",
    "web-flow",
    "copybara-service",
    "k8s-ci-robot",
    "rust-timer",
    "scala-steward",
    "restyled-io",
    "deepsource-autofix",
    "lgtm-com",
    "sonatype-lift",
    "whitesource-bolt",
    "pytest bot",
    "meeseeksmachine",
    "patchback",
    "miss-islington",
    "blurb-it",
)
"""Accounts that act without a person, as they sign commits or pull requests, in lower case."""

_WORD = re.compile(r"\[bot\]|(?:^|[\s._-])(?:bot|robot|autobot)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BotsConfig:
    """`more` are further names to count as bots, `people` names that look like bots and are not."""

    more: tuple[str, ...] = ()
    people: tuple[str, ...] = ()


class Bots:
    """Drops `only_bots_acted`: at least one action names its actor and every actor named is a bot."""

    config_type: ClassVar[type] = BotsConfig
    version: ClassVar[int] = 1

    def __init__(self, config: BotsConfig) -> None:
        self._bots = {name.casefold() for name in (*BOTS, *config.more)}
        self._people = {name.casefold() for name in config.people}

    def decide(self, batch: pa.RecordBatch) -> list[Decision]:
        """One decision per row; synthetic trials are kept."""
        return [KEEP if trial is None else self._decide(trial) for trial in mined(batch)]

    def is_bot(self, actor: str) -> bool:
        """Whether a name as it signs a commit or pull request (with or without `<address>`) is a bot's."""
        name = re.sub(r"\s*<[^>]*>$", "", actor).strip().casefold()
        if name in self._people:
            return False
        return name in self._bots or bool(_WORD.search(name)) or "[bot]@" in actor.casefold()

    def _decide(self, trial: Trial) -> Decision:
        actors = {step.actor for episode in trial.episodes for step in episode.actions if step.actor}
        if actors and all(self.is_bot(actor) for actor in actors):
            return drop("only_bots_acted", ", ".join(sorted(actors)))
        return KEEP
