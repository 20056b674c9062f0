%% pr 60 squash last-gap
%% landed 2022-10-10T09:44 maren
%% title Yield the last gap and stay within bounds
%% link follow_up 54 explicit_mention tests
%% commit 2022-10-07T18:20 ewa
Yield the last gap and stay within bounds

Follow-up to #54: the free time after the last booking was missing, and a
booking next week made a gap that reached out of the week asked for.

%% edit tidemark/intervals.py
<<<<
        for interval in self:
            if position < interval.start:
                yield Interval(position, interval.start)
            position = max(position, interval.end)
====
        for interval in self:
            if within.end <= interval.start:
                break
            if position < interval.start:
                yield Interval(position, interval.start)
            position = max(position, interval.end)
        if position < within.end:
            yield Interval(position, within.end)
>>>>
%% append tests/test_intervals.py
def test_gaps_reach_the_bounds_and_no_further():
    taken = IntervalSet([Interval(2, 4), Interval(20, 22)])
    assert list(taken.gaps(Interval(0, 10))) == [Interval(0, 2), Interval(4, 10)]
    assert list(IntervalSet().gaps(Interval(0, 10))) == [Interval(0, 10)]

%% direct free-days-added
%% link regression_fix 52 sha_mention tests regression
%% commit 2022-10-21T20:41 jiho
Fix jumps over holidays that were added later

A regression introduced by {sha12:52}: the holidays on working days are
picked once, and add_holiday did not pick again. My fault, and it is the
second time that this class keeps something too long, so the one place that
changes the holidays now computes all that depends on them.

%% edit tidemark/calendars.py
<<<<
        self._free = [day for day in self.holidays if day.weekday() not in self.weekend]
====
        self._pick_free_days()
>>>>
<<<<
        self._between.clear()
====
        self._pick_free_days()

    def _pick_free_days(self):
        self._between.clear()
        self._free = [day for day in self.holidays if day.weekday() not in self.weekend]
>>>>
%% append tests/test_calendars.py
def test_a_jump_knows_holidays_that_were_added():
    calendar = BusinessCalendar()
    calendar.add_holiday(EASTER_MONDAY)
    assert calendar.add_business_days(date(2021, 4, 1), 10) == date(2021, 4, 16)

%% pr 61 merge yearly-rules
%% landed 2022-11-14T14:30 maren
%% title Yearly rules and weekdays
%% body
Inspections come every five years, and some things only happen on certain
weekdays. `on_weekdays` takes any dates, so it goes with every rule.
%% link in_pr 61.2>61.3 in_pr
%% commit 2022-11-07T19:33 priya
Add yearly recurrence

%% edit tidemark/recurrence.py
<<<<
UNITS = ("day", "week", "month")
====
UNITS = ("day", "week", "month", "year")
>>>>
<<<<
            return add_months(start, units)
====
            return add_months(start, units)
        if self.unit == "year":
            return start.replace(year=start.year + units)
>>>>
%% append tests/test_recurrence.py
def test_yearly():
    assert first(Rule("year", 5), date(2022, 11, 7), 3)[2] == date(2032, 11, 7)

%% commit 2022-11-08T20:02 priya
Add on_weekdays

%% append tidemark/recurrence.py
def on_weekdays(days, weekdays):
    """Yield those of ``days`` that fall on one of ``weekdays``, Monday is 0."""
    return [day for day in days if day.weekday() in weekdays]

%% edit tests/test_recurrence.py
<<<<
from tidemark.recurrence import Rule
====
from tidemark.recurrence import Rule, on_weekdays
>>>>
%% append tests/test_recurrence.py
def test_on_weekdays():
    days = Rule("day", until=date(2022, 11, 14)).occurrences(date(2022, 11, 7))
    assert list(on_weekdays(days, {1, 3})) == [date(2022, 11, 8), date(2022, 11, 10)]

%% commit 2022-11-11T17:26 priya
Address review: on_weekdays must not wait for the end of an endless rule

%% edit tidemark/recurrence.py
<<<<
    return [day for day in days if day.weekday() in weekdays]
====
    return (day for day in days if day.weekday() in weekdays)
>>>>
%% append tests/test_recurrence.py
def test_on_weekdays_of_an_endless_rule():
    tuesdays = on_weekdays(Rule("day").occurrences(date(2022, 11, 7)), {1})
    assert next(tuesdays) == date(2022, 11, 8)

