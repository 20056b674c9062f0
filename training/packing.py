"""Packing: trials side by side in rows of equal length, none of which sees another."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.render import Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedBatch:
    """Packed rows as tensors, all of shape [rows, tokens]; `tokens` and `documents` count what is not padding.

    `position_ids` restart at every document; that alone keeps the documents apart, and only if the model is called
    with `use_cache=False` and without an attention mask. `weights`, `episodes` and `kinds` belong to the id at the
    same place; the first id of a document has weight 0, as nothing of its own document comes before it.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    weights: torch.Tensor
    episodes: torch.Tensor
    kinds: torch.Tensor
    tokens: int
    documents: int


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of at most `capacity`, each a list of positions in `lengths`: best-fit decreasing.

    Longest first, each into the fullest bin that still takes it (Ding et al. 2024, "Fewer Truncations Improve Language
    Modeling"). Deterministic; ties go to the earlier position. Raises `ValueError` for a length above the capacity.
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    if order and lengths[order[0]] > capacity:
        raise ValueError(
            f"a document of {lengths[order[0]]} tokens does not fit {capacity}; cut it with `pieces` first"
        )
    bins: list[list[int]] = []
    room_to_bins: dict[int, list[int]] = {}
    rooms: list[int] = []
    for place in order:
        at = bisect.bisect_left(rooms, lengths[place])
        if at == len(rooms):
            bins.append([place])
            _put(rooms, room_to_bins, capacity - lengths[place], len(bins) - 1)
            continue
        room = rooms[at]
        chosen = room_to_bins[room].pop()
        if not room_to_bins[room]:
            del room_to_bins[room]
            rooms.pop(at)
        bins[chosen].append(place)
        _put(rooms, room_to_bins, room - lengths[place], chosen)
    return bins


def pieces(document: Encoded, capacity: int) -> list[Encoded]:
    """A document in runs of at most `capacity` ids; most documents are one piece."""
    if len(document) <= capacity:
        return [document]
    return [
        Encoded(
            ids=document.ids[start : start + capacity],
            weights=document.weights[start : start + capacity],
            episodes=document.episodes[start : start + capacity],
            kinds=document.kinds[start : start + capacity],
        )
        for start in range(0, len(document), capacity)
    ]


def collate(rows: Sequence[Sequence[Encoded]], pad_id: int) -> PackedBatch:
    """Rows of documents as tensors, padded to the longest row; padding is a document of its own with weight 0."""
    width = max(sum(map(len, row)) for row in rows)
    shape = (len(rows), width)
    ids = np.full(shape, pad_id, np.int64)
    positions = np.zeros(shape, np.int64)
    weights = np.zeros(shape, np.float32)
    episodes = np.full(shape, -1, np.int64)
    kinds = np.zeros(shape, np.int64)
    for index, row in enumerate(rows):
        start = 0
        for document in row:
            end = start + len(document)
            ids[index, start:end] = document.ids
            positions[index, start:end] = np.arange(len(document))
            weights[index, start:end] = document.weights
            weights[index, start] = 0.0
            episodes[index, start:end] = document.episodes
            kinds[index, start:end] = document.kinds
            start = end
        positions[index, start:] = np.arange(width - start)
    return PackedBatch(
        input_ids=torch.from_numpy(ids),
        position_ids=torch.from_numpy(positions),
        weights=torch.from_numpy(weights),
        episodes=torch.from_numpy(episodes),
        kinds=torch.from_numpy(kinds),
        tokens=sum(len(document) for row in rows for document in row),
        documents=sum(map(len, rows)),
    )


def _put(rooms: list[int], room_to_bins: dict[int, list[int]], room: int, chosen: int) -> None:
    if room == 0:
        return
    if room not in room_to_bins:
        room_to_bins[room] = []
        bisect.insort(rooms, room)
    room_to_bins[room].append(chosen)
