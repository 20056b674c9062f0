%% pr 5 merge interval-set
%% landed 2021-03-01T15:48 maren
%% title IntervalSet
%% body
Sets of moments on top of Interval: joined on the way in, with union and
membership. Two sets that hold the same moments must compare equal, so what
touches is joined too.
%% link in_pr 5.1>5.3 in_pr
%% commit 2021-02-22T19:30 ewa
Add IntervalSet

A set of moments, kept as sorted intervals that neither overlap nor touch.

%% append tidemark/intervals.py
class IntervalSet:
    """A set of moments, given as any number of intervals."""

    def __init__(self, intervals=()):
        self._intervals = intervals
        self._intervals.sort()
        merged = []
        for interval in self._intervals:
            if merged and interval.start <= merged[-1].end:
                merged[-1] = Interval(merged[-1].start, max(merged[-1].end, interval.end))
            else:
                merged.append(interval)
        self._intervals = merged

    def __iter__(self):
        return iter(self._intervals)

    def __eq__(self, other):
        return self._intervals == other._intervals

%% edit tests/test_intervals.py
<<<<
from tidemark.intervals import Interval
====
from tidemark.intervals import Interval, IntervalSet
>>>>
%% append tests/test_intervals.py
def test_set_joins_what_overlaps():
    assert list(IntervalSet([Interval(1, 4), Interval(3, 6)])) == [Interval(1, 6)]


def test_set_joins_what_touches():
    assert list(IntervalSet([Interval(3, 6), Interval(1, 3)])) == [Interval(1, 6)]

%% commit 2021-02-22T20:11 ewa
Union, and membership of a moment

%% append tidemark/intervals.py
    def __contains__(self, moment):
        return any(moment in interval for interval in self._intervals)

    def __or__(self, other):
        return IntervalSet([*self, *other])

%% append tests/test_intervals.py
def test_union():
    both = IntervalSet([Interval(1, 2)]) | IntervalSet([Interval(2, 3), Interval(7, 9)])
    assert list(both) == [Interval(1, 3), Interval(7, 9)]
    assert 2 in both and 3 not in both

%% commit 2021-02-26T08:02 ewa
Address review: the empty set and unhashable comparison

IntervalSet() failed because a tuple has no sort(), and comparing with a
list raised AttributeError where it should just be unequal.

%% edit tidemark/intervals.py
<<<<
    def __init__(self, intervals=()):
        self._intervals = intervals
        self._intervals.sort()
        merged = []
====
    def __init__(self, intervals=None):
        self._intervals = [] if intervals is None else intervals
        self._intervals.sort()
        merged = []
>>>>
<<<<
        return self._intervals == other._intervals
====
        if not isinstance(other, IntervalSet):
            return NotImplemented
        return self._intervals == other._intervals
>>>>
%% append tests/test_intervals.py
def test_empty_set():
    assert list(IntervalSet()) == []
    assert IntervalSet() != []

%% direct readme-intervals
%% commit 2021-03-02T08:55 maren
Mention intervals in the README

%% edit README.md
<<<<
datetime.timedelta(seconds=5400)
```
====
datetime.timedelta(seconds=5400)
```

`tidemark.intervals` has half-open intervals and sets of them.
>>>>

%% pr 7 squash carry-seconds
%% landed 2021-03-04T12:20 maren
%% title Carry rounded seconds into the minutes
%% link fix_of 1 explicit_mention tests
%% decoy issue_reference - Fixes #6 names an issue, not an attempt
%% commit 2021-03-04T10:02 priya
Carry rounded seconds into the minutes

59.6 seconds came out as `60s` and 3599.9 as `59m 60s`, because only the
last part was rounded. Round first, then split.

Fixes #6, a bug that has been there since format_duration was added in #1.

%% edit tidemark/durations.py
<<<<
    days, rest = divmod(value.total_seconds(), UNITS["d"])
====
    days, rest = divmod(round(value.total_seconds()), UNITS["d"])
>>>>
<<<<
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (round(seconds), "s")]
    return " ".join(f"{int(count)}{unit}" for count, unit in parts if count) or "0s"
====
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    return " ".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
>>>>
%% append tests/test_durations.py
@pytest.mark.parametrize("seconds, text", [(59.6, "1m"), (3599.9, "1h"), (86399.7, "1d")])
def test_format_carries(seconds, text):
    assert format_duration(timedelta(seconds=seconds)) == text
