"""Rendering: a trial as segments of text and structure, each with its kind, episode and loss weight.

The grammar, in the tokens of `pipeline.tokens` (line breaks are for the reader only):

    <|task|>PROMPT
    <|episode|>                                  once per episode
        <|feedback|>TEXT                         what the world said before the first action
        <|action|>TEXT<|end_turn|> <|feedback|>TEXT
        <|action|>TEXT<|end_episode|>            the closing action: the policy calls the verifier
        <|verdict|>P<|end_turn|>                 if there is one and options show it
        <|reward|>1                              1, 0, two decimals between, or ? where it is not known yet
        <|feedback|>TEXT  <|reflection|>TEXT<|end_turn|>     what came behind the closing action
    <|end_trial|>

The policy writes the text of actions, reflections and verdicts and the token that ends each; these carry the loss. The
runner writes every opener (`<|action|>` too), the reward and `<|end_trial|>`; their weight is 0.

The closing action is the last one whose channel is neither `reflection` nor `verdict`. An episode without one gets an
`<|end_episode|>` of weight 0 behind its steps. A verdict step's own text is shown where there is such a step,
otherwise the episode's `verdict` with two decimals.

Training encodes segment by segment and concatenates ids, so that masks are exact. A live runner calls the same
functions (`task_segments`, `opener`, `feedback_segments`, `outcome_segments`, …) as `render` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.records import Episode, Step, Trial
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

Kind = Literal["structure", "prompt", "action", "feedback", "reflection", "verdict", "reward"]
KINDS: tuple[Kind, ...] = ("structure", "prompt", "action", "feedback", "reflection", "verdict", "reward")
"""Segment kinds; `Encoded.kinds` holds positions in this tuple."""

RewardMode = Literal["true", "hidden", "verdict", "dropout"]
REWARD_MODES: tuple[RewardMode, ...] = ("true", "hidden", "verdict", "dropout")

NO_EPISODE = -1
"""The episode of segments that belong to none: the task and the end of the trial."""

_DEFAULT_CHANNEL = {"action": "message", "feedback": "environment"}
_NAMED_CHANNELS = {
    "action": ("edit", "tool_call"),
    "feedback": ("tool", "test", "ci", "review", "issue"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A run of text, or one structure token (`special`), with its kind, episode (0-based, or −1) and loss weight."""

    text: str
    kind: Kind
    episode: int
    weight: float
    special: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """What of a trial is shown, and what of it is learned.

    `reward`: `true` shows rewards and verdicts; `verdict` shows verdicts alone, which then stand in for the reward;
    `hidden` shows neither; `dropout` shows verdicts, and the rewards of all but a share `reward_dropout` of the
    trials, chosen by trial id and `seed`. Weights multiply the loss of a token. `show_channels` writes an action's or
    a feedback's channel on a line of its own before the text unless it is the plain one, see `with_channel`.
    """

    reward: RewardMode = "true"
    reward_dropout: float = 0.5
    reflections: bool = True
    feedback_weight: float = 0.0
    prompt_weight: float = 0.0
    show_channels: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.reward not in REWARD_MODES:
            raise ValueError(f"reward {self.reward!r}; known are {', '.join(REWARD_MODES)}")
        if not 0.0 <= self.reward_dropout <= 1.0:
            raise ValueError(f"reward_dropout {self.reward_dropout!r} is outside [0, 1]")
        for name, weight in (("feedback_weight", self.feedback_weight), ("prompt_weight", self.prompt_weight)):
            if weight < 0.0:
                raise ValueError(f"{name} {weight!r} is negative; use 0 for text that is not learned")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """A rendered trial as ids, and for each id its segment's loss weight, episode and kind.

    Four arrays of one length: `ids` int32, `weights` float32, `episodes` int16, `kinds` int8 (positions in `KINDS`).
    """

    ids: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    episodes: npt.NDArray[np.int16]
    kinds: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.ids)


