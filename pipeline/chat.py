"""A trial as chat messages for any tool that fine-tunes on chats, and as plain text for any that trains on text.

Both are made from the segments of `pipeline.render`, so the options mean the same. Unlike the segments they are not
safe against text that spells out the marks: a mined text may hold a line `Reward: 1`.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from pipeline.records import Trial
from pipeline.render import RenderOptions, Segment, render
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
)

SYSTEM = (
    "You have several episodes at the same task, all in this conversation. Learn from the feedback and the rewards of "
    "earlier episodes: what you see here is all that you know."
)
"""The system message of `render_chat`."""

_PLAIN_MARKS = {
    TASK: "Task:\n",
    EPISODE: "\n\nEpisode {number}",
    ACTION: "\n\nAction:\n",
    FEEDBACK: "\n\nFeedback:\n",
    REFLECTION: "\n\nReflection:\n",
    VERDICT: "\n\nVerdict: ",
    REWARD: "\n\nReward: ",
    END_TURN: "",
    END_EPISODE: "\n\nEnd of the episode.",
    END_TRIAL: "\n",
}
_USER_MARKS = {EPISODE: "Episode {number}:", REWARD: "Reward: "}
_ASSISTANT_MARKS = {REFLECTION: "Reflection: ", VERDICT: "Verdict: "}


class ChatMessage(TypedDict):
    """A message in the form that chat templates take."""

    role: Literal["system", "user", "assistant"]
    content: str


def render_plain(trial: Trial, options: RenderOptions | None = None) -> str:
    """The trial as text, with the structure tokens spelt as words; episodes count from 1."""
    return "".join(
        _PLAIN_MARKS[segment.text].format(number=segment.episode + 1) if segment.special else segment.text
        for segment in render(trial, options)
    )


def render_chat(trial: Trial, options: RenderOptions | None = None) -> list[ChatMessage]:
    """The trial as a system message, then user and assistant messages in turn.

    The assistant's are actions, verdicts and reflections; the user's the task, the beginning of each episode
    (counted from 1), rewards and feedback. Neighbours of one role are one message, parted by an empty line.
    """
    messages: list[ChatMessage] = [{"role": "system", "content": SYSTEM}]
    mark = ""
    for segment in render(trial, options):
        if segment.special:
            mark = _USER_MARKS.get(segment.text) or _ASSISTANT_MARKS.get(segment.text) or ""
            if segment.text == EPISODE:
                _add(messages, "user", mark.format(number=segment.episode + 1))
                mark = ""
            continue
        _add(messages, _role(segment), mark + segment.text)
        mark = ""
    return messages


def _role(segment: Segment) -> Literal["user", "assistant"]:
    return "assistant" if segment.kind in ("action", "reflection", "verdict") else "user"


def _add(messages: list[ChatMessage], role: Literal["user", "assistant"], text: str) -> None:
    if messages[-1]["role"] == role:
        messages[-1]["content"] += f"\n\n{text}"
    else:
        messages.append({"role": role, "content": text})
