"""A system-call filter for the sandbox: what hides memory from its watcher, traces others or widens the kernel's face.

A refused call fails with EPERM. The list denies, as a list that allows would break with each new C library; the walls
are the namespaces, and this only takes away what no test suite needs.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType

# Numbers from the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_X86_64: Mapping[str, int] = MappingProxyType(
    {
        "ptrace": 101,
        "process_vm_readv": 310,
        "process_vm_writev": 311,
        "process_madvise": 440,
        "kcmp": 312,
        "pidfd_getfd": 438,
        "shmget": 29,
        "msgget": 68,
        "memfd_create": 319,
        "memfd_secret": 447,
        "add_key": 248,
        "request_key": 249,
        "keyctl": 250,
        "bpf": 321,
        "perf_event_open": 298,
        "userfaultfd": 323,
        "io_uring_setup": 425,
        "unshare": 272,
        "setns": 308,
        "mount": 165,
        "open_tree": 428,
        "fsopen": 430,
        "quotactl": 179,
        "kexec_load": 246,
        "init_module": 175,
        "finit_module": 313,
    }
)
_AARCH64: Mapping[str, int] = MappingProxyType(
    {
        "ptrace": 117,
        "process_vm_readv": 270,
        "process_vm_writev": 271,
        "process_madvise": 440,
        "kcmp": 272,
        "pidfd_getfd": 438,
        "shmget": 194,
        "msgget": 186,
        "memfd_create": 279,
        "memfd_secret": 447,
        "add_key": 217,
        "request_key": 218,
        "keyctl": 219,
        "bpf": 280,
        "perf_event_open": 241,
        "userfaultfd": 282,
        "io_uring_setup": 425,
        "unshare": 97,
        "setns": 268,
        "mount": 40,
        "open_tree": 428,
        "fsopen": 430,
        "quotactl": 60,
        "kexec_load": 104,
        "init_module": 105,
        "finit_module": 273,
    }
)
_MACHINES = {"x86_64": (0xC000003E, _X86_64), "aarch64": (0xC00000B7, _AARCH64)}

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF opcodes, linux/bpf_common.h
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # linux/seccomp.h; 1 is EPERM
_X32_BIT = 0x40000000


def program(machine: str | None = None) -> bytes | None:
    """The filter as compiled classic BPF for `bwrap --seccomp`, or null for a machine whose numbers are not listed."""
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        return None
    architecture, calls = _MACHINES[machine]
    return _assemble(architecture, sorted(calls.values()))


def _assemble(architecture: int, refused: Sequence[int]) -> bytes:
    code = [
        (_LOAD, 0, 0, 4),  # seccomp_data.arch
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # seccomp_data.nr
        (_JUMP_AT_LEAST, len(refused) + 1, 0, _X32_BIT),
    ]
    for index, number in enumerate(refused):
        code.append((_JUMP_EQUAL, len(refused) - index, 0, number))
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
