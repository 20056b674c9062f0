"""The prompt of a mined task: what was wanted, and the files it was about as they stood, and nothing from later on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from pipeline.edits import FileEdit, parse_diff
from sources.edits import Edit
from sources.graph import SQUASHED
from sources.links.words import is_changelog

LANGUAGES: Mapping[str, str] = MappingProxyType(
    {
        ".py": "python", ".pyi": "python", ".pyx": "cython", ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp",
        ".cxx": "cpp", ".hpp": "cpp", ".hh": "cpp", ".rs": "rust", ".go": "go", ".java": "java", ".kt": "kotlin",
        ".scala": "scala", ".js": "javascript", ".jsx": "javascript", ".mjs": "javascript", ".cjs": "javascript",
        ".ts": "typescript", ".tsx": "typescript", ".rb": "ruby", ".php": "php", ".cs": "csharp", ".swift": "swift",
        ".m": "objective-c", ".lua": "lua", ".pl": "perl", ".r": "r", ".jl": "julia", ".hs": "haskell", ".ml": "ocaml",
        ".ex": "elixir", ".exs": "elixir", ".erl": "erlang", ".clj": "clojure", ".sh": "shell", ".bash": "shell",
        ".sql": "sql", ".html": "html", ".css": "css", ".scss": "css", ".zig": "zig", ".dart": "dart", ".vue": "vue",
    }
)  # fmt: skip
"""File suffix → language of a task."""

_TRAILER = re.compile(
    r"^\s*[-*]?\s*(?:[\w-]+-by:|(?:fix(?:e[sd])?|close[sd]?|resolve[sd]?|ref(?:s|erences)?|see|issue|gh|bug)\b[:\s]*"
    r"(?:https?://\S+|[\w./-]*(?:#|gh-)\d+)(?:[,\s]+(?:and\s+)?(?:https?://\S+|[\w./-]*(?:#|gh-)\d+))*\s*\.?\s*$)",
    re.IGNORECASE,
)
_DIFF = re.compile(r"^(```|~~~).*?(^\1\s*$|\Z)", re.MULTILINE | re.DOTALL)
_PATCH_LINE = re.compile(r"^(diff --git |index [0-9a-f]+\.\.|--- a/|\+\+\+ b/|@@ )", re.MULTILINE)
_WINDOW = 20


def intent(subject: str, body: str, *, most_chars: int) -> str:
    """What an attempt set out to do: title and text without diffs, trailers and the list of commits of a squash."""
    text = _DIFF.sub("", body)
    if found := _PATCH_LINE.search(text):
        text = text[: found.start()]
    if re.match(r"\* \S", text) and len(re.findall(r"^\* ", text, re.MULTILINE)) > 1:
        text = ""  # what the squash button lists are the steps of the solution
    lines = [line for line in text.split("\n") if not _TRAILER.match(line)]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    title = SQUASHED.sub("", subject).strip()
    return cropped(f"{title}\n\n{text}" if text and text != title else title, most_chars)


def prompt(name: str, wanted: str, edit: Edit, context_chars: int) -> str:
    """The task in words, then the files the first attempt changes, as they stood before it.

    Files share `context_chars`; of a file that is too long only the surroundings of what the attempt touches are shown.
    Changelogs and lists of authors come last and share what the other files leave.
    """
    text = f"Repository: {name}\n\n{wanted}\n"
    parts = {part.old_path: part for part in parse_diff(edit.text) if part.old_path is not None}
    left = context_chars
    for at, path in enumerate(sorted(parts, key=lambda path: (is_changelog(path), path))):
        share = left // (len(parts) - at)
        shown = _shown(edit.before[path], parts[path], share)
        left -= len(shown)
        if shown:
            text += f"\n=== {path} ===\n{shown}"
    return text


def _shown(content: str, part: FileEdit, most_chars: int) -> str:
    """A file whole, or the lines around an edit's hunks, at most about `most_chars` of it."""
    if len(content) <= most_chars:
        return content if content.endswith("\n") or not content else content + "\n"
    lines = content.split("\n")
    wanted: list[tuple[int, int]] = []
    for hunk in part.hunks:
        first = max(0, hunk.old_start - 1 - _WINDOW)
        last = min(len(lines), hunk.old_start - 1 + len(hunk.old) + _WINDOW)
        if wanted and first <= wanted[-1][1]:
            first, _ = wanted.pop()
        wanted.append((first, last))
    text, at = "", 0
    for first, last in wanted:
        piece = "\n".join(lines[first:last]) + "\n"
        if len(text) + len(piece) > most_chars:
            break
        text += (f"[lines {at + 1} to {first} not shown]\n" if first > at else "") + piece
        at = last
    return text + f"[lines {at + 1} to {len(lines)} not shown]\n" if at < len(lines) and text else text


def language(paths: Iterable[str]) -> str | None:
    """The language most of the files are in, by suffix; ties go to the first by name."""
    found = Counter(LANGUAGES[suffix] for path in paths if (suffix := PurePosixPath(path).suffix.lower()) in LANGUAGES)
    return min(found, key=lambda name: (-found[name], name)) if found else None


def cropped(text: str, most_chars: int) -> str:
    """`text`, or its first lines with a line that says how many are not shown."""
    if len(text) <= most_chars:
        return text
    end = text.rfind("\n", 0, most_chars)
    kept = text[: end if end > 0 else most_chars]
    return f"{kept}\n[{text.count(chr(10), len(kept)) or 1} more lines not shown]"
