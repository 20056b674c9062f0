%% direct start
%% tag v0.0.1
%% commit 2021-02-01T09:12 maren
Start tidemark with a duration parser

We have three copies of this function in three services and they disagree
about whitespace. One of them goes here, with tests.

%% file LICENSE
MIT License

Copyright (c) 2021 Maren Oyelaran and the tidemark contributors

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

%% file README.md
# tidemark

Durations, intervals, business calendars and recurring events in plain Python,
without dependencies.

```python
>>> from tidemark.durations import parse_duration
>>> parse_duration("1h30m")
datetime.timedelta(seconds=5400)
```

%% file pyproject.toml
[build-system]
requires = ["setuptools>=61"]
build-backend = "setuptools.build_meta"

[project]
name = "tidemark"
version = "0.0.1"
description = "Durations, intervals, business calendars and recurring events"
license = { text = "MIT" }
requires-python = ">=3.8"

[tool.setuptools]
packages = ["tidemark"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]

%% file tidemark/__init__.py
"""Durations, intervals, business calendars and recurring events."""

%% file tidemark/durations.py
"""Durations as people write them: ``1h30m``, ``90s``, ``2d``."""

import re
from datetime import timedelta

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([dhms])\s*")


def parse_duration(text):
    """Return the timedelta that ``text`` spells out."""
    position, seconds = 0, 0.0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            raise ValueError(f"not a duration: {text!r}")
        seconds += float(match.group(1)) * UNITS[match.group(2)]
        position = match.end()
    if position == 0:
        raise ValueError("empty duration")
    return timedelta(seconds=seconds)

%% file tests/test_durations.py
from datetime import timedelta

import pytest

from tidemark.durations import parse_duration


@pytest.mark.parametrize(
    "text, seconds",
    [("90s", 90), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400), (" 1h 30m ", 5400)],
)
def test_parse(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "12", "1h30", "one hour"])
def test_parse_rejects(text):
    with pytest.raises(ValueError):
        parse_duration(text)

%% direct ci
%% commit 2021-02-01T17:40 maren
Run the tests on every push

%% file .github/workflows/tests.yml
name: tests
on: [push, pull_request]
jobs:
  pytest:
    runs-on: ubuntu-20.04
    strategy:
      matrix:
        python: ["3.8", "3.9"]
    steps:
      - uses: actions/checkout@v2
      - uses: actions/setup-python@v2
        with:
          python-version: ${{ matrix.python }}
      - run: pip install -r requirements-dev.txt
      - run: python -m pytest -q

%% file requirements-dev.txt
pytest==6.2.2

%% file .gitignore
__pycache__/
*.egg-info/
build/
dist/

%% pr 1 squash format-duration
%% landed 2021-02-05T10:31 maren
%% title Add format_duration
%% commit 2021-02-04T16:05 casper
Add format_duration

The inverse of parse_duration, for log lines. Rounds to whole seconds.

%% edit tidemark/durations.py
<<<<
    return timedelta(seconds=seconds)
====
    return timedelta(seconds=seconds)


def format_duration(value):
    """Return ``value`` as text, to the second: ``1h 30m``."""
    days, rest = divmod(value.total_seconds(), UNITS["d"])
    hours, rest = divmod(rest, UNITS["h"])
    minutes, seconds = divmod(rest, UNITS["m"])
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (round(seconds), "s")]
    return " ".join(f"{int(count)}{unit}" for count, unit in parts if count) or "0s"
>>>>
%% edit tests/test_durations.py
<<<<
from tidemark.durations import parse_duration
====
from tidemark.durations import format_duration, parse_duration
>>>>
%% append tests/test_durations.py
@pytest.mark.parametrize(
    "seconds, text", [(0, "0s"), (59, "59s"), (5400, "1h 30m"), (90061, "1d 1h 1m 1s"), (1.2, "1s")]
)
def test_format(seconds, text):
    assert format_duration(timedelta(seconds=seconds)) == text

%% pr 2 merge intervals
%% landed 2021-02-12T11:02 maren
%% title Half-open intervals
%% body
An interval type for shifts and berths. Half-open throughout: a shift that
ends at noon and one that begins at noon do not overlap.
%% commit 2021-02-09T20:14 ewa
Add Interval

Half-open, so that two shifts that follow each other do not overlap.

%% file tidemark/intervals.py
"""Half-open intervals of anything that can be ordered and subtracted."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Interval:
    """From ``start`` up to, but not including, ``end``."""

    start: object
    end: object

    def __post_init__(self):
        if self.end < self.start:
            raise ValueError(f"interval ends before it starts: {self.start} > {self.end}")

    def __contains__(self, moment):
        return self.start <= moment < self.end

    @property
    def length(self):
        return self.end - self.start

    def overlaps(self, other):
        return self.start < other.end and other.start < self.end

%% file tests/test_intervals.py
import pytest

from tidemark.intervals import Interval


def test_contains_is_half_open():
    shift = Interval(9, 17)
    assert 9 in shift
    assert 17 not in shift


def test_neighbours_do_not_overlap():
    assert not Interval(9, 12).overlaps(Interval(12, 17))
    assert Interval(9, 13).overlaps(Interval(12, 17))


def test_backwards_interval_is_an_error():
    with pytest.raises(ValueError):
        Interval(17, 9)

%% commit 2021-02-10T21:40 ewa
Add Interval.intersection

%% append tidemark/intervals.py
    def intersection(self, other):
        """Return the common part, or None where there is none."""
        if not self.overlaps(other):
            return None
        return Interval(max(self.start, other.start), min(self.end, other.end))

%% append tests/test_intervals.py
def test_intersection():
    assert Interval(1, 5).intersection(Interval(3, 9)) == Interval(3, 5)
    assert Interval(1, 3).intersection(Interval(3, 9)) is None

%% pr 4 squash negative-durations
%% landed 2021-02-18T09:20 maren
%% title Accept negative durations
%% decoy issue_reference - Fixes #3 names an issue, not an attempt
%% commit 2021-02-17T22:10 tomas
Accept negative durations

Time sheets are corrected with entries such as `-90s`.

Fixes #3.

%% edit tidemark/durations.py
<<<<
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([dhms])\s*")
====
_PART = re.compile(r"\s*([+-]?\d+(?:\.\d+)?)\s*([dhms])\s*")
>>>>
%% edit tests/test_durations.py
<<<<
    [("90s", 90), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400), (" 1h 30m ", 5400)],
====
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("2d", 172800),
        ("1.5h", 5400),
        (" 1h 30m ", 5400),
        ("-90s", -90),
        ("+2h", 7200),
    ],
>>>>
