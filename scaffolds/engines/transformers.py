"""The transformers engine: any causal language model of that library, on the CPU or wherever the model lies.

Made for small models and many short turns. All requests of a call are decoded together, rows of different length side
by side; the keys and values of a call are kept, so that the next call, whose prefixes go on from this one's, computes
only what is new. It is no server: one call at a time, no paging, no scheduling.

Shapes: B rows, Q new slots, S slots in the cache, V vocabulary. A slot that holds no token of a row is masked for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.cache_utils import DynamicCache

from pipeline.bpe import BpeTokenizer
from pipeline.tokens import Tokenizer
from scaffolds.protocols import Completion, Request

_MASK_KINDS = ("sdpa", "eager")


@dataclass(slots=True, kw_only=True, eq=False)
class _Session:
    """Keys and values of rows of ids. `valid_BS` marks the slots that hold a row's own tokens."""

    rows: list[list[int]]
    cache: DynamicCache
    valid_BS: torch.Tensor


class TransformersEngine:
    """Samples from `model` with a seed for each request; a sample does not depend on what else is in the batch.

    `max_rows` bounds the rows decoded together. `reuse` keeps keys and values between calls, until a parameter of the
    model changes; not for models with sliding windows, since masked slots would narrow those. Raises `ValueError`
    for a model whose attention takes no mask.
    """

    def __init__(self, model: PreTrainedModel, *, name: str = "", max_rows: int = 512, reuse: bool = True) -> None:
        kind = getattr(model.config, "_attn_implementation", None)
        if kind not in _MASK_KINDS:
            raise ValueError(f"attention {kind!r} takes no mask; load the model with attn_implementation='sdpa'")
        if max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}; give at least 1")
        layers = getattr(model.config, "layer_types", None) or ["full_attention"]
        self.name = name or f"transformers/{model.config.model_type}"
        self.model = model
        self._max_rows = max_rows
        self._reuse = reuse and set(layers) == {"full_attention"}
        self._sessions: list[_Session] = []
        self._made_with: list[int] = []

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order. Raises `ValueError` for an empty prefix or a length below 1."""
        for request in requests:
            if not len(request.prefix) or request.max_tokens < 1:
                raise ValueError(
                    f"prefix of {len(request.prefix)} ids, max_tokens {request.max_tokens}; give at least 1 of each"
                )
        made_with = self._checksum()
        kept, self._sessions = (self._sessions if made_with == self._made_with else []), []
        training = self.model.training
        torch.nn.Module.train(self.model, False)
        completions: list[Completion] = []
        sessions: list[_Session] = []
        try:
            with torch.inference_mode():
                for first in range(0, len(requests), self._max_rows):
                    chunk = requests[first : first + self._max_rows]
                    session = _resume(kept, chunk) or self._begin(len(chunk))
                    completions += self._decode(chunk, session)
                    sessions.append(session)
        finally:
            torch.nn.Module.train(self.model, training)
        if self._reuse:
            self._sessions, self._made_with = sessions, made_with
        return completions

    async def close(self) -> None:
        """Drop the kept keys and values; the model stays the caller's."""
        self.forget()

    def forget(self) -> None:
        """Drop the kept keys and values."""
        self._sessions = []

    def _checksum(self) -> list[int]:
        """A sum of bits for each parameter; version counters would be cheaper, but fused optimizers pass them by."""
        if not self._reuse:
            return []
        bits = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
        sums: list[int] = torch.stack(
            [p.detach().view(bits[p.element_size()]).sum(dtype=torch.int64) for p in self.model.parameters()]
        ).tolist()
        return sums

    def _begin(self, rows: int) -> _Session:
        valid_BS = torch.zeros(rows, 0, dtype=torch.bool, device=self.model.device)
        return _Session(rows=[[] for _ in range(rows)], cache=DynamicCache(config=self.model.config), valid_BS=valid_BS)

    def _decode(self, requests: Sequence[Request], session: _Session) -> list[Completion]:
        """Read what the session has not seen of each prefix, then sample until every row is done."""
        rows, device = len(requests), self.model.device
        fresh = [request.prefix[len(ids) :] for request, ids in zip(requests, session.rows, strict=True)]
        width = max(map(len, fresh))
        ids_BQ = np.zeros((rows, width), np.int64)
        own_BQ = np.zeros((rows, width), np.bool_)
        for row, new in enumerate(fresh):
            ids_BQ[row, width - len(new) :] = new
            own_BQ[row, width - len(new) :] = True
        longest = max(request.max_tokens for request in requests)
        limits_B = np.array([request.max_tokens for request in requests])
        sampler = _Sampler(requests)
        tokens_BT = np.zeros((rows, longest), np.int64)
        logprobs_BT = np.zeros((rows, longest), np.float32)
        lengths_B = np.zeros(rows, np.int64)
        stopped_B = np.zeros(rows, np.bool_)
        going_B = np.ones(rows, np.bool_)
        for turn in range(longest):
            logits_BV = self._forward(session, torch.from_numpy(ids_BQ).to(device), torch.from_numpy(own_BQ).to(device))
            sampled_B, logprobs_B = sampler.sample(logits_BV, turn)
            tokens_BT[:, turn] = sampled_B
            logprobs_BT[:, turn] = logprobs_B
            lengths_B += going_B
            stopped_B |= going_B & sampler.stops(sampled_B)
            going_B = going_B & ~stopped_B & (lengths_B < limits_B)
            if not going_B.any():
                break
            ids_BQ = sampled_B[:, None]
            own_BQ = going_B[:, None]
        completions = []
        for row, request in enumerate(requests):
            length = int(lengths_B[row])
            tokens = tokens_BT[row, :length].tolist()
            session.rows[row] = [*request.prefix, *tokens[:-1]]
            completions.append(
                Completion(
                    tokens=tuple(tokens),
                    logprobs=tuple(logprobs_BT[row, :length].tolist()),
                    finish_reason="stop" if stopped_B[row] else "length",
                )
            )
        return completions

    def _forward(self, session: _Session, ids_BQ: torch.Tensor, own_BQ: torch.Tensor) -> torch.Tensor:
        """Logits [B, V] behind the last slot, with the new slots added to the session."""
        before = session.valid_BS.shape[1]
        width = ids_BQ.shape[1]
        positions_BQ = session.valid_BS.sum(1, keepdim=True) + own_BQ.cumsum(1) - 1
        session.valid_BS = torch.cat([session.valid_BS, own_BQ], dim=1)
        slots_S = torch.arange(before + width, device=ids_BQ.device)
        new_Q = slots_S[before:]
        seen_BQS = session.valid_BS[:, None, :] & (slots_S <= new_Q[:, None])
        dtype = self.model.dtype
        # finite, so that the softmax of a slot that sees nothing is defined and no NaN reaches the cache
        mask_B1QS = torch.zeros(seen_BQS.shape, dtype=dtype, device=ids_BQ.device)
        mask_B1QS = mask_B1QS.masked_fill_(~seen_BQS, torch.finfo(dtype).min)[:, None]
        out: Any = self.model(
            input_ids=ids_BQ,
            attention_mask=mask_B1QS,
            position_ids=positions_BQ.clamp_(min=0),
            past_key_values=session.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: torch.Tensor = out.logits[:, -1]
        return logits_BV.float()


def _resume(sessions: list[_Session], requests: Sequence[Request]) -> _Session | None:
    """The session, taken out of `sessions`, whose rows, in order and some left out, all these requests go on from."""
    for session in sessions:
        chosen: list[int] = []
        for row, ids in enumerate(session.rows):
            if len(chosen) < len(requests):
                prefix = requests[len(chosen)].prefix
                if len(prefix) > len(ids) and list(prefix[: len(ids)]) == ids:
                    chosen.append(row)
        if len(chosen) < len(requests):
            continue
        sessions.remove(session)
        if len(chosen) < len(session.rows):
            kept = torch.tensor(chosen, device=session.valid_BS.device)
            session.cache.batch_select_indices(kept)
            session.valid_BS = session.valid_BS[kept]
            session.rows = [session.rows[row] for row in chosen]
        return session
    return None


class _Sampler:
    """Inverse-CDF sampling with a random number for each (seed, turn), vectorised over rows."""

    def __init__(self, requests: Sequence[Request]) -> None:
        temperatures = np.array([request.temperature for request in requests], np.float32)
        if (temperatures < 0).any():
            raise ValueError(f"temperature {temperatures.min():g} is negative; 0 is greedy")
        self._greedy = temperatures == 0
        self._plain = bool((temperatures == 1).all())
        self._temperatures = np.where(self._greedy, np.float32(1), temperatures)
        self._seeds = np.array([request.seed & (2**64 - 1) for request in requests], np.uint64)
        kinds = {request.stop_ids for request in requests}
        self._one_stop = np.array(sorted(next(iter(kinds))), np.int64) if len(kinds) == 1 else None
        self._stop_sets = [request.stop_ids for request in requests]

    def sample(self, logits_BV: torch.Tensor, turn: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """A token for each row and its log-probability under the sampling distribution (0 for a greedy row)."""
        if not self._plain:
            logits_BV = logits_BV / torch.from_numpy(self._temperatures).to(logits_BV.device)[:, None]
        logprobs_BV = logits_BV.log_softmax(-1)
        cumulative_BV = logprobs_BV.double().exp().cumsum(-1)
        chance_B = torch.from_numpy(_uniform(self._seeds, turn)).to(logits_BV.device)
        # scaled by the total, which rounding leaves beside 1, so that the last token with any probability is the limit
        sampled_B = torch.searchsorted(cumulative_BV, (chance_B * cumulative_BV[:, -1])[:, None], right=True)
        sampled_B = sampled_B.clamp_(max=logits_BV.shape[1] - 1)
        if self._greedy.any():
            greedy_B = torch.from_numpy(self._greedy).to(logits_BV.device)
            sampled_B = torch.where(greedy_B[:, None], logits_BV.argmax(-1, keepdim=True), sampled_B)
        chosen_B = logprobs_BV.gather(1, sampled_B)[:, 0].cpu().numpy()
        return sampled_B[:, 0].cpu().numpy(), np.where(self._greedy, np.float32(0), chosen_B)

    def stops(self, sampled_B: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which rows sampled one of their stop ids."""
        if self._one_stop is not None:
            return np.isin(sampled_B, self._one_stop)
        return np.array([token in stop for token, stop in zip(sampled_B.tolist(), self._stop_sets, strict=True)])


def _uniform(seeds: npt.NDArray[np.uint64], turn: int) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each seed: SplitMix64 (Steele, Lea, Flood 2014), 53 bits of it."""
    z = seeds + np.uint64(((turn + 1) * 0x9E3779B97F4A7C15) & (2**64 - 1))
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def open_engine(*, folder: str, max_rows: int = 512) -> tuple[TransformersEngine, Tokenizer]:
    """The engine of a model in a local folder, as training leaves it, and the tokenizer that lies with it.

    The engine's name holds a digest of the weights, so that trials tell which model played them. Raises `ValueError`
    for a folder that holds no model or no tokenizer with the structure tokens.
    """
    path = Path(folder)
    weights = sorted(path.glob("*.safetensors"))
    if not weights or not (path / "config.json").exists() or not (path / "tokenizer.json").exists():
        raise ValueError(
            f"{folder!r} does not hold config.json, *.safetensors and tokenizer.json; "
            "give the folder of a trained model, such as build/lake/metarl/base/model"
        )
    digest = hashlib.sha256()
    for file in weights:
        digest.update(file.read_bytes())
    model = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, attn_implementation="sdpa")
    tokenizer = BpeTokenizer.from_bytes((path / "tokenizer.json").read_bytes())
    return TransformersEngine(model, name=f"transformers/{digest.hexdigest()[:12]}", max_rows=max_rows), tokenizer
