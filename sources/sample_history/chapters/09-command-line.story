%% pr 39 merge command-line
%% landed 2022-01-21T15:15 maren
%% title Command line
%% body
`python -m tidemark add 1h30m 45m` and `python -m tidemark workdays FROM TO`
for the people who now open a spreadsheet for that.
%% link in_pr 39.1>39.3 in_pr
%% commit 2022-01-12T18:25 tomas
Add a command line that adds durations

%% file tidemark/__main__.py
"""``python -m tidemark add 1h30m 45m``"""

import sys

from tidemark.cli import main

sys.exit(main())

%% file tidemark/cli.py
"""The command line."""

import argparse
from datetime import timedelta

from tidemark.durations import format_duration, parse_duration


def main(argv=None):
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="tidemark")
    commands = parser.add_subparsers(dest="command")
    add = commands.add_parser("add", help="add durations")
    add.add_argument("durations", nargs="+")
    options = parser.parse_args(argv)
    total = timedelta()
    for text in options.durations:
        total += parse_duration(text)
    print(format_duration(total))
    return 0

%% file tests/test_cli.py
from tidemark.cli import main


def test_add(capsys):
    assert main(["add", "1h30m", "45m"]) == 0
    assert capsys.readouterr().out == "2h 15m\n"

%% commit 2022-01-13T19:02 tomas
Count business days from the command line

%% edit tidemark/cli.py
<<<<
    options = parser.parse_args(argv)
    total = timedelta()
====
    workdays = commands.add_parser("workdays", help="count business days up to a date")
    workdays.add_argument("start", type=date.fromisoformat)
    workdays.add_argument("end", type=date.fromisoformat)
    workdays.add_argument("--holidays", metavar="FILE")
    options = parser.parse_args(argv)
    if options.command == "workdays":
        calendar = BusinessCalendar(load_holidays(options.holidays) if options.holidays else ())
        print(calendar.business_days_between(options.start, options.end))
        return 0
    total = timedelta()
>>>>
<<<<
from datetime import timedelta

from tidemark.durations import format_duration, parse_duration
====
from datetime import date, timedelta

from tidemark.calendars import BusinessCalendar
from tidemark.durations import format_duration, parse_duration
from tidemark.holidays import load_holidays
>>>>
%% append tests/test_cli.py
def test_workdays(capsys, tmp_path):
    holidays = tmp_path / "days.txt"
    holidays.write_text("2022-01-06 Epiphany\n")
    assert main(["workdays", "2022-01-03", "2022-01-10"]) == 0
    assert main(["workdays", "2022-01-03", "2022-01-10", "--holidays", str(holidays)]) == 0
    assert capsys.readouterr().out == "5\n4\n"

%% commit 2022-01-19T17:58 tomas
Address review: no command is an error, one line instead of a loop

Without a command it died with an AttributeError.

%% edit tidemark/cli.py
<<<<
    commands = parser.add_subparsers(dest="command")
====
    commands = parser.add_subparsers(dest="command", required=True)
>>>>
<<<<
    total = timedelta()
    for text in options.durations:
        total += parse_duration(text)
    print(format_duration(total))
    return 0
====
    print(format_duration(sum(map(parse_duration, options.durations), timedelta())))
    return 0
>>>>
%% edit tests/test_cli.py
<<<<
from tidemark.cli import main
====
import pytest

from tidemark.cli import main
>>>>
%% append tests/test_cli.py
def test_no_command():
    with pytest.raises(SystemExit):
        main([])

%% pr 37 squash first-moment
%% landed 2022-01-31T09:22 maren
%% title Find the first moment of an interval
%% link regression_fix 30 explicit_mention tests regression
%% commit 2022-01-28T19:02 ewa
Find the first moment of an interval

Fixes a regression from #30. `Interval(9, 9)` sorts before `Interval(9, 17)`,
so at nine sharp the bisection ended up one interval too early and the
booking was not found. Compare the starts alone.

%% edit tidemark/intervals.py
<<<<
        index = bisect_right(self._intervals, Interval(moment, moment)) - 1
        return index >= 0 and moment in self._intervals[index]
====
        index = bisect_right([interval.start for interval in self._intervals], moment) - 1
        return index >= 0 and moment in self._intervals[index]
>>>>
%% append tests/test_intervals.py
def test_set_holds_the_first_moment_of_each_interval():
    slots = IntervalSet([Interval(9, 12), Interval(13, 17)])
    assert [hour for hour in range(24) if hour in slots] == [9, 10, 11, 13, 14, 15, 16]

%% pr 40 squash pin-pytest
%% landed 2022-02-07T09:40 maren
%% title Pin pytest below 7 for now
%% decoy pin - a temporary pin is planned, not an error
%% commit 2022-02-07T09:31 ewa
Pin pytest below 7 for now

