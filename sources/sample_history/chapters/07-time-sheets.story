%% pr 30 squash bisect-moments
%% landed 2021-09-28T15:15 maren
%% title Look moments up by bisection
%% commit 2021-09-27T22:20 jiho
Look moments up by bisection

`moment in slots` walked over all bookings of the year for every minute of
the plan. The intervals are sorted, so let bisect find the one that counts.

%% edit tidemark/intervals.py
<<<<
        return any(moment in interval for interval in self._intervals)
====
        index = bisect_right(self._intervals, Interval(moment, moment)) - 1
        return index >= 0 and moment in self._intervals[index]
>>>>
<<<<
import heapq
====
import heapq
from bisect import bisect_right
>>>>

%% pr 31 merge timesheet base=29
%% landed 2021-10-04T10:40 maren
%% title Time sheets
%% body
Hours summed by project, and an amount of money spread over shares, for the
monthly invoice. Amounts are whole cents.
%% link in_pr 31.1>31.3 in_pr
%% commit 2021-09-24T16:20 casper
Sum hours by project

%% file tidemark/timesheet.py
"""Time sheets: entries summed by project and spread over cost centres."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta


@dataclass
class Entry:
    """Time spent on a project."""

    project: str
    spent: timedelta


def totals(entries):
    """Return the time spent by project, in the order in which the projects first appear."""
    sums = defaultdict(timedelta)
    for entry in entries:
        sums[entry.project] += entry.spent
    return sums

%% file tests/test_timesheet.py
from datetime import timedelta

from tidemark.timesheet import Entry, totals

HOUR = timedelta(hours=1)


def test_totals():
    entries = [Entry("dock", 2 * HOUR), Entry("crane", HOUR), Entry("dock", HOUR)]
    assert list(totals(entries).items()) == [("dock", 3 * HOUR), ("crane", HOUR)]

%% commit 2021-09-24T18:02 casper
Spread an amount over shares

%% append tidemark/timesheet.py
def spread(amount, shares):
    """Return ``amount``, a whole number of cents, in parts proportional to ``shares``."""
    whole = sum(shares)
    return [round(amount * share / whole) for share in shares]

%% edit tests/test_timesheet.py
<<<<
from tidemark.timesheet import Entry, totals
====
from tidemark.timesheet import Entry, spread, totals
>>>>
%% append tests/test_timesheet.py
def test_spread():
    assert spread(1000, [1, 1]) == [500, 500]
    assert spread(900, [2, 1]) == [600, 300]

%% commit 2021-09-30T15:37 casper
Address review: totals returns a plain dict

A defaultdict grows when somebody looks up a project that has no hours.

%% edit tidemark/timesheet.py
<<<<
    sums = defaultdict(timedelta)
    for entry in entries:
        sums[entry.project] += entry.spent
    return sums
====
    sums = {}
    for entry in entries:
        sums[entry.project] = sums.get(entry.project, timedelta()) + entry.spent
    return sums
>>>>
<<<<
from collections import defaultdict
from dataclasses import dataclass
====
from dataclasses import dataclass
>>>>

%% direct executable-tool
%% commit 2021-10-06T19:11 tomas
Script that checks the holiday files

%% file tools/check_holidays.py
#!/usr/bin/env python3
"""Reads every holiday file and prints how many days it holds."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tidemark.holidays import load_holidays  # noqa: E402

for path in sorted((ROOT / "data" / "holidays").glob("*.txt")):
    print(path.name, len(load_holidays(path)))

%% direct executable-bit
%% decoy mode_change executable-tool only the mode of the script changes
%% commit 2021-10-06T19:15 tomas
Make the script executable

%% exec tools/check_holidays.py

%% pr 32 squash frozen-holidays
%% landed 2021-10-13T09:58 maren
%% title Do not let holidays be changed behind the cache
%% link follow_up 20 explicit_mention tests
%% commit 2021-10-12T20:33 jiho
Do not let holidays be changed behind the cache

Follow-up to #20: `calendar.holidays.add(day)` is what our own planner does,
and it never reaches `add_holiday`, so the count stayed stale. The attribute
is a frozenset now, and the wrong way fails loudly.

%% edit tidemark/calendars.py
<<<<
        self.holidays = set(holidays)
====
        self.holidays = frozenset(holidays)
>>>>
<<<<
        self.holidays.add(day)
        self._between.clear()
====
        self.holidays |= {day}
        self._between.clear()
>>>>
%% append tests/test_calendars.py
def test_holidays_cannot_change_behind_the_cache():
    calendar = BusinessCalendar()
    with pytest.raises(AttributeError):
        calendar.holidays.add(EASTER_MONDAY)
    calendar.add_holiday(EASTER_MONDAY)
    assert EASTER_MONDAY in calendar.holidays
