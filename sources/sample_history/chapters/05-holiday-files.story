%% pr 19 merge holiday-files
%% landed 2021-06-07T09:15 tomas
%% title Read holidays from files
%% body
A file per country instead of the list in every service's settings. Adding
a holiday must not need a programmer.
%% commit 2021-05-29T15:02 ewa
Read holidays from files

One line a day: the date, then the name. Empty lines and lines that begin
with `#` are skipped.

%% file tidemark/holidays.py
"""Holiday files: one line a day, the date and then its name."""

from datetime import date


def parse_holidays(text):
    """Return the names by date."""
    holidays = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        day, _, name = line.partition(" ")
        try:
            holidays[date.fromisoformat(day)] = name.strip()
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return holidays


def load_holidays(path):
    """Return the names by date from the file at ``path``."""
    with open(path) as file:
        return parse_holidays(file.read())

%% file tests/test_holidays.py
from datetime import date

import pytest

from tidemark.holidays import load_holidays, parse_holidays


def test_comments_and_empty_lines_are_skipped():
    text = "# 2021\n\n2021-05-01 Labour Day\n2021-12-25  Christmas Day\n"
    assert parse_holidays(text) == {date(2021, 5, 1): "Labour Day", date(2021, 12, 25): "Christmas Day"}


def test_error_names_the_line():
    with pytest.raises(ValueError, match="line 2"):
        parse_holidays("2021-05-01 Labour Day\n2021-13-01 Nonsense\n")


def test_load(tmp_path):
    path = tmp_path / "days.txt"
    path.write_text("2021-05-03 Constitution Day\n")
    assert list(load_holidays(path)) == [date(2021, 5, 3)]

%% commit 2021-05-29T15:40 ewa
Add the Polish and the Portuguese holidays of 2021

%% file data/holidays/pl.txt
# Dni wolne od pracy
2021-01-01 Nowy Rok
2021-01-06 Trzech Króli
2021-04-05 Poniedziałek Wielkanocny
2021-05-01 Święto Pracy
2021-05-03 Święto Konstytucji 3 Maja
2021-06-03 Boże Ciało
2021-11-01 Wszystkich Świętych
2021-11-11 Święto Niepodległości

%% file data/holidays/pt.txt latin-1
# Feriados nacionais
2021-01-01 Ano Novo
2021-04-02 Sexta-feira Santa
2021-04-25 Dia da Liberdade
2021-06-10 Dia de Portugal, de Camões e das Comunidades
2021-10-05 Implantação da República
2021-12-08 Imaculada Conceição

%% pr 20 squash cache-business-days-again
%% landed 2021-06-10T10:26 maren
%% title Reapply "Cache business-day counts"
%% link reland 16 quoted_title tests
%% commit 2021-06-09T19:48 jiho
Reapply "Cache business-day counts"

This relands #16, which #18 had reverted, and drops the cache whenever a
holiday is added.

%% redo 16
%% edit tidemark/calendars.py
<<<<
    def add_holiday(self, day):
        self.holidays.add(day)
====
    def add_holiday(self, day):
        self.holidays.add(day)
        self._between.clear()
>>>>
%% append tests/test_calendars.py
def test_a_new_holiday_counts_at_once():
    calendar = BusinessCalendar()
    week = date(2021, 4, 5), date(2021, 4, 12)
    assert calendar.business_days_between(*week) == 5
    calendar.add_holiday(EASTER_MONDAY)
    assert calendar.business_days_between(*week) == 4

%% pr 21 merge ics-writer
%% landed 2021-07-02T16:16 tomas
%% title Write iCalendar events
%% body
The shift plan should show up on people's phones. This writes single
events; the calendar around them comes when we read files too. Lines are
folded and text is escaped as RFC 5545 wants it.
%% link in_pr 21.1>21.2 in_pr
%% commit 2021-06-21T22:30 rowan
Write iCalendar events

%% file tidemark/ics.py
"""Events in the iCalendar format, as calendar programs exchange them."""

LIMIT = 75


def escape(text):
    """Return ``text`` with the characters escaped that mean something in a content line."""
    for plain, escaped in (("\n", "\\n"), (";", "\\;"), (",", "\\,"), ("\\", "\\\\")):
        text = text.replace(plain, escaped)
    return text