def render(trial: Trial, options: RenderOptions | None = None) -> tuple[Segment, ...]:
    """The segments of a trial, in order. Raises `ValueError` for `dropout` on a trial without an id."""
    options = options or RenderOptions()
    segments = list(task_segments(trial.task.prompt, options))
    reward_shown = shows_reward(trial.trial_id, options)
    for episode in trial.episodes:
        segments.append(opener(EPISODE, episode.index))
        segments.extend(_episode(episode, options, reward_shown))
    segments.append(opener(END_TRIAL, NO_EPISODE))
    return tuple(segments)


def encode(segments: Iterable[Segment], tokenizer: Tokenizer) -> Encoded:
    """Ids of segments, encoded one by one, with each id's weight, episode and kind."""
    ids: list[npt.NDArray[np.int32]] = [np.zeros(0, np.int32)]
    lengths: list[int] = []
    weights: list[float] = []
    episodes: list[int] = []
    kinds: list[int] = []
    for segment in segments:
        run = [tokenizer.special_id(segment.text)] if segment.special else tokenizer.encode(segment.text)
        ids.append(np.asarray(run, np.int32))
        lengths.append(len(run))
        weights.append(segment.weight)
        episodes.append(segment.episode)
        kinds.append(KINDS.index(segment.kind))
    return Encoded(
        ids=np.concatenate(ids),
        weights=np.repeat(np.asarray(weights, np.float32), lengths),
        episodes=np.repeat(np.asarray(episodes, np.int16), lengths),
        kinds=np.repeat(np.asarray(kinds, np.int8), lengths),
    )


def task_segments(prompt: str, options: RenderOptions) -> Iterator[Segment]:
    """The opening of a trial."""
    yield opener(TASK, NO_EPISODE)
    yield Segment(text=prompt, kind="prompt", episode=NO_EPISODE, weight=options.prompt_weight)


def opener(token: str, episode: int) -> Segment:
    """A structure token that the runner writes; weight 0."""
    return Segment(text=token, kind="structure", episode=episode, weight=0.0, special=True)


def action_segments(step: Step, episode: int, end: str, options: RenderOptions) -> Iterator[Segment]:
    """An action with its opener, ended by `END_TURN` or, for the closing action, `END_EPISODE`."""
    yield opener(ACTION, episode)
    yield from _own(_shown(step, options), "action", episode, end)


def feedback_segments(step: Step, episode: int, options: RenderOptions) -> Iterator[Segment]:
    """A feedback with its opener."""
    yield opener(FEEDBACK, episode)
    yield Segment(text=_shown(step, options), kind="feedback", episode=episode, weight=options.feedback_weight)


def reflection_segments(step: Step, episode: int) -> Iterator[Segment]:
    """A reflection of the policy with its opener."""
    yield opener(REFLECTION, episode)
    yield from _own(step.text, "reflection", episode, END_TURN)


def verdict_segments(text: str, episode: int) -> Iterator[Segment]:
    """A verdict of the policy with its opener."""
    yield opener(VERDICT, episode)
    yield from _own(text, "verdict", episode, END_TURN)


def reward_segments(reward: float | None, episode: int) -> Iterator[Segment]:
    """The reward of an episode as the policy sees it; weight 0."""
    yield Segment(text=REWARD, kind="reward", episode=episode, weight=0.0, special=True)
    yield Segment(text=share_text(reward), kind="reward", episode=episode, weight=0.0)


def outcome_segments(episode: Episode, options: RenderOptions, reward_shown: bool) -> Iterator[Segment]:
    """What stands between a closing action and what follows it: verdict and reward, as far as options show them."""
    if options.reward != "hidden":
        own = [step.text for step in episode.steps if step.channel == "verdict"]
        if not own and episode.verdict is not None:
            own = [share_text(episode.verdict)]
        for text in own:
            yield from verdict_segments(text, episode.index)
    if reward_shown:
        yield from reward_segments(episode.reward, episode.index)


