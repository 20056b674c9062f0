"""Untrusted text as HTML: everything escaped, what is invisible made visible, what is long folded or cropped.

Texts of trials come from strangers. Nothing of them reaches a page except through `escaped`, `attribute` or `block`.
"""

from __future__ import annotations

import html
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.text import well_formed

LINE_CHARACTERS = 600
"""Longer lines are cut, with the size of the rest said."""

BLOCK_LINES = 400
"""Further lines of one text are not shown, and their number is said."""

OPEN_LINES, OPEN_END, OPEN_CHARACTERS = 24, 6, 2400
"""What of a long text stands open; the rest up to `BLOCK_LINES` is folded. Of a log, `OPEN_END` lines of its beginning
and the others of its end."""

LEAST_FOLDED = 8
"""Fewer lines are not worth a fold."""

_ANSI = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
_INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
)
"""Controls, bidirectional marks and overrides, zero-width and tag characters; not the joiners that emoji and Indic
scripts need, and not tab or line feed."""
_SPECIAL = re.compile(f"{_ANSI}|[{_INVISIBLE}]|[&<>\"']")
_HIDDEN = re.compile(f"[{_INVISIBLE}]")
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_LISTING = re.compile(r"=== [^=]+ ===\Z")
"""The line above a file in the prompt of a mined task."""
_DIFF_META = ("index ", "--- ", "+++ ", "new file", "deleted file", "old mode", "new mode", "similarity ", "rename ")


def escaped(text: str) -> str:
    """`text` escaped for HTML, with controls, bidirectional overrides, zero-width characters and ANSI codes shown."""
    return _SPECIAL.sub(_shown, well_formed(text))


def spelt_out(text: str) -> str:
    """`text` with characters that would be invisible spelt out, for places that take no markup; not escaped."""
    return _HIDDEN.sub(lambda found: f"[{_code(found[0])}]", well_formed(text))


def attribute(text: str) -> str:
    """`text` for a quoted HTML attribute."""
    return html.escape(spelt_out(text))


def size(text: str) -> str:
    """The size of `text` in UTF-8: `1 byte`, `812 bytes`, `8.4 kB`, `5.0 MB`."""
    return bytes_text(len(well_formed(text).encode()))


def bytes_text(count: int) -> str:
    """A number of bytes for people, in decimal units."""
    if count < 1000:
        return plural(count, "byte")
    for unit, scale in (("kB", 1e3), ("MB", 1e6)):
        if count < 999.95 * scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e9:.1f} GB"


def moment(at: datetime) -> str:
    """A point in time in UTC, to the minute, as a `<time>` element."""
    utc = at.astimezone(UTC)
    return f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}">{utc:%Y-%m-%d %H:%M} UTC</time>'


def plural(count: int, noun: str) -> str:
    """`1 trial`, `1,204 trials`."""
    return f"{count:,} {noun if count == 1 else noun + 's'}"


def block(text: str, *, end: bool = False) -> str:
    """A whole text as `<pre>`: diff lines coloured, most of a long text folded, the excess cropped and its size said.

    The beginning stands open; with `end` (logs, whose end says what failed) a little of it and more of the end.
    """
    if not text:
        return '<p class="none">(empty text)</p>'
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    first = _fit(lines, OPEN_END if end else OPEN_LINES)
    last = _fit(lines[: first - len(lines) - 1 : -1], OPEN_LINES - OPEN_END) if end else 0
    if len(lines) - first - last <= LEAST_FOLDED and len(text) <= 2 * OPEN_CHARACTERS:
        return _pre(list(_styled(lines)))
    kept = max(BLOCK_LINES - last, first)
    styled = list(_styled(lines[:kept]))
    cut = lines[kept : len(lines) - last]
    parts = [_pre(styled[:first])]
    folded = styled[first : len(lines) - last]
    if folded:
        size_all = f"<small>({plural(len(lines), 'line')}, {size(text)} in all)</small>"
        more = plural(len(folded) + len(cut), "line" if end else "more line")
        parts.append(f"<details><summary>{more} {size_all}</summary>{_pre(folded)}{_excess(cut)}</details>")
    if last:
        parts.append(_pre([("", line) for line in lines[len(lines) - last :]]))
    return "".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffSize:
    """How many files a text's diffs touch, and how many lines they add and delete."""

    files: int
    added: int
    deleted: int


