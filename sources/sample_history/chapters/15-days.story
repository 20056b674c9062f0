%% pr 70 squash usage-errors
%% landed 2023-07-10T10:12 tomas
%% title Refuse bad input with one line instead of a traceback
%% link fix_of 39 explicit_mention tests
%% commit 2023-07-07T18:40 tomas
Refuse bad input with one line instead of a traceback

Fixes what #39 forgot: `tidemark add 1x` ended in a traceback and exit code
1, which the nightly job cannot tell from a crash. It is 2 now, as for every
other wrong argument.

%% edit tidemark/cli.py
<<<<
    print(format_duration(sum(map(parse_duration, options.durations), timedelta())))
    return 0
====
    try:
        total = sum(map(parse_duration, options.durations), timedelta())
    except ValueError as error:
        parser.error(str(error))
    print(format_duration(total))
    return 0
>>>>
%% append tests/test_cli.py
def test_bad_duration_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["add", "1x"])
    assert caught.value.code == 2
    assert "not a duration: '1x'" in capsys.readouterr().err

%% pr 71 closed asyncio-agenda
%% landed 2023-07-24T09:00 maren
%% title Asynchronous agenda
%% commit 2023-07-12T23:55 rowan
Asynchronous agenda

%% append tidemark/agenda.py
    async def wait(self, clock):
        """Return the next event once its time has come."""
        while not self._heap or clock() < self._heap[0][0]:
            await asyncio.sleep(1)
        return self.pop()

%% edit tidemark/agenda.py
<<<<
import heapq
====
import asyncio
import heapq
>>>>

%% pr 72 merge weekly-hours
%% landed 2023-08-14T13:40 maren
%% title Hours by week
%% body
The works council wants weekly sums. An entry may have a day now; those from
the old system have none.
%% link in_pr 72.1>72.2 in_pr
%% commit 2023-08-07T16:02 casper
Sum hours by week

%% edit tidemark/timesheet.py
<<<<
    project: str
    spent: timedelta
====
    project: str
    spent: timedelta
    day: Optional[date] = None
>>>>
<<<<
from datetime import timedelta
====
from datetime import date, timedelta
from typing import Optional

from tidemark.weeks import week_label
>>>>
%% append tidemark/timesheet.py
def by_week(entries):
    """Return the time spent by ISO week."""
    sums = {}
    for entry in sorted(entries, key=lambda entry: entry.day):
        week = week_label(entry.day)
        sums[week] = sums.get(week, timedelta()) + entry.spent
    return sums

%% edit tests/test_timesheet.py
<<<<
from datetime import timedelta

from tidemark.timesheet import Entry, by_project, spread
====
from datetime import date, timedelta

from tidemark.timesheet import Entry, by_project, by_week, spread
>>>>
%% append tests/test_timesheet.py
def test_by_week():
    entries = [Entry("dock", HOUR, date(2023, 1, 2)), Entry("dock", HOUR, date(2023, 1, 1))]
    assert by_week(entries) == {"2022-W52": HOUR, "2023-W01": HOUR}

%% commit 2023-08-10T17:30 casper
Address review: entries without a day must not break the week's sum

%% edit tidemark/timesheet.py
<<<<
    """Return the time spent by ISO week."""
    sums = {}
    for entry in sorted(entries, key=lambda entry: entry.day):
        week = week_label(entry.day)
====
    """Return the time spent by ISO week, and under None what has no day."""
    sums = {}
    for entry in sorted(entries, key=lambda entry: entry.day or date.min):
        week = week_label(entry.day) if entry.day else None
>>>>
%% append tests/test_timesheet.py
def test_by_week_without_a_day():
    assert by_week([Entry("dock", HOUR), Entry("dock", HOUR, date(2023, 1, 2))]) == {None: HOUR, "2023-W01": HOUR}

%% pr 73 squash by-day
%% landed 2023-09-04T09:50 maren
%% title Cut a span of time into days
%% commit 2023-09-01T16:44 casper
Cut a span of time into days

%% append tidemark/timesheet.py
def by_day(start, end):
    """Return the time from ``start`` to ``end`` by the day it falls on."""
    sums = {}
    while start < end:
        midnight = datetime.combine(start.date() + timedelta(days=1), time())
        sums[start.date()] = min(end, midnight) - start
        start = midnight
    return sums

%% edit tidemark/timesheet.py
<<<<
from datetime import date, timedelta
====
from datetime import date, datetime, time, timedelta
>>>>
%% edit tests/test_timesheet.py
<<<<
from datetime import date, timedelta

from tidemark.timesheet import Entry, by_project, by_week, spread
====
from datetime import date, datetime, timedelta

from tidemark.timesheet import Entry, by_day, by_project, by_week, spread
>>>>
%% append tests/test_timesheet.py
def test_night_shift_belongs_to_two_days():
    night = by_day(datetime(2023, 9, 1, 22), datetime(2023, 9, 2, 6))
    assert night == {date(2023, 9, 1): 2 * HOUR, date(2023, 9, 2): 6 * HOUR}

%% pr 74 squash real-hours
%% landed 2023-09-18T10:05 maren
%% title Count real hours when the clock changes
%% link fix_of 73 explicit_mention tests
%% commit 2023-09-15T21:18 jiho
Count real hours when the clock changes

Fixes by_day for moments in a zone, which #73 could not compare with its
naive midnight at all. The night in March has seven hours and is paid as
seven, so the difference is taken in UTC.

%% edit tidemark/timesheet.py
<<<<
        midnight = datetime.combine(start.date() + timedelta(days=1), time())
        sums[start.date()] = min(end, midnight) - start
        start = midnight
    return sums
====
        midnight = datetime.combine(start.date() + timedelta(days=1), time(), start.tzinfo)
        stop = min(end, midnight)
        sums[start.date()] = stop - start + _offset(start) - _offset(stop)
        start = midnight
    return sums


def _offset(moment):
    return moment.utcoffset() or timedelta()
>>>>
%% file tests/test_clock_change.py
from datetime import date, datetime

from tidemark.timesheet import by_day
from tidemark.zones import HOUR, RuleZone, Switch

WARSAW = RuleZone("Warsaw", HOUR, Switch(3, 2), Switch(10, 3))


def test_the_short_night_in_march():
    night = by_day(datetime(2023, 3, 25, 22, tzinfo=WARSAW), datetime(2023, 3, 26, 6, tzinfo=WARSAW))
    assert night == {date(2023, 3, 25): 2 * HOUR, date(2023, 3, 26): 5 * HOUR}


def test_the_long_night_in_october():
    night = by_day(datetime(2023, 10, 28, 22, tzinfo=WARSAW), datetime(2023, 10, 29, 6, tzinfo=WARSAW))
    assert night == {date(2023, 10, 28): 2 * HOUR, date(2023, 10, 29): 7 * HOUR}