def shows_reward(trial_id: str, options: RenderOptions) -> bool:
    """Whether the rewards of this trial are in the context; under `dropout` a matter of its id and the seed alone."""
    if options.reward != "dropout":
        return options.reward == "true"
    if not trial_id:
        raise ValueError("reward dropout goes by trial_id, and this trial has none; call records.seal first")
    digest = hashlib.sha256(f"{options.seed}:{trial_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 >= options.reward_dropout


def share_text(value: float | None) -> str:
    """A reward or verdict in [0, 1] as text: `1`, `0`, `0.01` to `0.99` (never rounded to 0 or 1), or `?` for null."""
    if value is None:
        return "?"
    if value in (0.0, 1.0):
        return str(int(value))
    return f"{min(max(value, 0.01), 0.99):.2f}"


def with_channel(kind: str, channel: str, text: str) -> str:
    """`text` with its channel on a line before it, `[edit]`, unless that is the plain one.

    Plain are `message` for actions and `environment` for feedback: there the text is verbatim, unless it begins with
    such a line itself; then the plain channel is written out. An action's channel line is the policy's own text (it
    chose the tool), so it carries the action's loss. `split_channel` is the exact inverse.
    """
    plain = channel == _DEFAULT_CHANNEL[kind]
    return text if plain and not _looks_prefixed(kind, text) else f"[{channel}]\n{text}"


def split_channel(kind: str, shown: str) -> tuple[str, str]:
    """Channel and text of what `with_channel` or a live policy wrote; `with_channel` of the two gives `shown` again."""
    for channel in _NAMED_CHANNELS[kind]:
        if shown.startswith(f"[{channel}]\n"):
            return channel, shown[len(channel) + 3 :]
    plain = _DEFAULT_CHANNEL[kind]
    rest = shown.removeprefix(f"[{plain}]\n")
    return plain, rest if rest != shown and _looks_prefixed(kind, rest) else shown


def _looks_prefixed(kind: str, text: str) -> bool:
    line = f"[{_DEFAULT_CHANNEL[kind]}]\n"
    start = 0
    while text.startswith(line, start):
        start += len(line)
    return text.startswith(tuple(f"[{channel}]\n" for channel in _NAMED_CHANNELS[kind]), start)


def _episode(episode: Episode, options: RenderOptions, reward_shown: bool) -> Iterator[Segment]:
    closing = max(
        (place for place, step in enumerate(episode.steps) if _is_plain_action(step)),
        default=len(episode.steps) - 1,
    )
    for place, step in enumerate(episode.steps[: closing + 1]):
        end = END_EPISODE if place == closing else END_TURN
        yield from _step(step, episode.index, end, options)
    if not episode.steps or not _is_plain_action(episode.steps[closing]):
        yield opener(END_EPISODE, episode.index)
    yield from outcome_segments(episode, options, reward_shown)
    for step in episode.steps[closing + 1 :]:
        yield from _step(step, episode.index, END_TURN, options)


def _is_plain_action(step: Step) -> bool:
    return step.kind == "action" and step.channel not in ("reflection", "verdict")


def _step(step: Step, episode: int, end: str, options: RenderOptions) -> Iterator[Segment]:
    if step.kind == "feedback":
        yield from feedback_segments(step, episode, options)
    elif step.channel == "reflection":
        if options.reflections:
            yield from reflection_segments(step, episode)
    elif step.channel != "verdict":
        yield from action_segments(step, episode, end, options)


def _own(text: str, kind: Kind, episode: int, end: str) -> Iterator[Segment]:
    yield Segment(text=text, kind=kind, episode=episode, weight=1.0)
    yield Segment(text=end, kind=kind, episode=episode, weight=1.0, special=True)


def _shown(step: Step, options: RenderOptions) -> str:
    return with_channel(step.kind, step.channel, step.text) if options.show_channels else step.text
