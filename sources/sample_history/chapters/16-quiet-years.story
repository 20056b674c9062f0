%% direct release-0.5
%% tag v0.5.0
%% decoy changelog - the changelog names what was fixed without fixing it
%% commit 2023-09-25T09:30 maren
Release 0.5.0

%% edit CHANGELOG.md
<<<<
# Changes
====
# Changes

## 0.5.0 (2023-09-25)

- Python 3.9 is required
- Rules: yearly (#61, #64), and `until` is included (#67)
- Time sheets: by week (#72), by day (#73, #74), charging (#58, #66)
- Fixed: agendas and ties (#59), the last gap (#60), ISO years (#62),
  southern summers (#68), exit codes (#70)
>>>>
%% edit pyproject.toml
<<<<
version = "0.4.0"
====
version = "0.5.0"
>>>>

%% pr 75 squash dependabot/github_actions/actions/checkout-4
%% landed 2023-10-16T08:00 maren
%% title Bump actions/checkout from 2 to 4
%% decoy dependency_bump - a bump by a robot answers nobody
%% commit 2023-10-16T04:12 bot
Bump actions/checkout from 2 to 4

Bumps actions/checkout from 2 to 4.

Signed-off-by: dependabot[bot] <dependabot[bot]@users.example>

%% edit .github/workflows/tests.yml
<<<<
      - uses: actions/checkout@v2
====
      - uses: actions/checkout@v4
>>>>

%% direct move-holidays
%% decoy rename 19 the files only move
%% commit 2023-11-20T10:10 tomas
Move the holiday files to holidays/

%% rename data/holidays/pl.txt holidays/pl.txt
%% rename data/holidays/pt.txt holidays/pt.txt
%% edit tools/check_holidays.py
<<<<
for path in sorted((ROOT / "data" / "holidays").glob("*.txt")):
====
for path in sorted((ROOT / "holidays").glob("*.txt")):
>>>>

%% direct icon
%% decoy binary_file - a picture, nothing to mend
%% commit 2024-01-15T09:20 maren
Icon for the documentation

%% base64 docs/icon.png
iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6
kgAAAABJRU5ErkJggg==

%% direct copyright-2024
%% commit 2024-01-15T09:31 maren
Update the copyright years

%% edit LICENSE
<<<<
Copyright (c) 2021-2023 Maren Oyelaran and the tidemark contributors
====
Copyright (c) 2021-2024 Maren Oyelaran and the tidemark contributors
>>>>

%% pr 76 squash old-lists
%% landed 2024-02-19T10:34 tomas
%% title Read holiday files of the old planner
%% commit 2024-02-16T12:55 ewa
Read holiday files of the old planner

They are in Latin-1, and there are too many to convert. The encoding is a
parameter, UTF-8 unless somebody says otherwise.

%% edit tidemark/holidays.py
<<<<
def load_holidays(path):
    """Return the names by date from the file at ``path``."""
    with open(path, encoding="utf-8-sig") as file:
====
def load_holidays(path, encoding="utf-8-sig"):
    """Return the names by date from the file at ``path``."""
    with open(path, encoding=encoding) as file:
>>>>
%% file tests/data/planner.txt latin-1
# Feiertage, Ausfuhr aus dem alten Planer
2024-01-06 Heilige Drei Könige
2024-05-30 Fronleichnam
2024-08-15 Mariä Himmelfahrt

%% append tests/test_holidays.py
def test_old_planner():
    path = Path(__file__).parent / "data" / "planner.txt"
    assert load_holidays(path, "latin-1")[date(2024, 8, 15)] == "Mariä Himmelfahrt"

%% edit tests/test_holidays.py
<<<<
from datetime import date

import pytest
====
from datetime import date
from pathlib import Path

import pytest
>>>>

%% direct python-version
%% decoy no_final_newline - a file without a final newline
%% commit 2024-03-11T18:22 tomas
Say which Python we develop with

%% file .python-version bare
3.11

%% pr 77 squash tidy-readme
%% landed 2024-05-13T09:15 maren
%% title Show the agenda and the command line in the README
%% commit 2024-05-10T20:41 priya
Show the agenda and the command line in the README

%% edit README.md
<<<<
`tidemark.intervals` has half-open intervals and sets of them.
====
On the command line:

    $ python -m tidemark add 2h -30m
    1h 30m
    $ python -m tidemark workdays 2024-05-06 2024-05-13 --holidays holidays/pl.txt
    5

| module | what it knows |
| --- | --- |
| `durations` | `1h 30m`, there and back |
| `intervals` | half-open intervals, sets of them, gaps |
| `calendars`, `holidays`, `easter` | which days are worked |
| `recurrence`, `weeks` | what comes again, and how a week is called |
| `zones` | summer time without a database |
| `ics`, `agenda` | events, written, read and waiting |
| `timesheet` | hours by project, week and day, and who pays |
>>>>

%% pr 78 squash dependabot/pip/pytest-8
%% landed 2024-06-10T08:02 maren
%% title Update pytest requirement from >=7.1 to >=8.2
%% decoy dependency_bump - a bump by a robot answers nobody
%% commit 2024-06-10T04:10 bot
Update pytest requirement from >=7.1 to >=8.2

Updates the requirements on pytest to permit the latest version.

Signed-off-by: dependabot[bot] <dependabot[bot]@users.example>

%% edit requirements-dev.txt
<<<<
pytest>=7.1
====
pytest>=8.2
>>>>

%% pr 79 merge interval-difference
%% landed 2024-07-22T10:28 maren
%% title Difference of interval sets
%% body
`booked - paid`. Built on gaps, so it is as fast as they are for a handful of
intervals and no more than that.
%% commit 2024-07-18T18:03 ewa
Difference of interval sets

What is booked and not yet paid.

%% edit tidemark/intervals.py
<<<<
    def __or__(self, other):
====
    def __sub__(self, other):
        remaining = IntervalSet()
        for interval in self:
            remaining |= IntervalSet(other.gaps(interval))
        return remaining

    def __or__(self, other):
>>>>
%% append tests/test_intervals.py
def test_difference():
    booked = IntervalSet([Interval(0, 10), Interval(20, 30)])
    paid = IntervalSet([Interval(2, 4), Interval(8, 25)])
    assert list(booked - paid) == [Interval(0, 2), Interval(4, 8), Interval(25, 30)]

%% commit 2024-07-19T08:40 ewa
Mention the difference in the README

%% edit README.md
<<<<
| `intervals` | half-open intervals, sets of them, gaps |
====
| `intervals` | half-open intervals, sets of them, gaps and differences |
>>>>

%% direct newest
%% commit 2024-09-30T08:30 maren
Regenerate the Easter table up to 2030

%% edit tidemark/_easter_table.py
<<<<
    2028: (4, 16),
====
    2028: (4, 16),
    2029: (4, 1),
    2030: (4, 21),
>>>>
