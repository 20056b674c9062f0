"""The sandbox under attack: every test runs real commands in a real bubblewrap."""

from __future__ import annotations

import errno
import os
import platform
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.sandbox import planted
from benchmarks.sandbox_attacks import attacks
from scaffolds.protocols import Execution, InfrastructureError, Limits, Sandbox
from scaffolds.sandboxes import SANDBOXES, open_sandbox, seccomp
from scaffolds.sandboxes.bubblewrap import Bubblewrap, probe
from scaffolds.sandboxes.diagnosis import remedy

PYTHON = sys.executable
SMALL = Limits(
    wall_seconds=10, cpu_seconds=5, memory_bytes=256 << 20, processes=32, file_bytes=16 << 20, output_bytes=8 << 10
)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox(limits=SMALL) as opened:
        yield opened


def python(sandbox: Sandbox, code: str, limits: Limits = SMALL) -> Execution:
    return sandbox.exec([PYTHON, "-S", "-c", code], limits=limits)


def test_probe_passes_where_bubblewrap_works() -> None:
    assert probe() is None  # it raises where it cannot isolate


def test_a_command_runs_and_its_output_and_exit_code_come_back(sandbox: Sandbox) -> None:
    run = python(sandbox, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (run.exit_code, run.limit, run.truncated_bytes) == (3, None, 0)
    assert sorted(run.output.split()) == ["err", "out"]


def test_death_by_a_signal_is_a_negative_exit_code(sandbox: Sandbox) -> None:
    assert python(sandbox, "import os; os.kill(os.getpid(), 11)").exit_code == -11


def test_a_command_that_does_not_exist_is_its_own_failure(sandbox: Sandbox) -> None:
    assert sandbox.exec(["no-such-command"]).exit_code == 127


def test_files_written_outside_are_there_inside_and_the_other_way_round(sandbox: Sandbox) -> None:
    sandbox.write("folder/in.txt", b"\x00given\xff")
    run = python(sandbox, "data = open('folder/in.txt', 'rb').read(); open('folder/out', 'wb').write(data[::-1])")
    assert run.exit_code == 0, run.output
    assert sandbox.read("folder/out") == b"\x00given\xff"[::-1]


def test_a_run_can_change_and_remove_what_was_written_for_it(sandbox: Sandbox) -> None:
    sandbox.write("folder/file", b"1")
    assert python(sandbox, "import shutil; open('folder/file', 'a').write('2'); shutil.rmtree('folder')").exit_code == 0


def test_runs_of_one_sandbox_share_its_folder_and_two_sandboxes_do_not(sandbox: Sandbox) -> None:
    python(sandbox, "open('kept', 'w').write('x')")
    assert python(sandbox, "print(open('kept').read())").output == "x\n"
    with open_sandbox(limits=SMALL) as other:
        assert python(other, "open('kept')").exit_code == 1


def test_no_network_is_reached_not_even_a_server_on_this_machine(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        run = python(sandbox, code)
        assert run.exit_code == 1 and "Error" in run.output
        with pytest.raises(TimeoutError):
            server.accept()
    run = python(
        sandbox, "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('1.1.1.1', 53))"
    )
    assert run.exit_code == 1 and "unreachable" in run.output


def test_abstract_sockets_of_the_host_are_not_reached(sandbox: Sandbox) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0sandbox-test")
        server.listen()
        run = python(sandbox, "import socket; socket.socket(socket.AF_UNIX).connect('\\0sandbox-test')")
    assert "refused" in run.output


def test_host_files_and_home_are_not_there(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("planted-secret")
    paths = [str(secret), str(Path.home() / ".bashrc"), "/etc/shadow", __file__]
    paths += [f"/proc/1/root{secret}", f"/proc/2/root{secret}"]
    code = f"""
import os
for path in {paths!r}:
    try:
        print(open(path).read())
    except OSError as error:
        print(type(error).__name__)
found = [name for name in os.listdir('/') if name in ('home', 'mnt', 'opt', 'srv', 'var', 'boot', 'sys', 'run')]
print(found)
"""
    run = python(sandbox, code)
    assert run.output.split() == ["FileNotFoundError"] * 6 + ["[]"]


def test_environment_of_the_caller_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_TOKEN", "planted-secret")
    with open_sandbox(limits=SMALL) as sandbox:
        run = python(
            sandbox,
            "import os, glob\nprint(dict(os.environ))\n"
            "for path in glob.glob('/proc/*/environ') + glob.glob('/proc/*/cmdline'): print(path, open(path).read())",
        )
    assert run.exit_code == 0 and "/proc/1/environ" in run.output and "planted" not in run.output.lower()


def test_no_descriptor_of_ours_is_inherited(sandbox: Sandbox) -> None:
    run = python(sandbox, "import os; print(sorted(os.listdir('/proc/self/fd'))[:-1])")
    assert run.output == "['0', '1', '2']\n"


def test_system_folders_are_read_only(sandbox: Sandbox) -> None:
    code = """
import sys
for folder in ('/', '/usr', '/usr/bin', '/etc', '/dev', '/proc', '/space', sys.prefix, sys.base_prefix):
    try:
        open(folder + '/planted', 'w')
        print('wrote', folder)
    except OSError:
        pass
"""
    run = python(sandbox, code)
    assert (run.exit_code, run.output) == (0, "")


def test_runs_have_no_capabilities_and_cannot_get_any(sandbox: Sandbox) -> None:
    status = sandbox.exec(["cat", "/proc/self/status"]).output
    held = {line.split(":")[0]: int(line.split()[1], 16) for line in status.splitlines() if line.startswith("Cap")}
    assert set(held.values()) == {0}
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert sandbox.exec(["unshare", "--user", "--map-root-user", "id"]).exit_code != 0
    clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    run = python(sandbox, f"import ctypes; print(ctypes.CDLL(None).syscall({clone}, 0x10000000 | 17, 0, 0, 0, 0))")
    assert run.output == "-1\n"
    assert sandbox.exec(["mount", "-t", "tmpfs", "none", "/tmp"]).exit_code != 0


def test_calls_that_hide_memory_or_trace_are_refused(sandbox: Sandbox) -> None:
    code = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(16, 1, 0, 0), ctypes.get_errno())
print(libc.shmget(0, 4096, 0o1600), ctypes.get_errno())
try:
    os.memfd_create('hidden')
except PermissionError:
    print('refused')
"""
    assert python(sandbox, code).output.split() == ["-1", "1", "-1", "1", "refused"]


def test_sockets_are_of_the_unix_and_internet_families_alone(sandbox: Sandbox) -> None:
    code = """
import errno, socket
for family in range(64):
    for make in (socket.socket, socket.socketpair):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, socket.SOCK_SEQPACKET):
            try:
                make(family, kind)
                print(family)
            except OSError as error:
                if family in (1, 2, 10):
                    continue
                if error.errno != errno.EAFNOSUPPORT:
                    print(family, error)
"""
    assert set(python(sandbox, code).output.split("\n")) - {""} == {"1", "2", "10"}


def test_known_ways_to_other_socket_families_are_shut() -> None:
    with planted() as host, open_sandbox(limits=SMALL) as sandbox:
        (attack,) = [attack for attack in attacks(host) if attack.name == "open a socket of another family"]
        run = python(sandbox, attack.code)
        assert run.exit_code == 0, run.output
        assert not attack.escaped(run, sandbox, host)


def test_what_test_suites_need_of_sockets_works(sandbox: Sandbox) -> None:
    sandbox.write(
        "test_net.py",
        b"""
import asyncio, multiprocessing, socket, subprocess, threading

def test_loopback():
    for family, place in ((socket.AF_INET, "127.0.0.1"),):
        with socket.create_server((place, 0), family=family) as server:
            with socket.create_connection(server.getsockname()) as client:
                client.sendall(b"x")
                assert server.accept()[0].recv(1) == b"x"

def test_unix():
    left, right = socket.socketpair()
    left.sendall(b"x")
    assert right.recv(1) == b"x"

def test_names():
    assert socket.getaddrinfo("localhost", 80)

def test_asyncio():
    async def go():
        server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
    asyncio.run(go())

def test_pipes_between_processes():
    left, right = multiprocessing.Pipe()
    left.send(1)
    assert right.recv() == 1
""",
    )
    run = sandbox.exec([PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_net.py"])
    assert (run.exit_code, "5 passed" in run.output) == (0, True), run.output
    script = "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git log -1"
    assert sandbox.exec(["bash", "-c", f"{script} --format=%s"]).output == "x\n"


def test_only_its_own_processes_are_seen_and_signalled(sandbox: Sandbox) -> None:
    code = f"""
import os
print(sorted(int(name) for name in os.listdir('/proc') if name.isdigit()), os.getppid())
for pid in ({os.getpid()}, {os.getppid()}):
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        print('none')
"""
    run = python(sandbox, code)
    assert run.output.splitlines() == ["[1, 2] 1", "none", "none"]


def test_fork_bomb_is_held_and_gone_afterwards(sandbox: Sandbox) -> None:
    code = """
import os, time
made = 0
while True:
    try:
        if os.fork() == 0:
            while True:
                time.sleep(60)
        made += 1
    except BlockingIOError:
        break
print(made)
"""
    run = python(sandbox, code)
    assert run.exit_code == 0 and 1 <= int(run.output) < SMALL.processes
    assert sandbox.exec(["true"]).exit_code == 0


def test_forked_bomb_of_shell_processes_leaves_the_host_responsive(sandbox: Sandbox) -> None:
    run = sandbox.exec(["bash", "-c", ":(){ :|:& };:; sleep 1; echo end"])
    assert run.seconds < 8 and run.output
    assert subprocess.run(["true"], check=True).returncode == 0


def test_one_process_cannot_take_more_memory_than_allowed(sandbox: Sandbox) -> None:
    run = python(sandbox, "kept = []\nwhile True: kept.append(bytearray(8 << 20))")
    assert run.exit_code == 1 and "MemoryError" in run.output


def test_many_processes_cannot_take_together_what_one_may_not(sandbox: Sandbox) -> None:
    code = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(b'x') * (80 << 20)
        time.sleep(60)
time.sleep(60)
"""
    run = python(sandbox, code)
    assert run.limit == "memory" and run.exit_code < 0 and run.seconds < 8


def test_memory_that_forks_share_is_counted_once(sandbox: Sandbox) -> None:
    code = """
import os, time
kept = bytearray(b'x') * (100 << 20)
for _ in range(6):
    if os.fork() == 0:
        time.sleep(1)
        os._exit(0)
time.sleep(1)
print('fine')
"""
    assert python(sandbox, code).output == "fine\n"


def test_disk_fill_ends_at_the_size_of_the_writable_space(sandbox: Sandbox) -> None:
    code = """
number = 0
try:
    for folder in ('/box', '/tmp', '/dev/shm') * 3:
        number += 1
        with open(f'{folder}/{number}', 'wb') as file:
            for _ in range(8):
                file.write(bytes(1 << 20))
except OSError as error:
    print(number, error.strerror)
"""
    assert python(sandbox, code).output == "3 No space left on device\n"
    with pytest.raises(InfrastructureError, match=r"raise Limits\.file_bytes"):
        sandbox.write("more", bytes(16 << 20))


def test_a_flood_of_empty_files_is_ended(sandbox: Sandbox) -> None:
    limits = Limits(wall_seconds=30, cpu_seconds=30)
    run = python(sandbox, "i = 0\nwhile True:\n    i += 1\n    open(f'/tmp/{i}', 'w').close()", limits)
    assert run.limit == "files"


def test_endless_output_is_cut_in_the_middle_and_counted(sandbox: Sandbox) -> None:
    code = "import sys\nprint('first')\nfor i in range(300000): print('line', i)\nprint('last')"
    run = python(sandbox, code)
    assert run.output.startswith("first\nline 0\n") and run.output.endswith("line 299999\nlast\n")
    assert run.truncated_bytes > 3_000_000 and f"[... {run.truncated_bytes} bytes cut ...]" in run.output
    assert len(run.output) < SMALL.output_bytes + 100
    endless = sandbox.exec(["yes"], limits=Limits(wall_seconds=1, output_bytes=1000))
    assert endless.limit == "wall" and endless.truncated_bytes > 1000 and len(endless.output) < 1100


def test_wall_clock_limit_ends_a_run_that_sleeps(sandbox: Sandbox) -> None:
    run = sandbox.exec(["sleep", "60"], limits=Limits(wall_seconds=0.5))
    assert run.limit == "wall" and run.exit_code < 0 and 0.4 < run.seconds < 5


def test_cpu_limit_ends_one_busy_process_and_many(sandbox: Sandbox) -> None:
    one = python(sandbox, "while True: pass", Limits(wall_seconds=30, cpu_seconds=1))
    assert one.limit == "cpu" and one.exit_code < 0
    code = "import os\nos.fork(); os.fork()\nwhile True: pass"
    many = python(sandbox, code, Limits(wall_seconds=30, cpu_seconds=2))
    assert many.limit == "cpu" and many.seconds < 10


def test_a_daemon_is_dead_when_the_run_is_over(sandbox: Sandbox) -> None:
    code = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for name in (0, 1, 2):
            os.close(name)
        while True:
            with open('/box/beat', 'a') as file:
                file.write('x')
            time.sleep(0.02)
    os._exit(0)
while not os.path.exists('/box/beat'):
    time.sleep(0.02)
"""
    assert python(sandbox, code).exit_code == 0
    beats = sandbox.read("beat")
    time.sleep(0.2)
    assert beats and sandbox.read("beat") == beats


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../b", "", "nul\0byte", "."])
def test_paths_that_lead_outside_are_refused(sandbox: Sandbox, path: str) -> None:
    with pytest.raises(ValueError, match="leads outside"):
        sandbox.read(path)
    with pytest.raises(ValueError, match="leads outside"):
        sandbox.write(path, b"x")


def test_planted_links_pipes_and_folders_are_not_followed(sandbox: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("planted-secret")
    code = f"""
import os
os.symlink({str(secret)!r}, 'file')
os.symlink({str(tmp_path)!r}, 'folder')
os.symlink('../../../..{secret}', 'relative')
os.mkfifo('pipe')
os.mkdir('plain')
"""
    assert python(sandbox, code).exit_code == 0
    for path in ("file", "folder/secret", "relative", "pipe", "plain"):
        with pytest.raises(ValueError, match=r"outside|plain file"):
            sandbox.read(path)
    with pytest.raises(ValueError, match="outside"):
        sandbox.write("folder/secret", b"changed")
    sandbox.write("file", b"replaces the link")
    assert secret.read_text() == "planted-secret" and sandbox.read("file") == b"replaces the link"


def test_a_file_larger_than_the_limit_is_not_read_into_memory(sandbox: Sandbox) -> None:
    python(sandbox, "import os; os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 16 << 20)")
    assert len(sandbox.read("sparse")) == 16 << 20
    with open_sandbox(limits=Limits(file_bytes=1 << 20)) as small:
        small.exec(["truncate", "-s", "4M", "sparse"], limits=Limits(file_bytes=8 << 20))
        with pytest.raises(ValueError, match="larger than"):
            small.read("sparse")


def test_a_run_is_not_root_whoever_calls(sandbox: Sandbox) -> None:
    sandbox.exec(["sleep", "0"])
    started = threading.Thread(target=sandbox.exec, args=(["sleep", "2"],))
    started.start()
    owners: set[int] = set()
    deadline = time.monotonic() + 2
    while not owners and time.monotonic() < deadline:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if (folder / "cmdline").read_bytes() == b"sleep\x002\x00":
                    owners.add(folder.stat().st_uid)
            except OSError:
                continue
    started.join()
    assert owners and 0 not in owners


def test_closing_frees_the_view_and_a_closed_sandbox_can_be_closed_again() -> None:
    sandbox = Bubblewrap(limits=SMALL)
    view = sandbox._view.process.pid
    sandbox.close()
    sandbox.close()
    assert not Path(f"/proc/{view}").exists()


def test_the_view_ends_with_the_process_that_opened_it() -> None:
    code = (
        "import os; from scaffolds.sandboxes import open_sandbox\n"
        "s = open_sandbox(); print(s._view.process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    view = Path(f"/proc/{int(done.stdout)}/cmdline")
    deadline = time.monotonic() + 5
    while view.exists() and view.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not view.exists() or not view.read_bytes()


def test_without_bubblewrap_the_error_names_the_command_that_mends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InfrastructureError, match="apt-get install bubblewrap"):
        open_sandbox()


def test_a_sandbox_that_cannot_start_is_an_infrastructure_error_and_no_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InfrastructureError, match="setting up uid map"):
        open_sandbox()


def test_a_run_whose_view_is_gone_is_an_infrastructure_error() -> None:
    with Bubblewrap(limits=SMALL) as sandbox:
        os.close(sandbox._view.namespaces["mnt"])
        sandbox._view._descriptors.remove(sandbox._view.namespaces["mnt"])
        with pytest.raises(InfrastructureError):
            sandbox.exec(["true"])


@pytest.mark.parametrize(
    ("setting", "value", "command"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1\n", "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0\n", "user.max_user_namespaces=10000"),
    ],
)
def test_the_remedy_fits_the_machine(tmp_path: Path, setting: str, value: str, command: str) -> None:
    file = tmp_path / setting
    file.parent.mkdir(parents=True)
    file.write_text(value)
    assert f"sudo sysctl -w {command}" in remedy("bwrap: no", tmp_path, tmp_path / "none")


def test_a_folder_to_be_shown_is_read_only_wherever_it_lies() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder, "file").write_text("shown")
        Path(folder).chmod(0o755)
        with open_sandbox(limits=SMALL, read_only=[folder]) as sandbox:
            assert sandbox.exec(["cat", f"{folder}/file"]).output == "shown"
            assert sandbox.exec(["touch", f"{folder}/file"]).exit_code != 0
            assert sandbox.exec(["touch", "/tmp/own"]).exit_code == 0


@pytest.mark.parametrize("folder", ["/", str(Path.home())])
def test_a_folder_that_holds_the_home_folder_is_not_shown(folder: str) -> None:
    with pytest.raises(InfrastructureError, match="holds the home folder"):
        open_sandbox(read_only=[folder])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=", ".join(SANDBOXES)):
        open_sandbox("docker")


def test_the_filter_is_known_for_common_machines_only() -> None:
    assert seccomp.program("x86_64") != seccomp.program("aarch64") is not None
    assert seccomp.program("riscv64") is None


def _verdict(program: bytes, architecture: int, number: int, argument: int) -> int:
    """What the kernel makes of a call: the filter's own four instructions, interpreted."""
    data = struct.pack("=IIQQ", number, architecture, 0, argument)
    code, place, held = list(struct.iter_unpack("=HBBI", program)), 0, 0
    while True:
        opcode, if_true, if_false, operand = code[place]
        place += 1
        if opcode == 0x06:
            return int(operand)
        if opcode == 0x20:
            (held,) = struct.unpack_from("=I", data, operand)
        else:
            holds = held == operand if opcode == 0x15 else held >= operand
            place += if_true if holds else if_false


@pytest.mark.parametrize(
    ("machine", "architecture", "socket_calls", "ptrace", "read"),
    [("x86_64", 0xC000003E, (41, 53), 101, 0), ("aarch64", 0xC00000B7, (198, 199), 117, 63)],
)
def test_the_filter_of_each_machine_decides_by_call_and_family(
    machine: str, architecture: int, socket_calls: tuple[int, int], ptrace: int, read: int
) -> None:
    program = seccomp.program(machine)
    assert program is not None
    allow, refuse, no_family, kill = 0x7FFF0000, 0x50001, 0x50000 + errno.EAFNOSUPPORT, 0x80000000
    for call in socket_calls:
        found = {family: _verdict(program, architecture, call, family) for family in range(64)}
        assert {family for family, verdict in found.items() if verdict == allow} == {1, 2, 10}
        assert set(found.values()) == {allow, no_family}
        # the kernel reads the family as an int: what stands in the upper half is of no account
        assert _verdict(program, architecture, call, (1 << 32) + 16) == no_family
    assert _verdict(program, architecture, read, 16) == allow
    assert _verdict(program, architecture, ptrace, 1) == refuse
    assert _verdict(program, architecture, 0x40000000 + read, 1) == refuse
    assert _verdict(program, 0x40000003, read, 1) == kill


def test_unsafe_local_runs_with_limits_and_a_clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_TOKEN", "planted-secret")
    with open_sandbox("unsafe_local", limits=SMALL) as local:
        local.write("a/b", b"1")
        assert local.exec(["cat", "a/b"]).output == "1"
        assert "planted" not in local.exec(["env"]).output
        assert local.exec(["sleep", "60"], limits=Limits(wall_seconds=0.2)).limit == "wall"
        with pytest.raises(ValueError, match="leads outside"):
            local.read("../x")
