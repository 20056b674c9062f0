"""Retry: an episode, the world's feedback, again."""

from __future__ import annotations

from scaffolds.live import LiveTrial, Turns


def retry(trial: LiveTrial) -> Turns:
    """Episodes on the same task in one context until the stop rule holds."""
    while not trial.is_over:
        trial.open_episode()
        while trial.is_open:
            yield from trial.act()
        trial.settle()
