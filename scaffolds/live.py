"""A trial being played: its append-only context of token ids, and the record that grows beside it.

The grammar is that of `pipeline.render`: a finished trial, rendered from its record, gives the same ids again as long
as the policy's text is in the tokenizer's own form. Strategies drive a `LiveTrial` and never touch ids.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.records import Episode, Step, Task, well_formed
from pipeline.render import NO_EPISODE, share_text, split_channel, with_channel
from pipeline.tokens import (
    ACTION,
    END_EPISODE,
    END_TRIAL,
    END_TURN,
    EPISODE,
    FEEDBACK,
    REWARD,
    SPECIAL_TOKENS,
    TASK,
    Tokenizer,
)
from scaffolds.protocols import Completion, Environment, Feedback, Request
from scaffolds.rollout import Context, Rollout

Turns = Generator[Request, Completion, None]
"""What a strategy is: it yields requests and is sent their completions."""

_CACHED_TEXTS = 8192
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """How trials are played.

    `k` episodes a trial; `stop_at_success` ends it after the first episode that earns 1, otherwise all k are played.
    `reward_in_context` shows the reward behind each episode, as the renderer's mode `true` does, else nothing tells it
    but the feedback. `markov` cuts the history: each episode sees the task and itself alone. An action longer than
    `max_action_tokens` (its end token included) is cut, an episode of more than `max_actions` is closed, both by the
    runner. `seed` and a trial's index fix every sample. A trial that infrastructure failed is tried `retries` times
    more. At most `live_trials` are played at once; in waves, where each engine call holds one request of every live
    trial (`stream` false), or each on its own with its environment in a thread (`stream` true), for engines that batch
    by themselves and environments that take time.
    """

    k: int = 4
    temperature: float = 1.0
    max_action_tokens: int = 16
    max_actions: int = 64
    reward_in_context: bool = True
    stop_at_success: bool = False
    markov: bool = False
    seed: int = 0
    retries: int = 1
    live_trials: int = 1024
    stream: bool = False

    def __post_init__(self) -> None:
        for name in ("k", "max_action_tokens", "max_actions", "live_trials"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")
        if not 0.0 <= self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; give a finite number that is not negative")
        if self.retries < 0:
            raise ValueError(f"retries is {self.retries}; give at least 0")


class Grammar:
    """One tokenizer's structure ids, with the ids of short texts remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.special = {token: tokenizer.special_id(token) for token in SPECIAL_TOKENS}
        self.stop_ids = frozenset(self.special.values())
        """Any structure token ends an action; all but two of them end it as malformed."""

        @lru_cache(maxsize=_CACHED_TEXTS)
        def encode(text: str) -> tuple[int, ...]:
            return tuple(tokenizer.encode(text))

        @lru_cache(maxsize=_CACHED_TEXTS)
        def feedback(channel: str, text: str) -> tuple[int, ...]:
            return (self.special[FEEDBACK], *encode(with_channel("feedback", channel, text)))

        @lru_cache(maxsize=_CACHED_TEXTS)
        def action(ids: tuple[int, ...]) -> Step:
            channel, text = split_channel("action", well_formed(tokenizer.decode(ids)))
            return Step(kind="action", channel=channel, text=text)

        self.encode = encode
        """Ids of plain text."""
        self.feedback = feedback
        """Ids of a feedback with its opener, from channel and text."""
        self.action = action
        """The step that the policy's ids, without their end, say."""


