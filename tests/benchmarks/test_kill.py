from pathlib import Path

from benchmarks.kill import _TOML, differing_bytes
from flows.path import read_path


def test_the_path_that_is_killed_can_be_configured(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(_TOML.replace("{folder}", str(tmp_path)).replace("{repo}", "some/repo"))
    sections = [step.section for step in read_path(file).steps]
    assert sections == ["mine", "verify", "synth", "synth", "filter", "package", "cpt"]


def test_bytes_that_differ_or_are_missing_are_counted() -> None:
    assert differing_bytes({"a": b"same", "b": b"xyz"}, {"a": b"same", "b": b"xyz"}) == 0
    assert differing_bytes({"a": b"abc"}, {"a": b"abd"}) == 1
    assert differing_bytes({"a": b"abc"}, {"a": b"ab"}) == 1
    assert differing_bytes({"a": b"abc"}, {"b": b"abc"}) == 6
