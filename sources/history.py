"""Says which commits make up which attempt: a walk over the commit graph, without reading a single file.

The first-parent line of the default branch is walked from its oldest commit; what a merge brings in is walked the
same way, so that a commit belongs to the innermost pull request that brought it. Pull requests that did not land are
found through `refs/pull/N/head`, where the clone has them.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from sources.git import Git
from sources.graph import Graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which commits make one attempt; all commits are 40 hex digits.

    `commits` are its own, oldest first, as they landed (or stand, where it did not land); `branch` the commits of a
    squashed pull request before the squash. `base` is the parent of the first own commit and `tip` the state that the
    attempt left behind, before it was merged. `position` counts units of the first-parent line from the oldest
    (-1: not landed). `holds` is the number of other pull requests merged within this one. `drop` is a reason code
    for an attempt that is not mined.
    """

    attempt_id: str
    kind: str
    number: int | None
    commits: tuple[str, ...]
    base: str | None
    tip: str
    landing: str | None = None
    branch: tuple[str, ...] = ()
    branch_base: str | None = None
    branch_linear: bool = True
    position: int = -1
    holds: int = 0
    drop: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The plans of all attempts in blocks, with the newest commit's id and time (`as_of`, seconds since 1970)."""

    head: str
    as_of: int
    commits: int
    blocks: Mapping[str, tuple[Plan, ...]]


@dataclass(slots=True)
class _Group:
    """A pull request whose commits are being collected."""

    number: int
    landing: int
    tip: int
    parent: _Group | None
    identity: int
    own: list[int] = field(default_factory=list)
    boundary: set[int] = field(default_factory=set)
    holds: int = 0
    linear: bool = True


@dataclass(slots=True)
class _Frame:
    """One line of commits, oldest first, on its way into `group`; `ends` marks that the group is then complete."""

    line: list[int]
    group: _Group | None
    at: int = 0
    ends: bool = False


def read_history(git: Git, *, branch: str | None = None, block_units: int = 1000, max_commits: int = 100) -> History:
    """Walk the default branch (or `branch`) and the pull-request heads of a clone.

    Blocks are `line-NNNNN` (of `block_units` first-parent units) and `pull-NNNNN` (of 1,000 pull-request numbers), so
    that a block keeps its name and content when the history grows. A branch of more than `max_commits` own commits
    that did not land is left aside under the reason `too_many_commits`.
    """
    head = git.head(branch)
    pulls = {
        int(name.split("/")[2]): oid
        for name, oid in git.refs("refs/pull").items()
        if re.fullmatch(r"refs/pull/\d+/head", name)
    }
    others = sorted(set(git.refs("refs/heads", "refs/remotes", "refs/tags").values()) - {head})
    graph = Graph()
    total = 0
    for commit in git.commits([head, *sorted(set(pulls.values())), *others]):
        graph.add(commit)
        total += 1
    walk = _Walk(graph, pulls)
    walk.line(graph.number_of[bytes.fromhex(head)])
    walk.unmerged(others, max_commits)
    blocks: dict[str, list[Plan]] = {}
    for plan in sorted(walk.plans, key=lambda plan: (plan.position < 0, plan.position)):
        if plan.position >= 0:
            key = f"line-{plan.position // block_units:05d}"
        else:
            key = f"pull-{(plan.number or 0) // 1000:05d}"
        blocks.setdefault(key, []).append(plan)
    return History(
        head=head,
        as_of=graph.committed_at[graph.number_of[bytes.fromhex(head)]],
        commits=total,
        blocks={key: tuple(plans) for key, plans in blocks.items()},
    )