class LiveTrial:
    """One trial in play. A strategy calls `open_episode`, `act` while `is_open`, then `settle`, for each episode."""

    def __init__(
        self, *, index: int, task: Task, environment: Environment, grammar: Grammar, config: RunnerConfig
    ) -> None:
        self.config = config
        self.episodes: list[Episode] = []
        self.is_open = False
        self._index = index
        self._task = task
        self._environment = environment
        self._grammar = grammar
        self._contexts: list[_Growing] = []
        self._ids: list[int] = []
        self._steps: list[Step] = []
        self._trailing: list[Step] = []
        self._actions = 0
        self._requests = 0
        self._begin_context()

    @property
    def is_over(self) -> bool:
        """Whether the stop rule ends the trial here: k episodes played, or success where that is enough."""
        if self.config.stop_at_success and self.episodes and self.episodes[-1].reward == 1.0:
            return True
        return len(self.episodes) >= self.config.k

    def open_episode(self) -> None:
        """Begin the next episode: the environment stands as at the start, the context goes on (or is cut: Markov)."""
        index = len(self.episodes)
        if self.config.markov and index:
            self._begin_context()
        self._environment.reset(self._task)
        self._contexts[-1].starts.append((len(self._ids), index))
        self._ids.append(self._grammar.special[EPISODE])
        self._steps, self._trailing, self._actions, self.is_open = [], [], 0, True

    def act(self) -> Turns:
        """One action of the policy and the world's answer; an action that closes the episode leaves `is_open` false."""
        special = self._grammar.special
        self._ids.append(special[ACTION])
        completion = yield self._request(self.config.max_action_tokens)
        end = completion.tokens[-1] if completion.finish_reason == "stop" else None
        if end == special[END_TURN] or end == special[END_EPISODE]:
            action = self._grammar.action(completion.tokens[:-1])
            feedback = self._environment.step(action.text)
        else:
            action = self._grammar.action(completion.tokens)
            feedback = Feedback(text="too long" if end is None else "malformed", done=True)
        self._steps.append(action)
        self._actions += 1
        if end == special[END_EPISODE]:
            self._sampled(completion.tokens, completion.logprobs)
            self.is_open = False
        elif feedback.done or self._actions >= self.config.max_actions:
            # The runner calls the verifier in the policy's place: its own end token stands for the sampled END_TURN.
            kept = len(completion.tokens) - (end == special[END_TURN])
            self._sampled(completion.tokens[:kept], completion.logprobs[:kept])
            self._ids.append(special[END_EPISODE])
            self.is_open = False
        else:
            self._sampled(completion.tokens, completion.logprobs)
        if feedback.text:
            step = Step(kind="feedback", channel=feedback.channel, text=feedback.text)
            if self.is_open:
                self._steps.append(step)
                self._feedback(step)
            else:
                self._trailing.append(step)

    def settle(self) -> None:
        """Verify the closed episode, show its reward if the config says so, then what the world said at the end."""
        reward = self._environment.verify()
        if self.config.reward_in_context:
            self._ids.append(self._grammar.special[REWARD])
            self._ids += self._grammar.encode(share_text(reward.value))
        for step in self._trailing:
            self._feedback(step)
        self.episodes.append(
            Episode(
                index=len(self.episodes),
                steps=(*self._steps, *self._trailing),
                reward=reward.value,
                reward_source=reward.source,
                reward_evidence=reward.evidence,
            )
        )

    def rollout(self) -> Rollout:
        """The finished trial; the context ends here."""
        if not self.config.markov:
            self._contexts[-1].starts.append((len(self._ids), NO_EPISODE))
            self._ids.append(self._grammar.special[END_TRIAL])
        return Rollout(
            index=self._index,
            task=self._task,
            contexts=tuple(context.finished() for context in self._contexts),
            episodes=tuple(self.episodes),
            rewards=tuple(episode.reward or 0.0 for episode in self.episodes),
        )

    def _begin_context(self) -> None:
        self._ids = [self._grammar.special[TASK], *self._grammar.encode(self._task.prompt)]
        self._contexts.append(_Growing(self._ids))

    def _request(self, max_tokens: int) -> Request:
        mixed = (self.config.seed * 0x9E3779B97F4A7C15 + self._index * 0xD1B54A32D192ED03 + self._requests) & _MASK
        self._requests += 1
        return Request(
            prefix=self._ids,
            max_tokens=max_tokens,
            stop_ids=self._grammar.stop_ids,
            temperature=self.config.temperature,
            seed=mixed,
        )

    def _sampled(self, tokens: Sequence[int], logprobs: Sequence[float]) -> None:
        self._contexts[-1].sampled.append((len(self._ids), logprobs))
        self._ids += tokens

    def _feedback(self, step: Step) -> None:
        self._ids += self._grammar.feedback(step.channel, step.text)


class _Growing:
    """A context while it grows: the ids, where episodes start in it, and where ids were sampled with what log-probs."""

    __slots__ = ("ids", "sampled", "starts")

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids
        self.starts: list[tuple[int, int]] = []
        self.sampled: list[tuple[int, Sequence[float]]] = []

    def finished(self) -> Context:
        """The four arrays."""
        length = len(self.ids)
        logprobs = np.zeros(length, np.float32)
        policy = np.zeros(length, np.bool_)
        episodes = np.full(length, NO_EPISODE, np.int16)
        for start, index in self.starts:
            episodes[start:] = index
        for start, values in self.sampled:
            logprobs[start : start + len(values)] = values
            policy[start : start + len(values)] = True
        return Context(ids=np.array(self.ids, np.int32), logprobs=logprobs, episodes=episodes, policy=policy)
