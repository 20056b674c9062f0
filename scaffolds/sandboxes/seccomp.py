"""A system-call filter for the sandbox: what hides memory from its watcher, traces others or widens the kernel's face.

A refused call fails with EPERM. A socket of a family other than UNIX and IP fails with EAFNOSUPPORT, as on a kernel
without it: sockets between guest and host (AF_VSOCK) are in no namespace, the others lead to seldom-used kernel code.
The list of calls denies, as a list that allows would break with each new C library; the walls are the namespaces, and
this only takes away what no test suite needs.
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
# socket and socketpair, whose first argument is a family
_X86_64_SOCKETS = (41, 53)
_AARCH64_SOCKETS = (198, 199)
_MACHINES = {
    "x86_64": (0xC000003E, _X86_64, _X86_64_SOCKETS),
    "aarch64": (0xC00000B7, _AARCH64, _AARCH64_SOCKETS),
}
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: linux/socket.h

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF opcodes, linux/bpf_common.h
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # linux/seccomp.h; 1 is EPERM
_NO_FAMILY = 0x00050000 | 97  # EAFNOSUPPORT
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; of an argument, its low half
_X32_BIT = 0x40000000


def program(machine: str | None = None) -> bytes | None:
    """The filter as compiled classic BPF for `bwrap --seccomp`, or null for a machine whose numbers are not listed."""
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        return None
    architecture, calls, sockets = _MACHINES[machine]
    return _assemble(architecture, sorted(calls.values()), sockets)


def _assemble(architecture: int, refused: Sequence[int], sockets: Sequence[int]) -> bytes:
    # (opcode, where to go if it holds, operand); a place to go to is named by its return value
    code: list[tuple[int, int | None, int]] = [
        (_LOAD, None, _ARCHITECTURE),
        (_JUMP_EQUAL, _NUMBER, architecture),
        (_RETURN, None, _KILL),
        (_LOAD, None, _NUMBER),
        (_JUMP_AT_LEAST, _REFUSE, _X32_BIT),
        *((_JUMP_EQUAL, _REFUSE, number) for number in refused),
        *((_JUMP_EQUAL, _FIRST_ARGUMENT, number) for number in sockets),
        (_RETURN, None, _ALLOW),
        (_LOAD, None, _FIRST_ARGUMENT),
        *((_JUMP_EQUAL, _ALLOW, family) for family in _FAMILIES),
        (_RETURN, None, _NO_FAMILY),
        (_RETURN, None, _REFUSE),
        (_RETURN, None, _ALLOW),
    ]
    # jumps go forward: of two places with one operand, the last is meant
    places = {operand: place for place, (opcode, _, operand) in enumerate(code) if opcode in (_LOAD, _RETURN)}
    return b"".join(
        struct.pack("=HBBI", opcode, 0 if goal is None else places[goal] - place - 1, 0, operand)
        for place, (opcode, goal, operand) in enumerate(code)
    )
