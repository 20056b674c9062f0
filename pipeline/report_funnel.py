"""The report's funnel: what went into every stage, what came out, and under which reason the rest was dropped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.lake import Lake
from pipeline.ledger import Ledger
from pipeline.report_text import bytes_text, escaped, plural

USUAL_ORDER = ("attempts", "links", "trials", "verified", "synth", "filtered")
"""The order of the stages where the config names none; a stage that is not here comes after these, by name."""

BARS = 24
"""So many reasons or counts are drawn; the rest is added up in a last line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One stage as the report shows it. `finished` is false while a shard is missing: then the ledger is of the rest.

    `shards` and `bytes` are of the stage's main table, `part`.
    """

    name: str
    ledger: Ledger
    finished: bool
    shards: int
    bytes: int


def stage_views(lake: Lake, order: Sequence[str] = ()) -> list[StageView]:
    """The stages of a lake, `order` first, then as in `USUAL_ORDER`, then by name."""
    ranks = {name: rank for rank, name in enumerate([*order, *(n for n in USUAL_ORDER if n not in order)])}
    views = []
    for name in sorted(lake.stages(), key=lambda name: (ranks.get(name, len(ranks)), name)):
        ledger = lake.ledger(name)
        finished = ledger is not None
        if ledger is None:
            parts = [Ledger.from_json(entry["ledger"]) for entry in lake.manifest(name)]
            ledger = Ledger.total(name, parts[0].unit if parts else "rows", parts)
        files = lake.shards(name)
        size = sum(file.bytes for file in files)
        views.append(StageView(name=name, ledger=ledger, finished=finished, shards=len(files), bytes=size))
    return views


def funnel_section(views: Sequence[StageView]) -> str:
    """The section's HTML, without its heading."""
    if not views:
        return '<p class="missing">The lake holds no stage yet: run a source or a scaffold first.</p>'
    rows = "".join(_row(view) for view in views)
    table = (
        "<p>Every row that went in came out, was dropped under a reason, or met an error and will be tried again.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Stages"><table class="funnel"><thead><tr>'
        '<th scope="col">stage</th><th scope="col" class="n">in</th><th scope="col" class="n">out</th>'
        '<th scope="col" class="n">dropped</th><th scope="col" class="n">errors</th>'
        '<th scope="col" class="flow"><span class="unseen">share of rows in</span></th><th scope="col">on disk</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )
    key = (
        '<p class="key"><span class="swatch kept"></span> kept <span class="swatch dropped"></span> dropped '
        '<span class="swatch errored"></span> error, to be tried again</p>'
    )
    return table + key + "".join(_details(view) for view in views)


def _row(view: StageView) -> str:
    ledger = view.ledger
    dropped, errored = ledger.dropped.total(), ledger.errored.total()
    parts = (("kept", ledger.rows_out), ("dropped", dropped), ("errored", errored))
    flow = "".join(
        f'<span class="{style}" style="width:{100 * rows / ledger.rows_in:.3f}%"></span>'
        for style, rows in parts
        if rows and ledger.rows_in
    )
    unfinished = "" if view.finished else ' <strong class="warn">unfinished</strong>'
    return (
        f'<tr><th scope="row">{escaped(view.name)}{unfinished}<br><small>{escaped(ledger.unit)}</small></th>'
        f'<td class="n">{ledger.rows_in:,}</td><td class="n">{ledger.rows_out:,}</td><td class="n">{dropped:,}</td>'
        f'<td class="n{" warn" if errored else ""}">{errored:,}</td>'
        f'<td class="flow"><div class="stack" aria-hidden="true">{flow}</div></td>'
        f"<td>{bytes_text(view.bytes)}<br><small>{plural(view.shards, 'shard')}</small></td></tr>"
    )


def _details(view: StageView) -> str:
    ledger = view.ledger
    parts = []
    if not view.finished:
        parts.append(
            f'<p class="missing">This stage is unfinished: the figures are of the {plural(view.shards, "shard")} '
            "committed so far. Run it again; finished shards are kept.</p>"
        )
    if ledger.dropped:
        parts.append(bars("Dropped, by reason", ledger.dropped, whole=ledger.rows_in, style="dropped"))
    if ledger.errored:
        parts.append(bars("Errors, to be tried again", ledger.errored, whole=ledger.rows_in, style="errored"))
    for group, counts in _grouped(ledger.counts).items():
        parts.append(bars(group, counts, whole=None, style="counted"))
    if not parts:
        return ""
    return f'<section class="stage"><h3>{escaped(view.name)}</h3><div class="panels">{"".join(parts)}</div></section>'


def _grouped(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Counts by the words their names begin with: `reward_0` and `reward_1` are `0` and `1` under `reward`.

    Names that share no first word with another, or only a "no", are together under `Counts`.
    """
    alike: dict[str, list[list[str]]] = {}
    for name in counts:
        words = re.split(r"[._]", name)
        alike.setdefault(words[0], []).append(words)
    groups: dict[str, dict[str, int]] = {}
    for family in alike.values():
        shared = 0
        while (
            len(family) > 1
            and family[0][0] not in ("no", "not")
            and len({tuple(words[: shared + 1]) for words in family}) == 1
        ):
            shared += 1
        title = " ".join(family[0][:shared]) or "Counts"
        for name in counts:
            if re.split(r"[._]", name) in family:
                rest = name[sum(len(word) + 1 for word in family[0][:shared]) :]
                groups.setdefault(title, {})[rest or name] = counts[name]
    return dict(sorted(groups.items()))


def bars(title: str, counts: Mapping[str, int], *, whole: int | None, style: str) -> str:
    """Counts as a table of horizontal bars, largest first, or in order where all are numbered.

    With `whole`, each one's share of it stands beside.
    """
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if all(name.isdecimal() for name in counts):
        ranked.sort(key=lambda item: int(item[0]))
    if len(ranked) > BARS:
        rest = ranked[BARS - 1 :]
        ranked = [*ranked[: BARS - 1], (f"{len(rest)} others", sum(count for _, count in rest))]
    largest = max((abs(count) for _, count in ranked), default=0) or 1
    rows = []
    for name, count in ranked:
        share = f" <small>{100 * count / whole:.1f}\u202f%</small>" if whole else ""
        width = 100 * abs(count) / largest
        # a lone bar has nothing to be compared with
        bar = f'<div class="bar {style}" aria-hidden="true" style="width:{width:.3f}%"></div>' if ranked[1:] else ""
        rows.append(
            f'<tr><th scope="row">{escaped(name)}</th><td class="n">{count:,}{share}</td>'
            f'<td class="flow">{bar}</td></tr>'
        )
    return f'<table class="bars"><caption>{escaped(title)}</caption><tbody>{"".join(rows)}</tbody></table>'
