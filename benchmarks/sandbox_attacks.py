"""Known ways out of a sandbox or past its limits: code to run inside, and a look from outside at what became of it."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from scaffolds.protocols import Execution, Limits, Sandbox

LIMITS = Limits(
    wall_seconds=8, cpu_seconds=3, memory_bytes=256 << 20, processes=48, file_bytes=32 << 20, output_bytes=64 << 10
)
"""What every attack may use."""

SECRET = "planted-secret"
"""The content of the planted file and of a planted environment variable."""

_SLACK_SECONDS = 3.0
_REACHED = "REACHED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What waits on the host: a folder with a secret file, a TCP port, an abstract socket's name, a process."""

    folder: Path
    port: int
    abstract: str
    process: Popen[bytes]


def reached(run: Execution, sandbox: Sandbox, planted: Planted) -> bool:
    """Whether the attack says so itself, or shows the secret."""
    return _REACHED in run.output or SECRET in run.output


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """Python code to run inside, and what tells on the outside that it got through."""

    name: str
    code: str
    escaped: Callable[[Execution, Sandbox, Planted], bool] = reached


def touched(run: Execution, sandbox: Sandbox, planted: Planted) -> bool:
    """Whether anything planted was changed."""
    files = {path.name: path.read_text() for path in planted.folder.iterdir() if path.is_file()}
    return reached(run, sandbox, planted) or files != {"secret": SECRET} or planted.process.poll() is not None


def _too_long(run: Execution, sandbox: Sandbox, planted: Planted) -> bool:
    return run.seconds > LIMITS.wall_seconds + _SLACK_SECONDS or run.limit not in ("wall", "cpu")


def _too_much_output(run: Execution, sandbox: Sandbox, planted: Planted) -> bool:
    return len(run.output) > 2 * LIMITS.output_bytes or run.truncated_bytes == 0


def _still_beats(run: Execution, sandbox: Sandbox, planted: Planted) -> bool:
    before = sandbox.read("beat")
    time.sleep(0.3)
    return not before or sandbox.read("beat") != before


def _read_follows(run: Execution, sandbox: Sandbox, planted: Planted) -> bool:
    for path in ("link", "folder/secret", "pipe", "up"):
        try:
            sandbox.read(path)
        except ValueError:
            continue
        return True
    return False


def _write_follows(run: Execution, sandbox: Sandbox, planted: Planted) -> bool:
    for path in ("link", "folder/secret", "folder/new", "../new"):
        try:
            sandbox.write(path, b"changed")
        except ValueError:
            continue
    return touched(run, sandbox, planted)


def _try(*statements: str) -> str:
    """Code that tries each statement by itself and tells of any that works; one that gives -1 has not."""
    lines = ["import ctypes, os, socket", "libc = ctypes.CDLL(None, use_errno=True)"]
    for statement in statements:
        lines += ["try:", f"    print({_REACHED!r} if {statement} != -1 else 'refused')"]
        lines += ["except (OSError, ValueError):", "    pass"]
    return "\n".join(lines)


def _block(code: str) -> str:
    return textwrap.dedent(code).replace("REACHED", repr(_REACHED))


_LIMIT_ATTACKS = (
    Attack(
        name="fork bomb",
        code=_block(f"""
            import os, time
            made = 0
            while made <= {2 * LIMITS.processes}:
                if os.fork() == 0:
                    time.sleep(60)
                made += 1
            print(REACHED)
            """),
    ),
    Attack(
        name="memory bomb of one process",
        code=_block("""
            kept = []
            while len(kept) < 64:
                kept.append(bytearray(b'x') * (8 << 20))
            print(REACHED)
            """),
    ),
    Attack(
        name="memory bomb of many processes",
        code=_block("""
            import os, time
            for _ in range(12):
                if os.fork() == 0:
                    kept = bytearray(b'x') * (100 << 20)
                    time.sleep(5)
                    os._exit(0)
            time.sleep(5)
            print(REACHED)
            """),
    ),
    Attack(
        name="disk fill",
        code=_block("""
            for n in range(8):
                with open(f'/tmp/{n}', 'wb') as file:
                    file.write(bytes(16 << 20))
            print(REACHED)
            """),
    ),
    Attack(
        name="flood of empty files",
        code=_block("""
            for n in range(1_000_000):
                open(f'/tmp/{n}', 'w').close()
            print(REACHED)
            """),
    ),
    Attack(name="endless output", code="while True: print('x' * 10_000)", escaped=_too_much_output),
    Attack(
        name="sleep for ever, deaf to signals",
        code=_block("""
            import signal, time
            for n in set(range(1, 65)) - {9, 19, 32, 33}:
                signal.signal(n, signal.SIG_IGN)
            while True:
                time.sleep(60)
            """),
        escaped=_too_long,
    ),
    Attack(
        name="spin for ever, deaf to signals",
        code=_block("""
            import signal
            for n in set(range(1, 65)) - {9, 19, 32, 33}:
                signal.signal(n, signal.SIG_IGN)
            while True:
                pass
            """),
        escaped=_too_long,
    ),
    Attack(
        name="spin in processes that nobody waits for",
        code=_block("""
            import os, signal
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            while True:
                try:
                    if os.fork() == 0:
                        for _ in range(10_000_000):
                            pass
                        os._exit(0)
                except OSError:
                    pass
            """),
        escaped=_too_long,
    ),
    Attack(
        name="leave a daemon behind",
        code=_block("""
            import os, time
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.closerange(0, 3)
                    while True:
                        open('/box/beat', 'a').write('x')
                        time.sleep(0.02)
                os._exit(0)
            while not os.path.exists('/box/beat') or not os.path.getsize('/box/beat'):
                time.sleep(0.02)
            """),
        escaped=_still_beats,
    ),
)


