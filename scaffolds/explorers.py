"""Explorers of chosen skill: what a Bayes-sensible player would do next in a trial, read off the trial alone.

They write the first corpora and stand in for a model in tests. An explorer sees what a policy sees, the prompt and
the actions and feedback so far, never the hidden instance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.tokens import (
    ACTION,
    END_EPISODE,
    END_TRIAL,
    END_TURN,
    EPISODE,
    FEEDBACK,
    REFLECTION,
    REWARD,
    TASK,
    VERDICT,
    Tokenizer,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A trial as its context shows it: the prompt, and for each episode the runs of text with their openers."""

    prompt: str
    episodes: tuple[tuple[tuple[str, str], ...], ...]

    def answers(self) -> Iterator[tuple[str, str]]:
        """Each action so far with the feedback that answered it, the empty text where none did."""
        for episode in self.episodes:
            action: str | None = None
            for opener, text in episode:
                if opener == ACTION:
                    if action is not None:
                        yield action, ""
                    action = text
                elif opener == FEEDBACK and action is not None:
                    yield action, text
                    action = None
            if action is not None:
                yield action, ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What may be done next: the `sensible` actions, `every` action, and whether the next one ends the episode."""

    sensible: Sequence[str]
    every: Sequence[str]
    ends_episode: bool


_OPENERS = (ACTION, FEEDBACK, REFLECTION, VERDICT, REWARD)


class Reader:
    """Turns the ids of a context back into a `View`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._opener = {tokenizer.special_id(token): token for token in (TASK, EPISODE, *_OPENERS)}
        self._ends = {tokenizer.special_id(token) for token in (END_TURN, END_EPISODE, END_TRIAL)}

    def read(self, ids: Sequence[int]) -> View:
        """The view of a context that ends with the opener of the next action. Raises `ValueError` for any other."""
        prompt: str | None = None
        episodes: list[list[tuple[str, str]]] = []
        opener, start = None, 0
        for place, token in enumerate(ids):
            if token not in self._opener and token not in self._ends:
                continue
            if opener == TASK:
                prompt = self._tokenizer.decode(ids[start:place])
            elif opener is not None and opener != EPISODE:
                episodes[-1].append((opener, self._tokenizer.decode(ids[start:place])))
            opener, start = self._opener.get(token), place + 1
            if opener == EPISODE:
                episodes.append([])
        if prompt is None or not episodes or opener != ACTION or start != len(ids):
            raise ValueError(
                f"context {self._tokenizer.decode(ids)[-80:]!r} does not end with {ACTION} inside an episode; "
                "explorers answer actions of a trial only"
            )
        return View(prompt=prompt, episodes=tuple(tuple(episode) for episode in episodes))


def choose(view: View) -> Choice:
    """The choice at this point of a trial, by the first word of its prompt. Raises `ValueError` for an unknown one."""
    word = view.prompt.partition(" ")[0]
    if word not in EXPLORERS:
        raise ValueError(f"no explorer for prompt {view.prompt[:80]!r}; known first words are {', '.join(EXPLORERS)}")
    return EXPLORERS[word](view)


def hidden_door(view: View) -> Choice:
    """`doors 1-K`: the door that opened, else one not yet tried."""
    every = _numbers(view.prompt.split()[1])
    shut: set[str] = set()
    for action, feedback in view.answers():
        if feedback == "open":
            return Choice(sensible=(action,), every=every, ends_episode=True)
        shut.add(action)
    return Choice(sensible=[door for door in every if door not in shut] or every, every=every, ends_episode=True)


def number_guess(view: View) -> Choice:
    """`number 1-N in T`: the number once it is found, else the middle of what is left."""
    _, span, _, guesses = view.prompt.split()
    every = _numbers(span)
    low, high = int(every[0]), int(every[-1])
    made = sum(opener == ACTION for opener, _ in view.episodes[-1])
    ends = made + 1 >= int(guesses)
    for action, feedback in view.answers():
        if feedback == "right":
            return Choice(sensible=(action,), every=every, ends_episode=ends)
        if feedback == "higher":
            low = max(low, int(action) + 1)
        elif feedback == "lower":
            high = min(high, int(action) - 1)
    return Choice(sensible=(str((low + high) // 2),), every=every, ends_episode=ends)


def dark_bandit(view: View) -> Choice:
    """`arms 0-A`: the risky arm that paid, else a risky one not yet tried (optimal for γ = 1 and k ≥ 3)."""
    every = _numbers(view.prompt.split()[1])
    tried: set[str] = set()
    for action, feedback in view.answers():
        if feedback == "paid" and action != "0":
            return Choice(sensible=(action,), every=every, ends_episode=True)
        tried.add(action)
    return Choice(sensible=[arm for arm in every[1:] if arm not in tried] or every, every=every, ends_episode=True)


EXPLORERS: dict[str, Callable[[View], Choice]] = {
    "doors": hidden_door,
    "number": number_guess,
    "arms": dark_bandit,
}
"""Explorers by the first word of the prompts they understand."""


@lru_cache
def _numbers(span: str) -> tuple[str, ...]:
    first, _, last = span.partition("-")
    return tuple(str(number) for number in range(int(first), int(last) + 1))
