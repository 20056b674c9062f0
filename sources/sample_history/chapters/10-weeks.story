%% pr 46 squash negative-business-days
%% landed 2022-03-22T11:44 maren
%% title Subtract business days
%% link fix_of 8 explicit_mention tests
%% commit 2022-03-21T20:20 casper
Subtract business days

Fixes add_business_days for negative counts, which the loop from #8 silently
ignored: the reminder for an invoice was due on the due date itself.

%% edit tidemark/calendars.py
<<<<
        """Return the day that is ``count`` business days after ``day``."""
====
        """Return the day that is ``count`` business days after ``day``, or before it where negative."""
        while count < 0:
            day -= ONE_DAY
            if self.is_business_day(day):
                count += 1
>>>>
%% append tests/test_calendars.py
def test_subtract_business_days():
    calendar = BusinessCalendar([EASTER_MONDAY])
    assert calendar.add_business_days(date(2021, 4, 6), -1) == date(2021, 4, 2)
    assert calendar.add_business_days(date(2021, 4, 6), -6) == date(2021, 3, 26)

%% direct release-0.3
%% tag v0.3.0
%% decoy changelog - the changelog names twelve changes without answering them
%% commit 2022-03-25T09:30 maren
Release 0.3.0

%% edit CHANGELOG.md
<<<<
# Changes
====
# Changes

## 0.3.0 (2022-03-25)

- A command line (#39, #42) and zones with summer time (#33, #38)
- Business days can be subtracted (#46) and are counted much faster (#20, #45)
- Time sheets (#31, #34)
- iCalendar events can be written and read (#21, #25, #26, #29, #35)
- Negative durations are formatted right (#43)
- Fixed: monthly rules drifted after a short month (#24)
>>>>
%% edit pyproject.toml
<<<<
version = "0.1.0"
====
version = "0.3.0"
>>>>

%% line 0.3.x release-0.3

%% pr 47 squash unpin-pytest
%% landed 2022-04-11T10:02 maren
%% title Remove the pytest pin
%% decoy pin 40 the pin of #40 was temporary and goes as planned
%% commit 2022-04-11T09:50 ewa
Remove the pytest pin

The plug-in works with 7.1, so what #40 did is not needed any longer.

%% edit requirements-dev.txt
<<<<
pytest>=6.2.4,<7
====
pytest>=7.1
>>>>

%% pr 48 squash week-labels
%% landed 2022-05-09T09:16 maren
%% title Label calendar weeks
%% decoy mention 10 `see #10` points at a rejected change that this one does not answer
%% commit 2022-05-06T13:35 casper
Label calendar weeks

A function instead of the class, see #10 for why we did not want that one.

%% file tidemark/weeks.py
"""Calendar weeks as ISO 8601 counts them."""


def week_label(day):
    """Return the week of ``day`` as text that sorts: ``2022-W19``."""
    return day.strftime("%Y-W%V")

%% file tests/test_weeks.py
from datetime import date

from tidemark.weeks import week_label


def test_week_label():
    assert week_label(date(2022, 5, 9)) == "2022-W19"
    assert week_label(date(2022, 1, 3)) == "2022-W01"

%% pr 49 squash drop-3.8
%% landed 2022-05-16T10:45 maren
%% title Drop Python 3.8
%% commit 2022-05-13T09:15 tomas
Drop Python 3.8

Nobody has asked for it, and it costs us a job in every build.

%% edit pyproject.toml
<<<<
requires-python = ">=3.8"
====
requires-python = ">=3.9"
>>>>
%% edit .github/workflows/tests.yml
<<<<
        python: ["3.8", "3.9"]
====
        python: ["3.9", "3.10"]
>>>>

%% pr 50 squash revert-49-drop-3.8
%% landed 2022-05-19T08:22 maren
%% title Revert "Drop Python 3.8"
%% link revert 49 quoted_title
%% body
Reverts #49

The scanners in Gdynia run 3.8 until their summer update.
%% commit 2022-05-19T08:20 maren
Revert "Drop Python 3.8"

%% undo 49

%% pr 51 squash coloured-output
%% landed 2022-06-01T16:02 tomas
%% title Colour the totals on a terminal
%% commit 2022-05-31T22:18 rowan
Colour the totals on a terminal

%% edit tidemark/cli.py
<<<<
    print(format_duration(sum(map(parse_duration, options.durations), timedelta())))
    return 0
====
    text = format_duration(sum(map(parse_duration, options.durations), timedelta()))
    print(f"\033[1;32m{text}\033[0m" if sys.stdout.isatty() else text)
    return 0
>>>>
