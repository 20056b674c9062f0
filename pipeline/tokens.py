"""The tokens that structure a trial, and what a tokenizer must do for us.

Text and structure never mix: text is encoded with special tokens switched off, so mined text that spells out
`<|end_episode|>` stays text, and only the renderer and the policy can write structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

TASK = "<|task|>"
EPISODE = "<|episode|>"
ACTION = "<|action|>"
FEEDBACK = "<|feedback|>"
REFLECTION = "<|reflection|>"
VERDICT = "<|verdict|>"
REWARD = "<|reward|>"
END_TURN = "<|end_turn|>"
END_EPISODE = "<|end_episode|>"
END_TRIAL = "<|end_trial|>"
PAD = "<|pad|>"

SPECIAL_TOKENS = (
    PAD,
    TASK,
    EPISODE,
    ACTION,
    FEEDBACK,
    REFLECTION,
    VERDICT,
    REWARD,
    END_TURN,
    END_EPISODE,
    END_TRIAL,
)
"""All structure tokens, in the order in which a fresh tokenizer numbers them."""


class Tokenizer(Protocol):
    """Text ↔ ids, without loss, and the ids of the structure tokens."""

    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """The ids of plain text; text that looks like a special token is encoded as text."""

    def decode(self, ids: Sequence[int]) -> str:
        """The exact text of ids, special tokens spelt out. Ids that break a UTF-8 sequence give U+FFFD."""

    def special_id(self, token: str) -> int:
        """The id of one of `SPECIAL_TOKENS`; raises `KeyError` for any other string."""


class ByteTokenizer:
    """One id per UTF-8 byte, structure tokens behind them: needs no files and loses nothing."""

    def __init__(self) -> None:
        self.vocab_size = 256 + len(SPECIAL_TOKENS)
        self._special = {token: 256 + index for index, token in enumerate(SPECIAL_TOKENS)}

    def encode(self, text: str) -> list[int]:
        """The bytes of `text`."""
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; runs of bytes are decoded together."""
        parts: list[str] = []
        run = bytearray()
        for token in ids:
            if token < 256:
                run.append(token)
                continue
            parts.append(run.decode("utf-8", "replace"))
            run.clear()
            parts.append(SPECIAL_TOKENS[token - 256])
        parts.append(run.decode("utf-8", "replace"))
        return "".join(parts)

    def special_id(self, token: str) -> int:
        """The id of a structure token."""
        return self._special[token]
