from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from pipeline.config import ConfigError, build, load, merge
from pipeline.docs import field_docs


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    repo: str
    """Where the history is."""
    rate: float = 0.5
    """A share."""
    names: tuple[str, ...] = ()
    mode: Literal["fast", "slow"] = "fast"
    limit: int | None = None
    args: Mapping[str, int] = field(default_factory=dict)
    inner: Inner = Inner()

    def __post_init__(self) -> None:
        if self.rate > 1:
            raise ValueError(f"rate {self.rate} is above 1")


def test_a_table_becomes_a_dataclass() -> None:
    table = {"repo": "x", "rate": 1, "names": ["a", "b"], "limit": 3, "args": {"k": 4}, "inner": {"depth": 2}}
    assert build(Example, table, "example") == Example(
        repo="x", rate=1.0, names=("a", "b"), limit=3, args={"k": 4}, inner=Inner(depth=2)
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r"\[example\] needs 'repo' \(str\)"),
        ({"repo": "x", "rat": 1}, r"\[example\] has no key 'rat'; did you mean 'rate'\?"),
        ({"repo": 3}, r"\[example\] repo = 3 is a int; it takes str"),
        ({"repo": "x", "rate": True}, r"rate = True is a bool; it takes float"),
        ({"repo": "x", "mode": "slwo"}, r"mode = 'slwo'; did you mean 'slow'\?"),
        ({"repo": "x", "names": [1]}, r"names\[0\] = 1 is a int; it takes str"),
        ({"repo": "x", "inner": {"dept": 1}}, r"\[\[example\] inner\] has no key 'dept'"),
        ({"repo": "x", "rate": 2.0}, r"\[example\] rate 2.0 is above 1"),
    ],
)
def test_a_bad_value_is_named_with_the_remedy(table: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(Example, table, "example")


def test_an_unknown_section_is_named(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[mien]\nrepo = 'x'\n")
    with pytest.raises(ConfigError, match=r"unknown section \[mien\]; did you mean 'mine'\?"):
        load(file, {"mine", "filter"})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist; `retrial init` writes one"):
        load(tmp_path / "none.toml", {"mine"})
    (tmp_path / "bad.toml").write_text("[mine\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "bad.toml", {"mine"})


def test_a_nested_table_is_merged_and_every_other_value_replaced() -> None:
    table = {"data": {"stage": "trials", "render": {"format": "chat", "weight": 1}}, "names": ["a"], "k": {"x": 1}}
    over = {"data": {"render": {"weight": 2}}, "names": ["b"], "k": 3}
    merged = merge(table, over)
    assert merged == {"data": {"stage": "trials", "render": {"format": "chat", "weight": 2}}, "names": ["b"], "k": 3}
    assert table["data"] == {"stage": "trials", "render": {"format": "chat", "weight": 1}}


def test_docstrings_under_fields_are_found() -> None:
    assert field_docs(Example) == {"repo": "Where the history is.", "rate": "A share."}
