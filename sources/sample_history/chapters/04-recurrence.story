%% pr 13 merge recurrence base=11
%% landed 2021-05-03T09:45 maren
%% title Recurring dates
%% body
`Rule("month").occurrences(start)` yields dates for ever, or until a date.
Days, weeks and months; years can wait.
%% link in_pr 13.1>13.2 in_pr
%% commit 2021-04-14T20:20 priya
Add Rule for daily and weekly recurrence

%% file tidemark/recurrence.py
"""Dates that come again: every so many days, weeks or months."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Optional


@dataclass(frozen=True)
class Rule:
    """Every ``every`` units, from a start up to ``until``."""

    unit: str
    every: int = 1
    until: Optional[date] = None

    def occurrences(self, start):
        """Yield ``start`` and the dates that follow it, endlessly where there is no ``until``."""
        current = start
        while self.until is None or current < self.until:
            yield current
            current = self._next(current)

    def _next(self, current):
        if self.unit == "day":
            return current + timedelta(days=self.every)
        return current + timedelta(weeks=self.every)

%% file tests/test_recurrence.py
from datetime import date
from itertools import islice

import pytest

from tidemark.recurrence import Rule


def first(rule, start, count):
    return list(islice(rule.occurrences(start), count))


def test_every_second_day():
    start = date(2021, 2, 27)
    assert first(Rule("day", 2), start, 3) == [start, date(2021, 3, 1), date(2021, 3, 3)]


def test_weekly_until():
    rule = Rule("week", until=date(2021, 5, 20))
    assert list(rule.occurrences(date(2021, 5, 3))) == [date(2021, 5, 3), date(2021, 5, 10), date(2021, 5, 17)]

%% commit 2021-04-27T21:33 priya
fixup! Add Rule for daily and weekly recurrence

Maren is right that `Rule("weeks")` must not silently mean a week, and that
`every=0` never ends.

%% edit tidemark/recurrence.py
<<<<
    def occurrences(self, start):
====
    def __post_init__(self):
        if self.unit not in UNITS:
            raise ValueError(f"unit {self.unit!r}; known are {', '.join(UNITS)}")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")

    def occurrences(self, start):
>>>>
<<<<
from typing import Optional
====
from typing import Optional

UNITS = ("day", "week")
>>>>
<<<<
        if self.unit == "day":
            return current + timedelta(days=self.every)
        return current + timedelta(weeks=self.every)
====
        return current + timedelta(**{self.unit + "s": self.every})
>>>>
%% append tests/test_recurrence.py
@pytest.mark.parametrize("unit, every", [("weeks", 1), ("day", 0), ("day", -1)])
def test_senseless_rules(unit, every):
    with pytest.raises(ValueError):
        Rule(unit, every)

%% commit 2021-04-30T18:06 priya
Add monthly recurrence

A month that is too short takes its last day.

%% edit tidemark/recurrence.py
<<<<
UNITS = ("day", "week")
====
UNITS = ("day", "week", "month")
>>>>
<<<<
from dataclasses import dataclass
====
import calendar
from dataclasses import dataclass
>>>>
<<<<
        return current + timedelta(**{self.unit + "s": self.every})
====
        if self.unit == "month":
            return add_months(current, self.every)
        return current + timedelta(**{self.unit + "s": self.every})


def add_months(day, months):
    """Return the same day of a later month, or that month's last day where it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(day.day, last))
>>>>
%% append tests/test_recurrence.py
def test_monthly_over_the_end_of_the_year():
    start = date(2021, 11, 15)
    assert first(Rule("month"), start, 3) == [start, date(2021, 12, 15), date(2022, 1, 15)]


def test_short_month_takes_its_last_day():
    assert first(Rule("month"), date(2021, 1, 31), 2)[1] == date(2021, 2, 28)

%% direct release-0.1
%% tag v0.1.0
%% decoy changelog - the changelog names #7, #9, #11 and #14 without answering them
%% commit 2021-05-04T08:30 maren
Release 0.1.0

%% file CHANGELOG.md
# Changes

## 0.1.0 (2021-05-04)

- Durations: parse, format, negative ones (#4, #7, #9)
- Intervals and sets of intervals (#2, #5, #11, #14)
- Business calendars (#8) and recurring dates (#13)

%% edit pyproject.toml
<<<<
version = "0.0.1"
====
version = "0.1.0"
>>>>

%% pr 15 squash dependabot/pip/pytest-6.2.4
%% landed 2021-05-10T08:01 maren
%% title Bump pytest from 6.2.2 to 6.2.4
%% decoy dependency_bump - a bump by a robot answers nobody
%% commit 2021-05-10T04:15 bot
Bump pytest from 6.2.2 to 6.2.4

Bumps pytest from 6.2.2 to 6.2.4.

Signed-off-by: dependabot[bot] <dependabot[bot]@users.example>

%% edit requirements-dev.txt
<<<<
pytest==6.2.2
====
pytest==6.2.4
>>>>

%% pr 16 squash cache-business-days
%% landed 2021-05-19T14:44 maren
%% title Cache business-day counts
%% commit 2021-05-18T17:21 jiho
Cache business-day counts

Invoices ask for the same ranges over and over. The report for 2020 takes
1.1 s instead of 14 s.

%% edit tidemark/calendars.py
<<<<
            raise ValueError("a calendar needs at least one working weekday")
====
            raise ValueError("a calendar needs at least one working weekday")
        self._between = {}
>>>>
<<<<
        days = (end - start).days
        return sum(self.is_business_day(start + n * ONE_DAY) for n in range(days))
====
        if (start, end) not in self._between:
            days = (end - start).days
            self._between[start, end] = sum(self.is_business_day(start + n * ONE_DAY) for n in range(days))
        return self._between[start, end]
>>>>

%% pr 18 squash revert-16-cache-business-days
%% landed 2021-05-27T08:12 maren
%% title Revert "Cache business-day counts"
%% link revert 16 quoted_title
%% body
Reverts #16

Counts stay what they were when a holiday is added later (#17). Payroll runs
on Monday, so out it goes; happy to have it back with a test for that.
%% commit 2021-05-27T08:10 maren
Revert "Cache business-day counts"

%% undo 16
