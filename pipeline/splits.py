"""Splits: which part of the corpus a group of trials belongs to.

The filter stage gives every trial its split; whatever comes after it, packaging and training alike, only reads it. So
what a release holds back is what training never saw.
"""

from __future__ import annotations

import hashlib

SPLITS = ("train", "validation", "test")


def split_of(group_id: str, seed: int, test_fraction: float) -> str:
    """`test` for about `test_fraction` of the groups, by hash, else `train`: a function of its arguments alone."""
    digest = hashlib.sha256(f"{seed}:{group_id}".encode()).digest()
    # not the first bytes: a release is ordered by those, and its test groups are to come from all over the order
    return "test" if int.from_bytes(digest[8:16], "big") / 2**64 < test_fraction else "train"
