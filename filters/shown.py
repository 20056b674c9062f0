"""What a mined prompt shows: words, then files as they stood before the first attempt.

A file stands behind a line `=== path ===`, with `[lines 5 to 90 not shown]` where some are left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field

_HIDDEN = re.compile(r"\[lines (\d+) to (\d+) not shown\]\Z")


@dataclass(slots=True, kw_only=True)
class ShownFile:
    """The lines of a file that a prompt shows, by number counted from 1, and whether they are all of it."""

    lines: dict[int, str] = field(default_factory=dict)
    whole: bool = True


def shown_files(prompt: str, paths: Collection[str]) -> dict[str, ShownFile]:
    """Of the files among `paths` those that the prompt shows, by path. A line is without its line end."""
    heads = {f"=== {path} ===": path for path in paths}
    shown: dict[str, ShownFile] = {}
    file = ShownFile()
    number = 0
    for line in prompt.split("\n"):
        if line in heads:
            # what stands between a file's last line end and the next head, or the end, is no line of it
            file.lines.pop(number - 1, None)
            file = shown[heads[line]] = ShownFile()
            number = 1
        elif number and (hidden := _HIDDEN.match(line)) and int(hidden[1]) == number:
            file.whole = False
            number = int(hidden[2]) + 1
        elif number:
            file.lines[number] = line
            number += 1
    file.lines.pop(number - 1, None)
    return shown


def words(prompt: str, paths: Collection[str]) -> str:
    """The prompt up to the first file among `paths` that it shows."""
    first = min((place for path in paths if (place := prompt.find(f"\n=== {path} ===\n")) >= 0), default=len(prompt))
    return prompt[:first]
