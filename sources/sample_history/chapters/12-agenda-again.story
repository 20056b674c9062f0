%% pr 57 squash by-project
%% landed 2022-08-22T09:31 maren
%% title Rename totals to by_project
%% commit 2022-08-19T16:12 casper
Rename totals to by_project

There will be a by_week beside it.

%% edit tidemark/timesheet.py
<<<<
def totals(entries):
====
def by_project(entries):
>>>>
%% edit tests/test_timesheet.py
<<<<
from tidemark.timesheet import Entry, spread, totals
====
from tidemark.timesheet import Entry, by_project, spread
>>>>
<<<<
def test_totals():
====
def test_by_project():
>>>>
<<<<
    assert list(totals(entries).items()) == [("dock", 3 * HOUR), ("crane", HOUR)]
====
    assert list(by_project(entries).items()) == [("dock", 3 * HOUR), ("crane", HOUR)]
>>>>

%% pr 58 squash shares-of-projects base=56
%% landed 2022-08-22T13:20 tomas
%% title Shares of the projects in a total
%% red
%% commit 2022-08-18T19:49 rowan
Shares of the projects in a total

%% append tidemark/timesheet.py
def charge(entries, amount):
    """Return how ``amount`` in cents is charged to the projects, by the time spent on each."""
    spent = totals(entries)
    seconds = [int(time.total_seconds()) for time in spent.values()]
    return dict(zip(spent, spread(amount, seconds)))

%% file tests/test_charge.py
from datetime import timedelta

from tidemark.timesheet import Entry, charge


def test_charge():
    entries = [Entry("dock", timedelta(hours=2)), Entry("crane", timedelta(hours=1))]
    assert charge(entries, 1000) == {"dock": 667, "crane": 333}

%% direct mend-main
%% link regression_fix 58 explicit_mention
%% commit 2022-08-22T14:02 tomas
Fix the build: charge still called totals

Broken by #58, which was green before #57 renamed the function under it.

%% edit tidemark/timesheet.py
<<<<
    spent = totals(entries)
====
    spent = by_project(entries)
>>>>

%% pr 59 squash agenda-ties
%% landed 2022-09-05T10:55 maren
%% title Let events at the same time keep their order
%% link fix_of 53 explicit_mention tests
%% link superseded 55>59 explicit_mention
%% commit 2022-09-02T20:26 priya
Let events at the same time keep their order

Fixes a crash in the Agenda of #53: two events at one time were compared
with each other, and dicts cannot be. A running number decides now, so what
was entered first comes first.

Supersedes #55.

%% edit tidemark/agenda.py
<<<<
    def __init__(self, events=[]):
        self._heap = events
        heapq.heapify(self._heap)
====
    def __init__(self, events=[]):
        self._numbers = count()
        self._heap = events
        self._heap[:] = [(when, next(self._numbers), event) for when, event in events]
        heapq.heapify(self._heap)
>>>>
<<<<
        heapq.heappush(self._heap, (when, event))
====
        heapq.heappush(self._heap, (when, next(self._numbers), event))
>>>>
<<<<
        return heapq.heappop(self._heap)[1]
====
        return heapq.heappop(self._heap)[2]
>>>>
<<<<
import heapq
====
import heapq
from itertools import count
>>>>
%% append tests/test_agenda.py
def test_first_come_first_served():
    nine = datetime(2022, 9, 5, 9)
    agenda = Agenda([(nine, {"SUMMARY": "Stand-up"}), (nine, {"SUMMARY": "Crane check"})])
    agenda.add(nine, {"SUMMARY": "Berth 4"})
    assert [event["SUMMARY"] for event in agenda.due(nine)] == ["Stand-up", "Crane check", "Berth 4"]

%% pr 55 closed agenda-key base=mend-main
%% landed 2022-09-05T11:00 maren
%% title Compare agenda entries by time only
%% commit 2022-08-29T23:38 rowan
Compare agenda entries by time only

%% edit tidemark/agenda.py
<<<<
    def add(self, when, event):
        heapq.heappush(self._heap, (when, event))
====
    def add(self, when, event):
        heapq.heappush(self._heap, (when, id(event), event))
>>>>
<<<<
        return heapq.heappop(self._heap)[1]
====
        return heapq.heappop(self._heap)[-1]
>>>>

%% direct own-heap
%% link regression_fix 59 sha_mention tests
%% link fix_of 53 szz_only
%% commit 2022-09-09T21:30 priya
Fix agendas that share their events

Two agendas made without arguments were one, and the list that a caller
passed in came back as a heap; worse since {sha10:59}, which broke passing
the same list twice: it wrapped the entries once more each time.

%% edit tidemark/agenda.py
<<<<
    def __init__(self, events=[]):
        self._numbers = count()
        self._heap = events
        self._heap[:] = [(when, next(self._numbers), event) for when, event in events]
        heapq.heapify(self._heap)
====
    def __init__(self, events=()):
        self._numbers = count()
        self._heap = [(when, next(self._numbers), event) for when, event in events]
        heapq.heapify(self._heap)
>>>>
%% append tests/test_agenda.py
def test_one_list_serves_two_agendas():
    rounds = [(datetime(2022, 9, 9, 17), "lock up"), (datetime(2022, 9, 9, 8), "unlock")]
    first = Agenda(rounds)
    first.add(datetime(2022, 9, 9, 12), "lunch")
    second = Agenda(rounds)
    assert [second.pop() for _ in range(len(second))] == ["unlock", "lock up"]