def fold(line):
    """Return ``line`` broken into lines of at most 75 octets."""
    parts = [line[:LIMIT]]
    rest = line[LIMIT:]
    while rest:
        parts.append(" " + rest[: LIMIT - 1])
        rest = rest[LIMIT - 1 :]
    return "\r\n".join(parts)


def write_event(uid, start, end, summary):
    """Return one event; times are written as they are, without a zone."""
    lines = [
        "BEGIN:VEVENT",
        "UID:" + escape(uid),
        f"DTSTART:{start:%Y%m%dT%H%M%S}",
        f"DTEND:{end:%Y%m%dT%H%M%S}",
        "SUMMARY:" + escape(summary),
        "END:VEVENT",
    ]
    return "\r\n".join(fold(line) for line in lines) + "\r\n"

%% file tests/test_ics.py
from datetime import datetime

from tidemark.ics import escape, fold, write_event


def test_escape():
    assert escape("a, b; c") == "a\\, b\\; c"


def test_short_lines_are_not_folded():
    assert fold("SUMMARY:stand-up") == "SUMMARY:stand-up"


def test_long_lines_are_folded():
    lines = fold("SUMMARY:" + "x" * 150).split("\r\n")
    assert [len(line) for line in lines] == [75, 75, 10]
    assert all(line.startswith(" ") for line in lines[1:])


def test_event():
    event = write_event("1@tidemark", datetime(2021, 6, 21, 9), datetime(2021, 6, 21, 9, 30), "Stand-up")
    assert event.split("\r\n")[1:4] == ["UID:1@tidemark", "DTSTART:20210621T090000", "DTEND:20210621T093000"]

%% commit 2021-06-29T21:12 rowan
Fix CI: backslashes were escaped twice

`escape` turned the backslash of `\,` into two. The backslash goes first.

%% edit tidemark/ics.py
<<<<
    for plain, escaped in (("\n", "\\n"), (";", "\\;"), (",", "\\,"), ("\\", "\\\\")):
====
    for plain, escaped in (("\\", "\\\\"), ("\n", "\\n"), (";", "\\;"), (",", "\\,")):
>>>>
%% append tests/test_ics.py
def test_escape_takes_the_backslash_first():
    assert escape("C:\\temp, twice\n") == "C:\\\\temp\\, twice\\n"

%% pr 22 closed month-anchor
%% landed 2021-07-15T08:00 maren
%% title Keep the anchor day in monthly rules
%% link superseded 22>24 explicit_mention
%% commit 2021-07-06T23:50 rowan
Keep the anchor day in monthly rules

Remember the day of the start and try to get back to it.

%% edit tidemark/recurrence.py
<<<<
            yield current
            current = self._next(current)
====
            yield current
            current = self._next(current)
            if self.unit == "month" and current.day < start.day:
                try:
                    current = current.replace(day=start.day)
                except ValueError:
                    pass
>>>>

%% pr 24 squash monthly-from-the-anchor
%% landed 2021-07-14T11:37 maren
%% title Compute occurrences from the start, not from each other
%% link regression_fix 13 explicit_mention tests
%% decoy issue_reference - Fixes #23 names an issue, not an attempt
%% commit 2021-07-13T20:58 priya
Compute occurrences from the start, not from each other

A rule that starts on 31 January went to 28 February and stayed on the 28th
for ever; broken since #13. The n-th date is now start + n months, so
nothing can drift.

Supersedes #22, which mended the months that follow a short one but not
30 April to 31 May in two steps. Thanks to Rowan for the report.

Fixes #23.

%% edit tidemark/recurrence.py
<<<<
        current = start
        while self.until is None or current < self.until:
            yield current
            current = self._next(current)

    def _next(self, current):
        if self.unit == "month":
            return add_months(current, self.every)
        return current + timedelta(**{self.unit + "s": self.every})
====
        for number in count():
            current = self._nth(start, number * self.every)
            if self.until is not None and current >= self.until:
                return
            yield current

    def _nth(self, start, units):
        if self.unit == "month":
            return add_months(start, units)
        return start + timedelta(**{self.unit + "s": units})
>>>>
<<<<
from datetime import date, timedelta
====
from datetime import date, timedelta
from itertools import count
>>>>
%% append tests/test_recurrence.py
def test_monthly_comes_back_to_the_31st():
    days = first(Rule("month"), date(2021, 1, 31), 5)
    assert [day.day for day in days] == [31, 28, 31, 30, 31]
