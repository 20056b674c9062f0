"""A byte-level BPE tokenizer, trained on the corpus: no text is lost, and no text is ever read as structure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from pipeline.tokens import SPECIAL_TOKENS


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """How the tokenizer is trained."""

    vocab_size: int = 512
    """Upper bound, structure tokens and the 256 bytes included."""

    def __post_init__(self) -> None:
        least = 256 + len(SPECIAL_TOKENS)
        if self.vocab_size < least:
            raise ValueError(f"vocab_size {self.vocab_size} is below {least}: 256 bytes and the structure tokens")


class BpeTokenizer:
    """Byte-level BPE: any text round-trips, digits are single tokens, structure tokens come first in the vocabulary.

    Implements `pipeline.tokens.Tokenizer`. Text is not normalised, and text that spells out a structure token is
    encoded as text.
    """

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        # Not part of the saved form, so it is set wherever a tokenizer is made.
        inner.encode_special_tokens = True
        found = {token: inner.token_to_id(token) for token in SPECIAL_TOKENS}
        missing = [token for token, index in found.items() if index is None]
        if missing:
            raise ValueError(
                f"tokenizer lacks the structure tokens {', '.join(missing)}; train it with BpeTokenizer.train"
            )
        self._inner = inner
        self._special = {token: index for token, index in found.items() if index is not None}
        self.vocab_size = int(inner.get_vocab_size())

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig | None = None) -> BpeTokenizer:
        """A tokenizer for `texts`; the same texts in the same order give the same tokenizer."""
        config = config or TokenizerConfig()
        inner = tokenizers.Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False),
            ]
        )
        inner.decoder = decoders.ByteLevel()
        inner.train_from_iterator(
            iter(texts),
            trainer=trainers.BpeTrainer(
                vocab_size=config.vocab_size,
                special_tokens=list(SPECIAL_TOKENS),
                initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                show_progress=False,
            ),
        )
        return cls(inner)

    def encode(self, text: str) -> list[int]:
        """The ids of plain text."""
        return list(self._inner.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """The exact text of ids, structure tokens spelt out. Ids that break a UTF-8 sequence give U+FFFD."""
        return str(self._inner.decode(list(ids), skip_special_tokens=False))

    def special_id(self, token: str) -> int:
        """The id of a structure token; raises `KeyError` for any other string."""
        return self._special[token]

    def to_bytes(self) -> bytes:
        """The tokenizer as the JSON that `tokenizers` and `transformers` read."""
        return str(self._inner.to_str(pretty=False)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> BpeTokenizer:
        """Inverse of `to_bytes`."""
        return cls(tokenizers.Tokenizer.from_str(data.decode()))