class _Walk:
    """Collects plans from a graph."""

    def __init__(self, graph: Graph, pulls: Mapping[int, str]) -> None:
        self.graph = graph
        self.pulls = {number: graph.number_of[bytes.fromhex(oid)] for number, oid in pulls.items()}
        self.plans: list[Plan] = []
        self.position = array("i", [-1]) * len(graph.oids)  # of the first-parent unit that brought a commit in
        self.group = array("i", [0]) * len(graph.oids)
        self.groups = 0
        self.unit = -1
        self.landed: set[int] = set()  # numbers of pull requests that have a plan
        self.heads = {commit: number for number, commit in sorted(self.pulls.items(), reverse=True)}
        # `(#N)` may name an issue: where the clone has the heads of pull requests, N must be one of them
        named = [-number for number in graph.request if number < 0]
        known = sum(number in self.pulls for number in named)
        self.newest_pull = max(self.pulls, default=0) if known * 2 >= len(named) else 0

    def line(self, head: int) -> None:
        """Walk the first-parent line up to `head`, and all that was merged into it."""
        stack = [_Frame(self._claim(head, None), None)]
        parents = self.graph.parents
        while stack:
            frame = stack[-1]
            if frame.at == len(frame.line):
                stack.pop()
                if frame.ends and frame.group is not None:
                    self._finish(frame.group)
                continue
            commit = frame.line[frame.at]
            frame.at += 1
            if len(stack) == 1:
                self.unit += 1
            self.position[commit] = self.unit
            if len(parents[commit]) < 2:
                self._single(commit, frame.group)
                continue
            group = self._opened(commit, frame.group)
            if group is not frame.group:
                stack.append(_Frame([], group, ends=True))
            for parent in reversed(parents[commit][1:]):
                stack.append(_Frame(self._claim(parent, group), group))

    def _claim(self, tip: int, group: _Group | None) -> list[int]:
        """The first-parent line from `tip` down to what is claimed already, oldest first."""
        line, commit = [], tip
        identity = group.identity if group else 1
        while not self.group[commit]:
            self.group[commit] = identity
            line.append(commit)
            if not self.graph.parents[commit]:
                break
            commit = self.graph.parents[commit][0]
        line.reverse()
        return line

    def _single(self, commit: int, group: _Group | None) -> None:
        request = -self.graph.request[commit]
        squashed = self._is_request(request) and request not in self.landed
        if squashed and not (group and group.number == request):
            if group:
                group.holds += 1
            self._add(commit, "pr", request)
        elif group:
            group.own.append(commit)
            self._note_boundary(commit, group)
        else:
            self._add(commit, "commit", None)

    def _is_request(self, number: int) -> bool:
        return number > 0 and (number in self.pulls or number > self.newest_pull)

    def _add(self, commit: int, kind: str, number: int | None) -> None:
        oid, parents = self.graph.hex(commit), self.graph.parents[commit]
        base = self.graph.hex(parents[0]) if parents else None
        if number is not None:
            self.landed.add(number)
        self.plans.append(
            Plan(
                attempt_id=f"pr:{number}" if number else f"commit:{oid}",
                kind=kind,
                number=number,
                commits=(oid,),
                base=base,
                tip=oid,
                landing=oid,
                position=self.unit,
            )
        )

    def _opened(self, merge: int, group: _Group | None) -> _Group | None:
        """The pull request that a merge lands, or the one it is a part of."""
        tip = self.graph.parents[merge][1]
        number = self.graph.request[merge] or (self.heads.get(tip, 0) if not self.group[tip] else 0)
        if number <= 0 or number in self.landed or (group and group.number == number):
            if group:
                group.linear = False
                self._note_boundary(merge, group)
            return group
        if group:
            group.holds += 1
            group.linear = False
        self.landed.add(number)
        self.groups += 1
        return _Group(number=number, landing=merge, tip=tip, parent=group, identity=self.groups + 1)

    def _note_boundary(self, commit: int, group: _Group) -> None:
        for parent in self.graph.parents[commit]:
            if self.group[parent] != group.identity:
                group.boundary.add(parent)

    def _finish(self, group: _Group) -> None:
        hexes = tuple(map(self.graph.hex, group.own))
        # where the default branch was merged into the pull request, its newest commit there is what to compare with
        outside = [commit for commit in group.boundary if self.position[commit] >= 0]
        base = max(outside, key=lambda c: (self.position[c], self.graph.committed_at[c]), default=None)
        self.plans.append(
            Plan(
                attempt_id=f"pr:{group.number}",
                kind="pr",
                number=group.number,
                commits=hexes,
                base=None if base is None else self.graph.hex(base),
                tip=self.graph.hex(group.tip),
                landing=self.graph.hex(group.landing),
                branch=hexes,
                branch_base=None if base is None else self.graph.hex(base),
                branch_linear=group.linear,
                position=self.unit,
                holds=group.holds,
                drop="" if hexes else "no_own_commits",
            )
        )

    def unmerged(self, others: Iterable[str], max_commits: int) -> None:
        """Give squashed pull requests their branches, find those that landed by rebase, and those that did not land."""
        elsewhere = self._reachable(others)
        landed_elsewhere = {abs(self.graph.request[commit]) for commit in elsewhere}
        by_number = {plan.number: at for at, plan in enumerate(self.plans) if plan.number is not None}
        plain = {
            self.graph.likeness[self.graph.number_of[bytes.fromhex(plan.tip)]]: at
            for at, plan in enumerate(self.plans)
            if plan.kind == "commit"
        }
        taken: set[int] = set()
        for number, head in sorted(self.pulls.items()):
            if self.group[head]:
                continue
            own, base, linear = self._own_commits(head, elsewhere, max_commits)
            if number in by_number:
                at = by_number[number]
                if own and base is not None and self.plans[at].branch == ():
                    self.plans[at] = replace(
                        self.plans[at],
                        branch=tuple(map(self.graph.hex, own)),
                        branch_base=self.graph.hex(base),
                        branch_linear=linear,
                    )
                continue
            at_of = [plain.get(self.graph.likeness[commit]) for commit in own]
            if own and self._landed_by_rebase(number, own, at_of, taken):
                continue
            reason = ""
            if head in elsewhere or number in landed_elsewhere:
                reason = "merged_elsewhere"
            elif not own:
                reason = "too_many_commits"
            elif base is None:
                reason = "no_common_history"
            elif any(at is not None for at in at_of):
                reason = "landed_in_part"
            self.plans.append(
                Plan(
                    attempt_id=f"pr:{number}",
                    kind="pr",
                    number=number,
                    commits=tuple(map(self.graph.hex, own)),
                    base=None if base is None else self.graph.hex(base),
                    tip=self.graph.hex(head),
                    branch=tuple(map(self.graph.hex, own)),
                    branch_base=None if base is None else self.graph.hex(base),
                    branch_linear=linear,
                    drop=reason,
                )
            )
        self.plans = [plan for at, plan in enumerate(self.plans) if at not in taken]

    def _landed_by_rebase(self, number: int, own: list[int], at_of: list[int | None], taken: set[int]) -> bool:
        """Join the plain commits that are a pull request's rebased ones into one plan; the last one stands for all."""
        places = [at for at in at_of if at is not None]
        rows = sorted(set(places))
        if len(rows) != len(own) or any(at in taken or self.plans[at].kind != "commit" for at in rows):
            return False
        plans = [self.plans[at] for at in rows]
        if any(later.base != earlier.tip for earlier, later in pairwise(plans)):
            return False
        last = plans[-1]
        commits = tuple(plan.tip for plan in plans)
        self.plans[rows[-1]] = replace(
            last,
            attempt_id=f"pr:{number}",
            kind="pr",
            number=number,
            commits=commits,
            base=plans[0].base,
            branch=commits,
            branch_base=plans[0].base,
        )
        taken.update(rows[:-1])
        return True

    def _reachable(self, tips: Iterable[str]) -> set[int]:
        """Commits on other branches and tags that the default branch does not hold."""
        found: set[int] = set()
        stack = [self.graph.number_of[bytes.fromhex(oid)] for oid in tips]
        while stack:
            commit = stack.pop()
            if not self.group[commit] and commit not in found:
                found.add(commit)
                stack.extend(self.graph.parents[commit])
        return found

    def _own_commits(self, head: int, elsewhere: set[int], most: int) -> tuple[list[int], int | None, bool]:
        """(own commits but merges, oldest first; base; whether there was no merge); no commits if more than `most`."""
        seen: set[int] = set()
        boundary: set[int] = set()
        linear = True
        stack = [head]
        order: list[int] = []
        for commit in self._post_order(stack, seen, elsewhere, most * 3):
            parents = self.graph.parents[commit]
            boundary.update(p for p in parents if p not in seen)
            if len(parents) > 1:
                linear = False
            else:
                order.append(commit)
        if len(order) > most or len(seen) > most * 3:
            return [], None, linear
        base = max(boundary, key=lambda c: (self.position[c], self.graph.committed_at[c]), default=None)
        return order, base, linear

    def _post_order(self, stack: list[int], seen: set[int], elsewhere: set[int], most: int) -> Iterator[int]:
        """Unclaimed commits reachable from `stack`, parents before children; stops early beyond `most`."""

        def inside(commit: int) -> bool:
            return not self.group[commit] and commit not in elsewhere

        stack = [commit for commit in stack if inside(commit)]
        done: set[int] = set()
        order: list[int] = []
        while stack and len(seen) <= most:
            commit = stack[-1]
            seen.add(commit)
            fresh = [p for p in self.graph.parents[commit] if inside(p) and p not in seen]
            if fresh:
                stack.extend(reversed(fresh))
                continue
            stack.pop()
            if commit not in done:
                done.add(commit)
                order.append(commit)
        return iter(order)
