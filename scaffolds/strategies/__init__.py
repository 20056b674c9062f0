"""Strategies: what is tried on a task, as generators over a `LiveTrial`; each one file and one line in `STRATEGIES`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from scaffolds.live import LiveTrial, Turns

Strategy = Callable[[LiveTrial], Turns]
"""Plays a trial to its end by its methods. Parameters of a strategy are keyword arguments with defaults."""

STRATEGIES: dict[str, str] = {
    "retry": "scaffolds.strategies.retry:retry",
}
"""Import paths by the name a config carries."""


def find_strategy(name: str) -> Strategy:
    """The strategy registered as `name`. Raises `ValueError` for an unknown name."""
    if name not in STRATEGIES:
        raise ValueError(f"strategy {name!r} is not known; known are {', '.join(sorted(STRATEGIES))}")
    module, _, attribute = STRATEGIES[name].partition(":")
    strategy: Strategy = getattr(import_module(module), attribute)
    return strategy
