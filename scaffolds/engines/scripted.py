"""The scripted engine: explorers of chosen skill behind the same contract as a model.

It reads the token prefix it is given back into a trial, asks the explorer what could be done, and samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.tokens import END_EPISODE, END_TURN, ByteTokenizer, Tokenizer
from scaffolds.explorers import Choice, Reader, choose
from scaffolds.protocols import Completion, Request

_MASK = 2**64 - 1


class ScriptedEngine:
    """Takes a sensible action with probability `informed`, else any action at random.

    The log-probability of a whole action stands on its first token; those behind it are certain given the first and
    carry 0. Temperature 0 gives the first sensible action; any other temperature is taken as 1.
    """

    def __init__(self, tokenizer: Tokenizer, *, informed: float = 0.5) -> None:
        if not 0.0 <= informed <= 1.0:
            raise ValueError(f"informed {informed!r} is no probability; give a number in [0, 1]")
        self.name = f"scripted/informed={informed:g}"
        self.informed = informed
        self._tokenizer = tokenizer
        self._reader = Reader(tokenizer)
        self._end = {True: tokenizer.special_id(END_EPISODE), False: tokenizer.special_id(END_TURN)}

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One action per request. Raises `ValueError` for a prefix that is no trial waiting for an action."""
        return [self._complete(request) for request in requests]

    async def close(self) -> None:
        """Nothing is held."""

    def _complete(self, request: Request) -> Completion:
        choice = choose(self._reader.read(request.prefix))
        action, logprob = self._sample(choice, request)
        tokens = (*self._tokenizer.encode(action), self._end[choice.ends_episode])
        length = next((place + 1 for place, token in enumerate(tokens) if token in request.stop_ids), len(tokens) + 1)
        kept = tokens[: min(length, request.max_tokens)]
        return Completion(
            tokens=kept,
            logprobs=(logprob, *(0.0 for _ in kept[1:])),
            finish_reason="stop" if length <= request.max_tokens and length <= len(tokens) else "length",
        )

    def _sample(self, choice: Choice, request: Request) -> tuple[str, float]:
        if request.temperature == 0.0:
            return choice.sensible[0], 0.0
        informed, place = _uniform(request.seed, 0), _uniform(request.seed, 1)
        pool = choice.sensible if informed < self.informed else choice.every
        action = pool[int(place * len(pool))]
        probability = (1.0 - self.informed) * (action in choice.every) / len(choice.every)
        probability += self.informed * (action in choice.sensible) / len(choice.sensible)
        return action, math.log(probability)


def open_engine(*, informed: float = 0.5) -> tuple[ScriptedEngine, ByteTokenizer]:
    """A scripted engine over bytes."""
    tokenizer = ByteTokenizer()
    return ScriptedEngine(tokenizer, informed=informed), tokenizer


def _uniform(seed: int, counter: int) -> float:
    """A number in [0, 1) from a seed and a counter: SplitMix64 (Steele, Lea, Flood 2014), 53 bits of it."""
    z = (seed + (counter + 1) * 0x9E3779B97F4A7C15) & _MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = ((z ^ (z >> shift)) * factor) & _MASK
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53
