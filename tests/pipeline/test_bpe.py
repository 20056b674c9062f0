from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.bpe import BpeTokenizer, TokenizerConfig
from pipeline.tokens import ACTION, END_EPISODE, SPECIAL_TOKENS, TASK

TEXTS = ["door 12 is shut", "door 7 is open", "def f(x):\n    return x + 1\n"] * 20
TOKENIZER = BpeTokenizer.train(TEXTS, TokenizerConfig(vocab_size=320))


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.lists(st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "door", " ", "1"])).map("".join))
def test_text_that_spells_a_structure_token_stays_text(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert not {TOKENIZER.special_id(token) for token in SPECIAL_TOKENS} & set(ids)
    assert TOKENIZER.decode(ids) == text


def test_structure_tokens_keep_their_order_and_are_spelt_out_when_decoded() -> None:
    assert [TOKENIZER.special_id(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    ids = [TOKENIZER.special_id(TASK), *TOKENIZER.encode("é 1"), TOKENIZER.special_id(END_EPISODE)]
    assert TOKENIZER.decode(ids) == f"{TASK}é 1{END_EPISODE}"
    with pytest.raises(KeyError):
        TOKENIZER.special_id("door")


def test_bytes_cut_inside_a_character_give_the_replacement_character() -> None:
    assert TOKENIZER.decode([*TOKENIZER.encode("é")[:1], TOKENIZER.special_id(ACTION)]) == f"\ufffd{ACTION}"


def test_digits_are_single_tokens_and_frequent_words_are_merged() -> None:
    assert [TOKENIZER.decode([token]) for token in TOKENIZER.encode("door 12")] == ["door", " ", "1", "2"]


def test_equal_texts_give_equal_tokenizers_and_the_saved_form_loses_nothing() -> None:
    again = BpeTokenizer.train(TEXTS, TokenizerConfig(vocab_size=320))
    assert again.to_bytes() == TOKENIZER.to_bytes()
    loaded = BpeTokenizer.from_bytes(TOKENIZER.to_bytes())
    text = f"door 12 {TASK} shut"
    assert loaded.encode(text) == TOKENIZER.encode(text)
    assert loaded.vocab_size == TOKENIZER.vocab_size <= 320


def test_a_vocabulary_too_small_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        TokenizerConfig(vocab_size=200)
