%% pr 33 rebase rule-zones
%% landed 2021-11-08T10:50 tomas
%% title Zones with daylight-saving rules
%% commit 2021-11-04T21:03 jiho
Add Switch, the last Sunday of a month

%% file tidemark/zones.py
"""Time zones with daylight-saving rules, without a database."""

import calendar
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo


@dataclass(frozen=True)
class Switch:
    """The last Sunday of ``month`` at ``hour``, by the clock that is in force until then."""

    month: int
    hour: int

    def in_year(self, year):
        last = datetime(year, self.month, calendar.monthrange(year, self.month)[1], self.hour)
        return last - timedelta(days=(last.weekday() + 1) % 7)

%% file tests/test_zones.py
from datetime import datetime

from tidemark.zones import Switch


def test_last_sunday():
    assert Switch(3, 2).in_year(2021) == datetime(2021, 3, 28, 2)
    assert Switch(10, 3).in_year(2021) == datetime(2021, 10, 31, 3)

%% commit 2021-11-06T19:44 jiho
Add RuleZone

A tzinfo that knows when summer time begins and ends. Enough for the depots,
which are all in one country, and it needs no tzdata on the scanners.

%% append tidemark/zones.py
HOUR = timedelta(hours=1)


class RuleZone(tzinfo):
    """``offset`` from UTC in winter, an hour more from ``begins`` until ``ends``."""

    def __init__(self, name, offset, begins, ends):
        self.name, self.offset, self.begins, self.ends = name, offset, begins, ends

    def utcoffset(self, moment):
        return self.offset + self.dst(moment)

    def dst(self, moment):
        wall = moment.replace(tzinfo=None)
        summer = self.begins.in_year(wall.year) <= wall < self.ends.in_year(wall.year)
        return HOUR if summer else timedelta(0)

    def tzname(self, moment):
        return self.name

%% edit tests/test_zones.py
<<<<
from datetime import datetime

from tidemark.zones import Switch
====
from datetime import datetime, timedelta, timezone

from tidemark.zones import HOUR, RuleZone, Switch

WARSAW = RuleZone("Warsaw", HOUR, Switch(3, 2), Switch(10, 3))
>>>>
%% append tests/test_zones.py
def test_offsets():
    assert datetime(2021, 1, 15, 12, tzinfo=WARSAW).utcoffset() == HOUR
    assert datetime(2021, 7, 15, 12, tzinfo=WARSAW).utcoffset() == 2 * HOUR


def test_from_utc():
    noon = datetime(2021, 7, 15, 10, tzinfo=timezone.utc).astimezone(WARSAW)
    assert noon.replace(tzinfo=None) == datetime(2021, 7, 15, 12)

%% pr 34 squash largest-remainder
%% landed 2021-11-16T09:12 maren
%% title Spread every cent, and not one more
%% link fix_of 31 explicit_mention tests
%% commit 2021-11-15T17:30 casper
Spread every cent, and not one more

Fix spread() losing cents. #31 rounded each part for itself, so 100 over
three equal shares made 99, and 50 over four made 48. The parts are cut down
first, then the largest remainders get what is left.

%% edit tidemark/timesheet.py
<<<<
    whole = sum(shares)
    return [round(amount * share / whole) for share in shares]
====
    whole = sum(shares)
    parts = [amount * share // whole for share in shares]
    remainders = [amount * share % whole for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda index: -remainders[index])
    for index in by_remainder[: amount - sum(parts)]:
        parts[index] += 1
    return parts
>>>>
%% append tests/test_timesheet.py
def test_spread_loses_nothing():
    assert spread(100, [1, 1, 1]) == [34, 33, 33]
    assert sum(spread(50, [1, 1, 1, 1])) == 50
    assert sum(spread(-101, [3, 5, 9])) == -101

%% pr 35 squash unescape-in-one-pass
%% landed 2021-12-03T11:18 tomas
%% title Fix unescape for a backslash before an n
%% link fix_of 25 szz_only tests
%% commit 2021-12-02T20:20 rowan
Fix unescape for a backslash before an n

`C:\new` is written as `C:\\new`, and reading took the second backslash and
the n for a line break. One pass from left to right cannot do that.

%% edit tidemark/ics.py
<<<<
    for escaped, plain in (("\\n", "\n"), ("\\;", ";"), ("\\,", ","), ("\\\\", "\\")):
        text = text.replace(escaped, plain)
    return text
====
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], text)
>>>>
<<<<
from datetime import datetime

LIMIT = 75
====
import re
from datetime import datetime

LIMIT = 75
>>>>
%% append tests/test_ics.py
def test_unescape_is_the_inverse_of_escape():
    for text in ("C:\\new", "\\\\server\\north", "a\\;b", "two\nlines\\n"):
        assert unescape(escape(text)) == text

%% pr 36 closed use-dateutil
%% landed 2021-12-20T09:00 maren
%% title Use dateutil for zones and recurrence
%% commit 2021-12-05T13:11 rowan
Use dateutil for zones and recurrence

There is a well tested package for this.

%% edit pyproject.toml
<<<<
requires-python = ">=3.8"
====
requires-python = ">=3.8"
dependencies = ["python-dateutil>=2.8"]
>>>>
%% edit tidemark/recurrence.py
<<<<
import calendar
from dataclasses import dataclass
====
import calendar
from dateutil.relativedelta import relativedelta
from dataclasses import dataclass
>>>>
<<<<
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return day.replace(year=year, month=month + 1, day=min(day.day, last))
====
    return day + relativedelta(months=months)
>>>>

%% pr 38 squash fold-hour
%% landed 2021-12-14T10:36 tomas
%% title Tell the repeated hour from the first one
%% link regression_fix 33 sha_mention tests
%% commit 2021-12-13T22:45 jiho
Tell the repeated hour from the first one

Fix the hour in October that comes twice: 01:30 UTC turned into 02:30 summer
time, which is 00:30 UTC, so a night shift lost an hour in the round trip.
RuleZone has ignored `fold` since it was introduced in {sha12:33}.

%% edit tidemark/zones.py
<<<<
        wall = moment.replace(tzinfo=None)
        summer = self.begins.in_year(wall.year) <= wall < self.ends.in_year(wall.year)
        return HOUR if summer else timedelta(0)
====
        wall = moment.replace(tzinfo=None, fold=0)
        ends = self.ends.in_year(wall.year) - moment.fold * HOUR
        return HOUR if self.begins.in_year(wall.year) <= wall < ends else timedelta(0)

    def fromutc(self, moment):
        moment += self.offset
        wall = moment.replace(tzinfo=None)
        ends = self.ends.in_year(wall.year)
        if self.begins.in_year(wall.year) <= wall < ends - HOUR:
            return moment + HOUR
        return moment.replace(fold=int(ends - HOUR <= wall < ends))
>>>>
%% append tests/test_zones.py
def test_every_moment_of_the_night_comes_back():
    midnight = datetime(2021, 10, 30, 23, tzinfo=timezone.utc)
    for half_hours in range(12):
        moment = midnight + half_hours * timedelta(minutes=30)
        assert moment.astimezone(WARSAW).astimezone(timezone.utc) == moment
        assert moment.astimezone(WARSAW).utcoffset() == (2 if half_hours < 4 else 1) * HOUR

%% direct copyright-2022
%% commit 2022-01-03T09:00 maren
Update the copyright years

%% edit LICENSE
<<<<
Copyright (c) 2021 Maren Oyelaran and the tidemark contributors
====
Copyright (c) 2021-2022 Maren Oyelaran and the tidemark contributors
>>>>