def diff_size(text: str) -> DiffSize | None:
    """The size of the diffs or search/replace blocks in a text; null where there is none."""
    if "@@ -" not in text and "<<<<<<<" not in text:
        return None
    files = added = deleted = hunks = 0
    for style, _ in _styled(text.split("\n")):
        files += style == "file"
        added += style == "add"
        deleted += style == "del"
        hunks += style in ("hunk", "add", "del")
    return DiffSize(files=max(files, 1), added=added, deleted=deleted) if hunks else None


def _shown(found: re.Match[str]) -> str:
    text = found[0]
    if text in "&<>\"'":
        return html.escape(text)
    if len(text) > 1:
        return f'<span class="ctl">␛{html.escape(_HIDDEN.sub("", text))}</span>'
    if text < " ":
        return f'<span class="ctl">{chr(0x2400 + ord(text))}</span>'
    return f'<span class="ctl" title="{_name(text)}">{_code(text)}</span>'


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"


def _name(character: str) -> str:
    return html.escape(unicodedata.name(character, "control character").lower())


def _fit(lines: Sequence[str], most: int) -> int:
    """How many of the first lines stand open: at most `most`, and about `OPEN_CHARACTERS` of text, but one at least."""
    characters = 0
    for place, line in enumerate(lines[:most]):
        if characters > OPEN_CHARACTERS:
            return place
        characters += min(len(line), LINE_CHARACTERS)
    return min(most, len(lines))


def _pre(styled: Sequence[tuple[str, str]]) -> str:
    parts = []
    for plain, run in itertools.groupby(styled, key=lambda item: not item[0]):
        if plain:
            parts.append(f'<pre dir="auto">{chr(10).join(_line(line) for _, line in run)}</pre>')
        else:
            spans = "".join(f'<span class="{style}">{_line(line)}</span>' for style, line in run)
            parts.append(f'<pre class="diff">{spans}</pre>')
    return "".join(parts)


def _line(line: str) -> str:
    if len(line) <= LINE_CHARACTERS:
        return escaped(line)
    rest = size(line[LINE_CHARACTERS:])
    return f'{escaped(line[:LINE_CHARACTERS])}<span class="cut">… {rest} more on this line, not shown</span>'


def _excess(cut: Sequence[str]) -> str:
    if not cut:
        return ""
    return f'<p class="cut">… {plural(len(cut), "more line")} ({size(chr(10).join(cut))}), not shown</p>'


def _styled(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each line with its style: `` plain, `file`, `meta`, `hunk`, `add`, `del` or `ctx`."""
    old = new = 0  # lines left in the hunk, so that a deleted "-- x" is not taken for a file header
    side = ""  # of a search/replace block, or `ctx` below the heading of a listed file
    header = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        style = ""
        if old > 0 or new > 0:
            style = {"+": "add", "-": "del", "\\": "meta"}.get(line[:1], "ctx")
            old -= style in ("del", "ctx")
            new -= style in ("add", "ctx")
        elif _LISTING.match(line):
            style, side = "file", "ctx"
        elif side:
            style = side
            if line.startswith("=======") and side == "del":
                style, side = "hunk", "add"
            elif line.startswith(">>>>>>>") and side == "add":
                style, side = "hunk", ""
        elif line.startswith("<<<<<<<"):
            style, side = "hunk", "del"
        elif hunk := _HUNK.match(line):
            style, header = "hunk", False
            old, new = (1 if count is None else int(count) for count in hunk.groups())
        elif line.startswith("diff --git ") or (
            not header and line.startswith("--- ") and following.startswith("+++ ")
        ):
            style, header = "file", True
        elif line.startswith("\\ No newline") or (header and line.startswith(_DIFF_META)):
            style = "meta"
        else:
            header = False
        yield style, line
