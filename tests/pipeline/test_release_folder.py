"""Replacing a release: nothing else is ever deleted, and a kill at any moment loses no release."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import release_folder
from pipeline.lake import Lake
from pipeline.package import PackageError
from tests.pipeline.test_package import digests, make_lake, release, trial

_KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline import package, release_folder
from pipeline.lake import Lake

lake, target, exchange, moment, how = sys.argv[1:]
if exchange == "no":
    release_folder._RENAME_EXCHANGE = 1 << 30  # a flag that the kernel does not know
config = package.PackageConfig(target=target)
WATCHED = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "ctypes.dlsym"}
seen = []

def watch(event, arguments):
    if event in WATCHED and ".packaging" in "".join(map(str, arguments)) or arguments[1:] == ("renameat2",):
        seen.append(event)
        if len(seen) == int(moment):
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt

sys.addaudithook(watch)
package.package(Lake(lake), config)
print(seen.index("ctypes.dlsym") + 1, len(seen))
"""
"""Packages and, at the given of the moments at which it changes folders (0 for none), is killed or interrupted."""


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, Lake]:
    """An earlier lake and one that has grown."""
    root = tmp_path_factory.mktemp("lakes")
    rows = [trial(n, n) for n in range(30)]
    return make_lake(root / "earlier", [rows[:20]]), make_lake(root / "grown", [rows])


@pytest.fixture(scope="module")
def wanted(lakes: tuple[Lake, Lake], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """The digests of the earlier and of the grown release."""
    root = tmp_path_factory.mktemp("wanted")
    for number, lake in enumerate(lakes):
        release(lake, root / str(number))
    return digests(root / "0"), digests(root / "1")


def exchanges(folder: Path) -> bool:
    """Whether folders can change names in one step here; if so, that they did."""
    for name in ("one", "other"):
        (folder / name / name).mkdir(parents=True)
    can = release_folder._exchange(folder / "one", folder / "other")
    assert (folder / "one" / ("other" if can else "one")).is_dir()
    return can


def stopped(lake: Lake, target: Path, exchange: str, moment: int, how: str) -> subprocess.CompletedProcess[str]:
    arguments = [lake.root, str(target), exchange, str(moment), how]
    return subprocess.run([sys.executable, "-c", _KILLED, *arguments], capture_output=True, text=True)


def moments(lake: Lake, target: Path, exchange: str) -> tuple[int, int]:
    """Of how many moments which is the first at which releases change places."""
    done = stopped(lake, target, exchange, 0, "kill")
    assert done.returncode == 0, done.stderr
    first, count = map(int, done.stdout.split())
    return first, count


@pytest.mark.parametrize("exchange", ["yes", "no"])
def test_a_kill_at_any_moment_leaves_a_release_and_the_next_run_leaves_it_alone_there(
    exchange: str, lakes: tuple[Lake, Lake], wanted: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "release"
    release(lakes[0], target)
    first, count = moments(lakes[1], target, exchange)
    at_once = exchange == "yes" and exchanges(tmp_path)
    states = []
    for moment in (1, *range(first - 1, first + 5), count):
        release(lakes[0], target)
        assert stopped(lakes[1], target, exchange, moment, "kill").returncode == -signal.SIGKILL
        states.append(digests(target) if target.exists() else {})
        assert states[-1] in (*wanted, {})
        assert states[-1] or not at_once
        refused = make_lake(tmp_path / f"refused{moment}", [[trial(0, 0, split="test"), trial(1, 0, split="train")]])
        with pytest.raises(PackageError, match="'group-0' has trials in"):
            release(refused, target)
        assert digests(target) == (states[-1] or wanted[0])
        release(lakes[1], target)
        assert digests(target) == wanted[1]
        assert [path.name for path in target.parent.iterdir()] == ["release"]
    assert states[0] == wanted[0]
    assert states[-1] == wanted[1]
    assert at_once or {} in states  # the moment between the two renames was among them


@pytest.mark.parametrize("exchange", ["yes", "no"])
def test_an_interrupt_while_releases_change_places_leaves_a_whole_one_at_once(
    exchange: str, lakes: tuple[Lake, Lake], wanted: tuple[dict[str, str], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "release"
    release(lakes[0], target)
    first, _ = moments(lakes[1], target, exchange)
    for moment in range(first, first + 4):
        release(lakes[0], target)
        assert "KeyboardInterrupt" in stopped(lakes[1], target, exchange, moment, "interrupt").stderr
        assert digests(target) in wanted
    release(lakes[1], target)
    assert [path.name for path in target.parent.iterdir()] == ["release"]


def test_two_packagers_do_not_collide(lakes: tuple[Lake, Lake], tmp_path: Path) -> None:
    work = tmp_path / ".release.packaging"
    (work / "buckets").mkdir(parents=True)
    descriptor = os.open(work, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(PackageError, match="another packager is at work on"):
        release(lakes[0], tmp_path / "release")
    assert (work / "buckets").exists()
    os.close(descriptor)
    release(lakes[0], tmp_path / "release")
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_link_to_a_release_stays_one(lakes: tuple[Lake, Lake], tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "release")
    for lake in lakes:
        release(lake, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "disk" / "release" / "manifest.json").read_bytes())["rows"] == 30


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, r"mine exists and is no release \(it has no manifest\.json\); move it away"),
        ("{oops", r"mine/manifest\.json is not JSON.*; move it away"),
        ('{"manifest_version": 3, "name": "An extension"}', r"mine/manifest\.json is not the manifest of a release"),
        ('{"schema_version": "1", "files": [3]}', r"mine/manifest\.json is not the manifest of a release"),
        ('["schema_version", "files"]', r"mine/manifest\.json is not the manifest of a release"),
    ],
)
def test_what_is_no_release_is_never_overwritten(
    manifest: str | None, message: str, lakes: tuple[Lake, Lake], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    if manifest is not None:
        (tmp_path / "mine" / "manifest.json").write_text(manifest)
    with pytest.raises(PackageError, match=message):
        release(lakes[0], tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["thesis.txt", "data/mine.parquet", "notes/thesis.txt", "empty/"])
def test_a_release_with_anything_of_yours_in_it_is_never_overwritten(
    name: str, lakes: tuple[Lake, Lake], tmp_path: Path
) -> None:
    target = tmp_path / "release"
    release(lakes[0], target)
    if name.endswith("/"):
        (target / name).mkdir()
    else:
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text("dear")
    before = digests(target)
    with pytest.raises(PackageError, match=rf"release/{name[:4]}.* is not part of the release .*move it away"):
        release(lakes[1], target)
    assert digests(target) == before
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_a_file_is_no_target(lakes: tuple[Lake, Lake], tmp_path: Path) -> None:
    (tmp_path / "release").write_text("dear")
    with pytest.raises(PackageError, match="is no folder; move it away"):
        release(lakes[0], tmp_path / "release")
    assert (tmp_path / "release").read_text() == "dear"
