"""Where untrusted commands run: `bubblewrap` by default, `unsafe_local` only for who writes that name.

`open_sandbox` finds one by name; `folder`, `supervise` and `seccomp` are the parts that sandboxes are made of.
A sandbox that cannot isolate raises `InfrastructureError` and names the command that mends it: there is no fallback.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import cast

from scaffolds.protocols import Limits, Sandbox

SANDBOXES: Mapping[str, str] = MappingProxyType(
    {
        "bubblewrap": "scaffolds.sandboxes.bubblewrap:Bubblewrap",
        "unsafe_local": "scaffolds.sandboxes.unsafe_local:UnsafeLocal",
    }
)
"""Sandboxes by name, as `module:class`."""


def open_sandbox(name: str = "bubblewrap", *, limits: Limits | None = None, read_only: Sequence[str] = ()) -> Sandbox:
    """A started sandbox: a context manager with an empty work folder.

    `limits` hold for every run that brings none of its own, and their `file_bytes` for the writable space as a whole.
    `read_only` names further host folders that commands may read, such as the interpreter of another project.
    Raises `ValueError` for an unknown name and `InfrastructureError` where this machine cannot isolate.
    """
    if name not in SANDBOXES:
        raise ValueError(f"unknown sandbox {name!r}; known are {', '.join(SANDBOXES)}")
    module, _, attribute = SANDBOXES[name].partition(":")
    factory = getattr(import_module(module), attribute)
    return cast(Sandbox, factory(limits=limits or Limits(), read_only=read_only))
