"""Expected reward by episode of Bayes-optimal policies: closed forms, and dynamic programming over belief states.

The closed forms are checked against `by_episode` in the tests, and both against play in the environments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

B = TypeVar("B", bound=Hashable)

_TIE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch(Generic[B]):
    """One outcome of an action: its probability, the reward of the episode it ends (else 0) and the belief after it."""

    probability: float
    reward: float
    belief: B


def by_episode(
    start: B, choices: Callable[[B, int], Sequence[Sequence[Branch[B]]]], *, k: int, gamma: float, turns: int = 1
) -> list[float]:
    """Expected reward in each of k episodes of the policy that maximises E[Σ γ^j r_j], by backward induction.

    `choices(belief, turn)` lists the actions at `turn` (0 to k·turns − 1), each by its branches; an episode has
    `turns` turns. Ties in the discounted return are broken by the undiscounted one, then by the first action listed.
    """
    if k < 1 or not 0.0 <= gamma <= 1.0:
        raise ValueError(f"k {k}, gamma {gamma}; give k ≥ 1 and gamma in [0, 1]")

    @cache
    def plan(belief: B, turn: int) -> tuple[float, ...]:
        episode = turn // turns
        if episode == k:
            return (0.0,) * k
        best: tuple[float, ...] = ()
        for branches in choices(belief, turn):
            value = [0.0] * k
            for branch in branches:
                rest = plan(branch.belief, turn + 1)
                for j in range(episode, k):
                    value[j] += branch.probability * (rest[j] + (branch.reward if j == episode else 0.0))
            if not best or _better(value, best, gamma):
                best = tuple(value)
        return best

    return list(plan(start, 0))


def _better(value: Sequence[float], best: Sequence[float], gamma: float) -> bool:
    gain = sum(gamma**j * (mine - theirs) for j, (mine, theirs) in enumerate(zip(value, best, strict=True)))
    return gain > _TIE or (gain > -_TIE and sum(value) - sum(best) > _TIE)


def hidden_door(doors: int, k: int) -> list[float]:
    """min(1, (j+1)/K): each episode rules out one door, and a found one is used again."""
    return [min(1.0, (j + 1) / doors) for j in range(k)]


def number_guess(numbers: int, guesses: int, k: int) -> list[float]:
    """min(1, (2^{T(j+1)} − 1)/N): a search tree of depth d finds 2^d − 1 numbers, and one tree serves all depths."""
    return [min(1.0, (2 ** (guesses * (j + 1)) - 1) / numbers) for j in range(k)]


def dark_bandit(risky: int, safe: float, k: int, gamma: float) -> list[float]:
    """A safe arm that pays with probability `safe`, and `risky` arms of which one always pays.

    The belief is the number of risky arms not yet tried, or −1 once the paying one is known.
    """

    def choices(untried: int, turn: int) -> list[list[Branch[int]]]:
        if untried < 0:
            return [[Branch(probability=1.0, reward=1.0, belief=-1)]]
        pull_safe = [
            Branch(probability=safe, reward=1.0, belief=untried),
            Branch(probability=1.0 - safe, reward=0.0, belief=untried),
        ]
        found = Branch(probability=1.0 / untried, reward=1.0, belief=-1)
        if untried == 1:
            return [pull_safe, [found]]
        return [
            pull_safe,
            [found, Branch(probability=1.0 - 1.0 / untried, reward=0.0, belief=untried - 1)],
        ]

    return by_episode(risky, choices, k=k, gamma=gamma)