def attacks(planted: Planted) -> list[Attack]:
    """All attacks, aimed at what is planted."""
    secret, host = str(planted.folder / "secret"), planted.process.pid
    read = f"print(open({secret!r}).read())"
    roots = (f"print(open('/proc/{pid}/root{secret}').read())" for pid in ("1", "2", "self"))
    shut = ("/", "/usr/bin", "/usr/lib", "/etc", "/dev", "/space", "/proc", sys.prefix, sys.base_prefix)
    settings = ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/dev/mem", "/dev/kmsg")
    tell = (
        "import glob\nfor path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'): print(open(path).read())"
    )
    links = _block(f"""
        import os
        os.symlink({secret!r}, 'link')
        os.symlink({str(planted.folder)!r}, 'folder')
        os.symlink('../../../../../..{secret}', 'up')
        os.mkfifo('pipe')
        """)
    tcp = "socket.create_connection(({!r}, {}), 1)"
    outside = (
        tcp.format("1.1.1.1", 53),
        tcp.format("2606:4700:4700::1111", 53),
        "socket.getaddrinfo('example.com', 80)",
    )
    raw = ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)")
    families = {"AF_NETLINK": 16, "AF_KEY": 15, "AF_ALG": 38, "AF_VSOCK": 40, "AF_XDP": 44}
    others = (
        f"socket.socket({family}, socket.{kind})"
        for family in families.values()
        for kind in ("SOCK_STREAM", "SOCK_RAW", "SOCK_SEQPACKET")
    )
    clones = (f"libc.syscall({number}, 0x10000000 | 17, 0, 0, 0, 0)" for number in (56, 220))  # x86_64, aarch64
    hidden = ("os.memfd_create('x')", "libc.shmget(0, 1 << 20, 0o1600)")
    return [
        Attack(name="read a host file", code=_try(read)),
        Attack(name="read it through another root", code=_try(*roots)),
        Attack(name="read the home folder", code=_try(f"os.listdir({str(Path.home() / '.cache')!r})")),
        Attack(name="read password hashes", code=_try("open('/etc/shadow')")),
        Attack(name="read environments and command lines", code=tell),
        Attack(name="use an inherited descriptor", code=_try("os.fstat(3)", "os.fstat(4)", "os.fstat(5)")),
        Attack(name="write to system folders", code=_try(*(f"open({f'{path}/x'!r}, 'w')" for path in shut))),
        Attack(name="write next to a host file", code=_try(f"open({f'{secret}2'!r}, 'w')"), escaped=touched),
        Attack(name="change the kernel", code=_try(*(f"open({path!r}, 'w')" for path in settings))),
        Attack(name="connect to a server on this machine", code=_try(tcp.format("127.0.0.1", planted.port))),
        Attack(name="connect to the world", code=_try(*outside)),
        Attack(
            name="connect to an abstract socket",
            code=_try(f"socket.socket(socket.AF_UNIX).connect({planted.abstract!r})"),
        ),
        Attack(name="open a raw socket", code=_try(*raw)),
        Attack(name="open a socket of another family", code=_try(*others)),
        Attack(
            name="signal a host process",
            code=_try(f"os.kill({host}, 9)", f"os.kill({os.getpid()}, 0)"),
            escaped=touched,
        ),
        Attack(name="trace the first process", code=_try("libc.ptrace(16, 1, 0, 0)")),
        Attack(name="make a user namespace", code=_try("libc.unshare(0x10000000)", *clones)),
        Attack(name="mount something", code=_try("libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)")),
        Attack(name="change root", code=_try("os.chroot('/box')")),
        Attack(name="become root", code=_try("os.setuid(0)", "os.setgid(0)")),
        Attack(name="make a device", code=_try("os.mknod('disk', 0o60666, os.makedev(254, 0))")),
        Attack(name="hide memory in the kernel", code=_try(*hidden)),
        Attack(name="read the kernel's keys", code=_try("libc.syscall(250, 0, -3, 1)")),
        Attack(name="be read through links and pipes", code=links, escaped=_read_follows),
        Attack(name="be written through links", code=links, escaped=_write_follows),
        *_LIMIT_ATTACKS,
    ]