%% pr 62 squash iso-years
%% landed 2023-01-09T08:40 maren
%% title Label weeks with the year they belong to
%% link regression_fix 48 sha_mention tests
%% commit 2023-01-02T11:07 casper
Label weeks with the year they belong to

New Year's Day 2023 was filed under 2023-W52, behind everything else of the
year. The format introduced in {sha12:48} mixes the calendar year with the
ISO week, which is wrong for a few days each January and December.

%% edit tidemark/weeks.py
<<<<
    return day.strftime("%Y-W%V")
====
    return day.strftime("%G-W%V")
>>>>
%% append tests/test_weeks.py
def test_week_belongs_to_its_iso_year():
    assert week_label(date(2023, 1, 1)) == "2022-W52"
    assert week_label(date(2024, 12, 30)) == "2025-W01"

%% direct copyright-2023
%% commit 2023-01-09T08:52 maren
Update the copyright years

%% edit LICENSE
<<<<
Copyright (c) 2021-2022 Maren Oyelaran and the tidemark contributors
====
Copyright (c) 2021-2023 Maren Oyelaran and the tidemark contributors
>>>>

%% pr 64 merge leap-years
%% landed 2023-02-13T10:17 maren
%% title Yearly rules from 29 February
%% body
The certificate of 29 February 2020 took the whole schedule down. In years
without that day the 28th is used, as for months.
%% link regression_fix 61 explicit_mention tests
%% commit 2023-02-10T21:14 ewa
Fix yearly rules from 29 February

Broken in #61: the second occurrence raised ValueError. A year is twelve
months, and months know what to do with a day that does not exist.

%% edit tidemark/recurrence.py
<<<<
            return start.replace(year=start.year + units)
====
            return add_months(start, 12 * units)
>>>>
%% append tests/test_recurrence.py
def test_leap_day_comes_back_every_fourth_year():
    days = first(Rule("year"), date(2020, 2, 29), 5)
    assert [day.day for day in days] == [29, 28, 28, 28, 29]

%% pr 63 closed leap-day-rule base=copyright-2023
%% landed 2023-02-20T09:00 maren
%% title Yearly rules on leap days
%% decoy duplicate 64 the same change again, closed as a duplicate; it is no correction
%% commit 2023-02-12T15:31 rowan
Yearly rules on leap days

%% edit tidemark/recurrence.py
<<<<
            return start.replace(year=start.year + units)
====
            return add_months(start, 12 * units)
>>>>
%% append tests/test_recurrence.py
def test_leap_day_comes_back_every_fourth_year():
    days = first(Rule("year"), date(2020, 2, 29), 5)
    assert [day.day for day in days] == [29, 28, 28, 28, 29]

%% pr 65 squash easter
%% landed 2023-03-06T09:27 maren
%% title Easter from a table
%% commit 2023-03-03T17:08 tomas
Easter from a table

Two of our calendars need it, and a table is easier to check than the
formula.

%% file tools/make_easter_table.py exec
#!/usr/bin/env python3
"""Writes tidemark/_easter_table.py; give it the first and the last year."""

import sys


def easter(year):
    """Month and day of Easter Sunday, by the anonymous Gregorian computus."""
    a, (b, c) = year % 19, divmod(year, 100)
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    l = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 19 * l) // 433
    month = (h + l - 7 * m + 90) // 25
    return month, (h + l - 7 * m + 33 * month + 19) % 32


print("# Generated by tools/make_easter_table.py, do not edit.")
print("EASTER = {")
for year in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
    print(f"    {year}: {easter(year)},")
print("}")

%% file tidemark/_easter_table.py
# Generated by tools/make_easter_table.py, do not edit.
EASTER = {
    2021: (4, 4),
    2022: (4, 17),
    2023: (4, 9),
    2024: (3, 31),
}

%% file tidemark/easter.py
"""Easter and the days that hang on it."""

from datetime import date, timedelta

from tidemark._easter_table import EASTER


def easter_sunday(year):
    """Return Easter Sunday; raises KeyError outside the table."""
    return date(year, *EASTER[year])


def easter_monday(year):
    return easter_sunday(year) + timedelta(days=1)

%% file tests/test_easter.py
from datetime import date

from tidemark.easter import easter_monday, easter_sunday


def test_easter():
    assert easter_sunday(2024) == date(2024, 3, 31)
    assert easter_monday(2024) == date(2024, 4, 1)
