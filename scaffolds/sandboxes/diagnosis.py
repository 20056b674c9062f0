"""Why a sandbox cannot isolate here, and the one command that mends it."""

from __future__ import annotations

import shutil
from pathlib import Path

from scaffolds.protocols import InfrastructureError

_SETTINGS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ("kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", "0", "user.max_user_namespaces=10000"),
)
_CONTAINER = (
    "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined ..."
)


def tool(name: str) -> str:
    """The path of a program that a sandbox is made of; raises `InfrastructureError` where it is not installed."""
    found = shutil.which(name)
    if found is None:
        package = {"bwrap": "bubblewrap", "cat": "coreutils"}.get(name, "util-linux")
        raise InfrastructureError(
            f"cannot isolate: {name} is not installed or not on PATH; run: sudo apt-get install {package}"
        )
    return found


def remedy(said: str, settings: Path = Path("/proc/sys"), container: Path = Path("/.dockerenv")) -> str:
    """What bwrap `said`, and the command that mends it as far as this machine's settings tell."""
    if "nknown option" in said:
        return f"cannot isolate: {said}; this needs bubblewrap 0.8, run: sudo apt-get install --only-upgrade bubblewrap"
    for path, bad, setting in _SETTINGS:
        file = settings / path
        if file.is_file() and file.read_text().strip() == bad:
            return f"cannot isolate: {said}; user namespaces are closed here, run: sudo sysctl -w {setting}"
    if container.exists():
        return f"cannot isolate: {said}; start the container with: {_CONTAINER}"
    return f"cannot isolate: {said}; to see what is refused, run: bwrap --unshare-all --ro-bind / / true"
