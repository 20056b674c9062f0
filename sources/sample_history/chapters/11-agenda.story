%% pr 52 merge fewer-holidays
%% landed 2022-06-13T13:48 maren
%% title Look at fewer holidays in add_business_days
%% body
add_business_days looks at all holidays on every jump, and most of them are
on days that are free anyway. Look at the others only.
%% link in_pr 52.1>52.2 in_pr
%% decoy own_commit 52 the reverted commit belongs to the same pull request
%% commit 2022-06-08T17:05 jiho
Count free days with a bisection

%% edit tidemark/calendars.py
<<<<
from datetime import timedelta
====
from bisect import bisect_right
from datetime import timedelta
>>>>
<<<<
            count += sum(day < free <= landing and free.weekday() not in self.weekend for free in self.holidays)
====
            free = sorted(free for free in self.holidays if free.weekday() not in self.weekend)
            count += bisect_right(free, landing) - bisect_right(free, day)
>>>>
%% commit 2022-06-09T18:31 jiho
Revert "Count free days with a bisection"

This reverts commit {sha:52.1}.

It sorts on every jump, so it is slower than the sum.

%% edit tidemark/calendars.py
<<<<
from bisect import bisect_right
from datetime import timedelta
====
from datetime import timedelta
>>>>
<<<<
            free = sorted(free for free in self.holidays if free.weekday() not in self.weekend)
            count += bisect_right(free, landing) - bisect_right(free, day)
====
            count += sum(day < free <= landing and free.weekday() not in self.weekend for free in self.holidays)
>>>>
%% commit 2022-06-09T19:10 jiho
Keep only the holidays that fall on a working day

%% edit tidemark/calendars.py
<<<<
            count += sum(day < free <= landing and free.weekday() not in self.weekend for free in self.holidays)
====
            count += sum(day < free <= landing for free in self._free)
>>>>
<<<<
        self._between = {}
====
        self._between = {}
        self._free = [day for day in self.holidays if day.weekday() not in self.weekend]
>>>>

%% direct revert-51
%% link revert 51 sha
%% commit 2022-06-15T19:22 tomas
Revert "Colour the totals on a terminal (#51)"

This reverts commit {sha:51}.

Half of the terminals on the dispatch desk print the codes as they are. No
colours then.

%% undo 51

%% line next revert-51

%% pr 53 merge agenda on=next
%% landed 2022-06-27T11:25 maren
%% title Agenda
%% body
A queue of events by time for the dispatch desk: add in any order, take what
is due.
%% commit 2022-06-20T20:37 priya
Add Agenda

What comes next, whatever order it was entered in.

%% file tidemark/agenda.py
"""What comes next: events in the order of their time."""

import heapq


class Agenda:
    """Events waiting for their time."""

    def __init__(self, events=[]):
        self._heap = events
        heapq.heapify(self._heap)

    def __len__(self):
        return len(self._heap)

    def add(self, when, event):
        heapq.heappush(self._heap, (when, event))

    def pop(self):
        """Remove and return the next event."""
        return heapq.heappop(self._heap)[1]

%% file tests/test_agenda.py
from datetime import datetime

from tidemark.agenda import Agenda


def test_the_earliest_comes_first():
    agenda = Agenda()
    agenda.add(datetime(2022, 6, 21, 14), {"SUMMARY": "Crane check"})
    agenda.add(datetime(2022, 6, 21, 9), {"SUMMARY": "Stand-up"})
    assert agenda.pop() == {"SUMMARY": "Stand-up"}
    assert len(agenda) == 1

%% commit 2022-06-23T21:12 priya
Take everything that is due

%% append tidemark/agenda.py
    def due(self, now):
        """Yield and remove the events whose time has come."""
        while self._heap and self._heap[0][0] <= now:
            yield self.pop()

%% append tests/test_agenda.py
def test_due_includes_the_very_moment():
    agenda = Agenda([(datetime(2022, 6, 21, hour), hour) for hour in (12, 9, 15)])
    assert list(agenda.due(datetime(2022, 6, 21, 12))) == [9, 12]

%% pr 54 squash gaps on=next
%% landed 2022-07-04T10:08 maren
%% title Gaps between intervals
%% commit 2022-07-01T18:44 ewa
Gaps between intervals

Free slots of a berth, within given bounds.

%% edit tidemark/intervals.py
<<<<
    def __or__(self, other):
====
    def gaps(self, within):
        """Yield the parts of the interval ``within`` that are not in the set."""
        position = within.start
        for interval in self:
            if position < interval.start:
                yield Interval(position, interval.start)
            position = max(position, interval.end)

    def __or__(self, other):
>>>>
%% append tests/test_intervals.py
def test_gaps():
    taken = IntervalSet([Interval(2, 4), Interval(6, 10)])
    assert list(taken.gaps(Interval(0, 10))) == [Interval(0, 2), Interval(4, 6)]

%% pr 56 rollup next
%% landed 2022-07-18T09:02 maren
%% title Release 0.4.0
%% tag v0.4.0
%% body
Agenda (#53) and gaps between intervals (#54), plus what has landed since 0.3.
%% decoy rollup 53 a release merge gathers changes and answers none
%% decoy rollup 54 a release merge gathers changes and answers none
%% commit 2022-07-18T08:55 maren
Release 0.4.0

%% edit CHANGELOG.md
<<<<
# Changes
====
# Changes

## 0.4.0 (2022-07-18)

- Agenda (#53), gaps between intervals (#54), labels of weeks (#48)
- Jumps over whole weeks look at fewer holidays (#52)
>>>>
%% edit pyproject.toml
<<<<
version = "0.3.0"
====
version = "0.4.0"
>>>>

%% direct revert-50
%% link reland 49 revert_of_revert
%% commit 2022-08-01T10:11 maren
Revert "Revert "Drop Python 3.8" (#50)"

This reverts commit {sha:50}. Gdynia has been updated.

%% undo 50