7.0 came out on Friday and the report plug-in we use is not ready.

%% edit requirements-dev.txt
<<<<
pytest==6.2.4
====
pytest>=6.2.4,<7
>>>>

%% pr 41 squash skip-whole-weeks
%% landed 2022-02-15T13:10 maren
%% title Skip whole weeks in add_business_days
%% commit 2022-02-14T16:16 jiho
Skip whole weeks in add_business_days

Due dates three years ahead took 700 steps. Now it is one jump and at most
four steps.

%% edit tidemark/calendars.py
<<<<
        while count > 0:
            day += ONE_DAY
====
        weeks, count = divmod(count, 7 - len(self.weekend))
        day += 7 * weeks * ONE_DAY
        while count > 0:
            day += ONE_DAY
>>>>
%% append tests/test_calendars.py
def test_add_many_business_days():
    assert BusinessCalendar().add_business_days(date(2022, 1, 3), 500) == date(2023, 12, 4)

%% direct revert-41
%% link revert 41 sha
%% commit 2022-02-17T18:59 maren
Revert "Skip whole weeks in add_business_days (#41)"

This reverts commit {sha:41}.

The jump ignores the holidays in the weeks it skips, and a start on a
Saturday may end on one. Dunning letters went out a day early.

%% undo 41

%% pr 42 squash negative-arguments
%% landed 2022-02-24T10:22 maren
%% title Accept negative durations as arguments
%% link follow_up 39 explicit_mention tests
%% commit 2022-02-23T21:47 tomas
Accept negative durations as arguments

Follow-up to #39: `tidemark add 2h -30m` died with "unrecognized arguments",
because argparse takes `-30m` for an option. A space in front hides the
dash from argparse and means nothing to the parser.

%% edit tidemark/cli.py
<<<<
    options = parser.parse_args(argv)
    if options.command == "workdays":
====
    arguments = sys.argv[1:] if argv is None else argv
    options = parser.parse_args([re.sub(r"^(?=-\s*\d)", " ", argument) for argument in arguments])
    if options.command == "workdays":
>>>>
<<<<
import argparse
====
import argparse
import re
import sys
>>>>
%% append tests/test_cli.py
def test_add_negative(capsys):
    assert main(["add", "2h", "-30m"]) == 0
    assert capsys.readouterr().out == "1h 30m\n"

%% pr 43 bors format-negative
%% landed 2022-03-02T08:50 tomas
%% title Format negative durations with one sign
%% link fix_of 4 explicit_mention tests
%% body
Fixes the other half of #4: parsing learnt about negative durations, and
formatting still wrote minus half an hour as `-1d 23h 30m`.
%% commit 2022-03-01T20:05 priya
Format negative durations with one sign

%% edit tidemark/durations.py
<<<<
    days, rest = divmod(round(value.total_seconds()), UNITS["d"])
====
    total = round(value.total_seconds())
    sign = "-" if total < 0 else ""
    days, rest = divmod(abs(total), UNITS["d"])
>>>>
<<<<
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
====
    return sign + " ".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
>>>>
%% append tests/test_durations.py
@pytest.mark.parametrize("seconds, text", [(-1800, "-30m"), (-90061, "-1d 1h 1m 1s"), (-0.2, "0s")])
def test_format_negative(seconds, text):
    assert format_duration(timedelta(seconds=seconds)) == text

%% pr 45 squash skip-whole-weeks-again
%% landed 2022-03-10T14:31 maren
%% title Reland "Skip whole weeks in add_business_days"
%% link reland 41 quoted_title tests
%% commit 2022-03-09T19:37 jiho
Reland "Skip whole weeks in add_business_days"

This relands #41, reverted in {sha:revert-41}. Holidays within the jump are
counted again, and the last day is always reached by a step, so it is a
business day wherever the count began.

%% edit tidemark/calendars.py
<<<<
        while count > 0:
            day += ONE_DAY
====
        per_week = 7 - len(self.weekend)
        while count > per_week:
            weeks = (count - 1) // per_week
            landing = day + 7 * weeks * ONE_DAY
            count -= weeks * per_week
            count += sum(day < free <= landing and free.weekday() not in self.weekend for free in self.holidays)
            day = landing
        while count > 0:
            day += ONE_DAY
>>>>
%% append tests/test_calendars.py
@pytest.mark.parametrize("start", [date(2021, 3, 26), date(2021, 3, 27), date(2021, 4, 5)])
def test_a_jump_is_as_good_as_steps(start):
    calendar = BusinessCalendar([EASTER_MONDAY, date(2021, 5, 3), date(2021, 5, 1)])
    day = start
    for count in range(1, 60):
        day = calendar.add_business_days(day, 1)
        assert calendar.add_business_days(start, count) == day
