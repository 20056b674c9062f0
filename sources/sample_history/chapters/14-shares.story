%% pr 66 squash whole-shares
%% landed 2023-03-20T10:50 maren
%% title Fix spread for shares that are all zero
%% link fix_of 31 szz_only tests
%% commit 2023-03-17T15:55 casper
Fix spread for shares that are all zero

A month without hours ended in a ZeroDivisionError from deep inside. Nothing
can be charged by hours then, so everybody gets the same.

%% edit tidemark/timesheet.py
<<<<
    whole = sum(shares)
====
    shares = shares if any(shares) else [1] * len(shares)
    whole = sum(shares)
>>>>
<<<<
    """Return ``amount``, a whole number of cents, in parts proportional to ``shares``."""
====
    """Return ``amount``, a whole number of cents, in parts proportional to ``shares``.

    Where all shares are zero the parts are equal.
    """
>>>>
%% append tests/test_timesheet.py
def test_spread_without_any_hours():
    assert spread(100, [0, 0, 0]) == [34, 33, 33]

%% direct backport-66 on=0.3.x
%% link backport 66 cherry_pick
%% decoy backport 66 a cherry-pick onto the maintenance branch belongs to its origin
%% commit 2023-03-21T18:00 maren
Fix spread for shares that are all zero

Backport of #66.

(cherry picked from commit {sha:66})

%% redo 66

%% direct release-0.3.1 on=0.3.x
%% tag v0.3.1
%% commit 2023-03-21T18:20 maren
Release 0.3.1

%% file docs/releases/0.3.1.md
# 0.3.1 (2023-03-21)

For the depots that cannot move to 0.4 yet: a month without hours no longer
ends in a ZeroDivisionError (#66).

%% direct merge-0.3.x merges=0.3.x
%% decoy rollup backport-66 merging a maintenance branch answers none of its changes
%% commit 2023-03-22T09:05 maren
Merge branch '0.3.x'

%% file docs/releases/0.3.1.md
# 0.3.1 (2023-03-21)

For the depots that cannot move to 0.4 yet: a month without hours no longer
ends in a ZeroDivisionError (#66).

%% pr 67 squash until-inclusive
%% landed 2023-04-17T09:11 maren
%% title Count the last day of a rule
%% link fix_of 13 explicit_mention tests
%% decoy moved_line 24 #24 only moved the comparison that #13 wrote
%% commit 2023-04-14T19:19 priya
Count the last day of a rule

Fix `until` being left out, which #13 got wrong from the beginning: a shift
until Friday includes the Friday, and every calendar program agrees.

%% edit tidemark/recurrence.py
<<<<
            if self.until is not None and current >= self.until:
====
            if self.until is not None and current > self.until:
>>>>
<<<<
    """Every ``every`` units, from a start up to ``until``."""
====
    """Every ``every`` units, from a start up to and including ``until``."""
>>>>
%% append tests/test_recurrence.py
def test_until_is_included():
    rule = Rule("week", until=date(2021, 5, 17))
    assert list(rule.occurrences(date(2021, 5, 3)))[-1] == date(2021, 5, 17)

%% pr 68 squash southern-summer
%% landed 2023-05-15T11:33 tomas
%% title Summers that span the new year
%% link fix_of 33 explicit_mention tests
%% link follow_up 38 explicit_mention tests
%% commit 2023-05-13T20:50 jiho
Summers that span the new year

RuleZone from #33 is wrong south of the equator, where summer begins in
October and ends in April: it never had any summer there. Fixed for the
way back from UTC too, as a follow-up to #38.

%% edit tidemark/zones.py
<<<<
        ends = self.ends.in_year(wall.year) - moment.fold * HOUR
        return HOUR if self.begins.in_year(wall.year) <= wall < ends else timedelta(0)

    def fromutc(self, moment):
        moment += self.offset
        wall = moment.replace(tzinfo=None)
        ends = self.ends.in_year(wall.year)
        if self.begins.in_year(wall.year) <= wall < ends - HOUR:
            return moment + HOUR
        return moment.replace(fold=int(ends - HOUR <= wall < ends))
====
        ends = self.ends.in_year(wall.year) - moment.fold * HOUR
        return HOUR if self._in_summer(wall, ends) else timedelta(0)

    def fromutc(self, moment):
        moment += self.offset
        wall = moment.replace(tzinfo=None)
        ends = self.ends.in_year(wall.year)
        if self._in_summer(wall, ends - HOUR):
            return moment + HOUR
        return moment.replace(fold=int(ends - HOUR <= wall < ends))

    def _in_summer(self, wall, ends):
        begins = self.begins.in_year(wall.year)
        if begins < ends:
            return begins <= wall < ends
        return wall < ends or begins <= wall
>>>>
%% append tests/test_zones.py
def test_summer_over_the_new_year():
    south = RuleZone("South", 10 * HOUR, Switch(10, 2), Switch(4, 3))
    assert datetime(2023, 1, 15, 12, tzinfo=south).utcoffset() == 11 * HOUR
    assert datetime(2023, 7, 15, 12, tzinfo=south).utcoffset() == 10 * HOUR
    for hours in range(0, 24 * 365, 5):
        moment = datetime(2022, 12, 1, tzinfo=timezone.utc) + hours * HOUR
        assert moment.astimezone(south).astimezone(timezone.utc) == moment

%% direct next-table
%% decoy generated 65 a table is generated again for more years; nothing was wrong
%% commit 2023-06-12T08:45 tomas
Regenerate the Easter table up to 2028

%% edit tidemark/_easter_table.py
<<<<
    2024: (3, 31),
====
    2024: (3, 31),
    2025: (4, 20),
    2026: (4, 5),
    2027: (3, 28),
    2028: (4, 16),
>>>>

%% pr 69 squash holiday-comments
%% landed 2023-06-26T10:29 maren
%% title Comments behind the names of holidays
%% decoy mention 35 `similar to #35` compares, it does not correct
%% commit 2023-06-23T19:50 ewa
Comments behind the names of holidays

A `#` behind the name begins a comment; `\#` is the character. One pass from
left to right, similar to #35.

%% edit tidemark/holidays.py
<<<<
            holidays[date.fromisoformat(day)] = name.strip()
====
            holidays[date.fromisoformat(day)] = _COMMENT.sub(r"\1", name).strip()
>>>>
<<<<
from datetime import date
====
import re
from datetime import date

_COMMENT = re.compile(r"\\(#)|#.*")
>>>>
%% append tests/test_holidays.py
def test_comment_behind_a_name():
    text = "2023-12-26 Boxing Day  # not in 2022\n2023-09-09 Day of berth \\#9\n"
    assert list(parse_holidays(text).values()) == ["Boxing Day", "Day of berth #9"]
