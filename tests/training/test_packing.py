from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.render import Encoded
from pipeline.tokens import ByteTokenizer
from tests.training.conftest import TINY
from training.model import build_model
from training.packing import best_fit, collate, pieces

PAD = 256


def document(*ids: int) -> Encoded:
    length = len(ids)
    return Encoded(
        ids=np.array(ids, np.int32),
        weights=np.arange(1, length + 1, dtype=np.float32),
        episodes=np.zeros(length, np.int16),
        kinds=np.ones(length, np.int8),
    )


@given(st.lists(st.integers(1, 40), max_size=60))
def test_best_fit_places_everything_once_and_never_overflows(lengths: list[int]) -> None:
    bins = best_fit(lengths, 40)
    assert sorted(place for places in bins for place in places) == list(range(len(lengths)))
    loads = sorted(sum(lengths[place] for place in places) for places in bins)
    assert all(load <= 40 for load in loads)
    # two bins that fit together would have been one
    assert len(loads) < 2 or loads[0] + loads[1] > 40


def test_best_fit_takes_the_fullest_bin_that_has_room() -> None:
    # 7 and 6 open a bin each; 3 fits both and goes to the 7
    assert best_fit([3, 7, 6], 10) == [[1, 0], [2]]


def test_a_document_longer_than_a_row_is_refused_and_cut_without_loss() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        best_fit([41], 40)
    whole = document(*range(10))
    cut = pieces(whole, 4)
    assert [len(piece) for piece in cut] == [4, 4, 2]
    assert np.concatenate([piece.ids for piece in cut]).tolist() == whole.ids.tolist()


def test_collate_restarts_positions_and_learns_no_first_token_and_no_padding() -> None:
    batch = collate([[document(1, 2, 3), document(4, 5)], [document(6, 7)]], PAD)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5], [6, 7, PAD, PAD, PAD]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1], [0, 1, 0, 1, 2]]
    assert batch.weights.tolist() == [[0, 2, 3, 0, 2], [0, 2, 0, 0, 0]]
    assert (batch.tokens, batch.documents) == (7, 3)


def test_packed_logits_equal_those_of_each_document_alone() -> None:
    torch.manual_seed(0)
    model = build_model(replace(TINY, layers=2), ByteTokenizer(), seed=1).eval()
    documents = [document(*torch.randint(0, 256, (length,)).tolist()) for length in (9, 5, 12, 3)]
    batch = collate([documents[:2], documents[2:]], PAD)
    with torch.no_grad():
        packed = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False).logits
        leaking = model(input_ids=batch.input_ids, use_cache=False).logits
    for row, start, alone in ((0, 0, 0), (0, 9, 1), (1, 0, 2), (1, 12, 3)):
        ids = torch.from_numpy(documents[alone].ids.astype(np.int64))[None]
        with torch.no_grad():
            own = model(input_ids=ids, use_cache=False).logits[0]
        end = start + len(documents[alone])
        torch.testing.assert_close(packed[row, start:end], own, atol=1e-5, rtol=0)
        if start:  # the same comparison sees the leak where positions do not restart
            assert (leaking[row, start:end] - own).abs().max() > 1e-2
