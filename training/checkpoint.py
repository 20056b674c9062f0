"""Checkpoints: everything a training run needs to go on as if it had never stopped, in one atomic file.

A checkpoint is a `safetensors` file whose metadata holds the rest as JSON: nothing in it is executed when it is read,
and equal states are equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import safetensors.torch
import torch

from pipeline.lake import Lake

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a run stands: `step` steps done, the data position as integers, and its measurements so far (JSON-able).

    No clock is in it, so that equal runs leave equal bytes.
    """

    step: int = 0
    cursor: Mapping[str, int] = field(default_factory=dict)
    history: Mapping[str, Any] = field(default_factory=dict)


def save_checkpoint(
    lake: Lake,
    path: str,
    run: str,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    position: Position,
) -> None:
    """Write weights, optimizer, generator and position of the run called `run` (its `fingerprint`).

    After a crash the old checkpoint or the new one is there, whole.
    """
    state = optimizer.state_dict()
    tensors = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    for index, values in state["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    tensors["rng"] = torch.get_rng_state()
    rest = {"run": run, "groups": state["param_groups"], **asdict(position)}
    metadata = {"state": json.dumps(rest, sort_keys=True)}
    cpu = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    lake.write_bytes(path, safetensors.torch.save(cpu, metadata=metadata))


def load_checkpoint(
    lake: Lake, path: str, run: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Position:
    """Put weights, optimizer and generator back; the position to go on from.

    It is the start, and nothing is changed, where there is no checkpoint or it is of another run; that is said in the
    log. What a killed process left unfinished beside it is removed.
    """
    folder = path.rpartition("/")[0]
    lake.sweep(folder)
    lake.sweep(f"{folder}/model")
    if not lake.exists(path):
        return Position()
    data = lake.read_bytes(path)
    rest = json.loads(_metadata(data)["state"])
    if rest.pop("run") != run:
        log.warning("%s is of another config or input: training starts afresh and replaces what it left", path)
        return Position()
    tensors = safetensors.torch.load(data)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(tensors[f"model.{name}"])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, key = name.partition(".")
        if kind == "optimizer":
            index, _, value = key.partition(".")
            state.setdefault(int(index), {})[value] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": rest.pop("groups")})
    torch.set_rng_state(tensors["rng"])
    return Position(**rest)


def fingerprint(config: Any, *inputs: str) -> str:
    """A hash of a config dataclass and the digests of what it is run on."""
    form = json.dumps([type(config).__name__, asdict(config), *inputs], sort_keys=True)
    return hashlib.sha256(form.encode()).hexdigest()


def digest(lake: Lake, path: str) -> str:
    """SHA-256 of a file in the lake."""
    return hashlib.sha256(lake.read_bytes(path)).hexdigest()


def write_result(lake: Lake, folder: str, result: Any) -> None:
    """Write a result dataclass as `metrics.json`, without its `cpu_seconds`, which no two runs have in common."""
    values = asdict(result)
    del values["cpu_seconds"]
    lake.write_json(f"{folder}/metrics.json", values)


def _metadata(data: bytes) -> dict[str, str]:
    # a safetensors file begins with the length of its JSON header, as 64 bits
    (length,) = struct.unpack_from("<Q", data)
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata
