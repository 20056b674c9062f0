"""The licence of a repository at a commit, told from the words of its licence file; none rather than a wrong one."""

from __future__ import annotations

import re

from sources.git import Git

_FILE = re.compile(r"^(licen[cs]e|copying|unlicense|mit-license)([.-].*)?$", re.IGNORECASE)
_GNU = r"GNU (?P<name>AFFERO |LESSER |LIBRARY )?GENERAL PUBLIC LICENSE\s+Version (?P<version>[\d.]+)"
_WORDS: tuple[tuple[str, str], ...] = (
    ("Apache-2.0", r"Apache License,? Version 2\.0"),
    ("MPL-2.0", r"Mozilla Public License,? Version 2\.0"),
    ("Unlicense", r"This is free and unencumbered software released into the public domain"),
    ("CC0-1.0", r"CC0 1\.0 Universal"),
    ("BSL-1.0", r"Boost Software License - Version 1\.0"),
    (
        "ISC",
        r"Permission to use, copy, modify, and(?:/or)? distribute this software for any purpose with or without fee",
    ),
    ("MIT", r"Permission is hereby granted, free of charge, to any person obtaining a copy of this software and"),
    ("PSF-2.0", r"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2"),
)
_BSD = r"Redistributions? (?:of source code|and use in source and binary forms)"
_BSD_3 = r"(?:Neither the names? of|names? of .{0,80} may not be used to endorse|may not be used to endorse or promote)"
_BSD_4 = r"All advertising materials mentioning features"


def license_of(text: str) -> str | None:
    """The SPDX id of a licence text; null where none, or more than one, is recognised."""
    flat = re.sub(r"[\s*#>]+", " ", text)
    found = {spdx for spdx, words in _WORDS if re.search(words, flat, re.IGNORECASE)}
    if "Apache-2.0" not in found and re.search(r"Apache License Version 2\.0", flat, re.IGNORECASE):
        found.add("Apache-2.0")
    if re.search(_BSD, flat, re.IGNORECASE):
        if re.search(_BSD_4, flat, re.IGNORECASE):
            found.add("BSD-4-Clause")
        else:
            found.add("BSD-3-Clause" if re.search(_BSD_3, flat, re.IGNORECASE) else "BSD-2-Clause")
    gnu = re.search(_GNU, flat[:400], re.IGNORECASE)
    if gnu:
        letter = {"A": "AGPL", "L": "LGPL"}.get((gnu["name"] or " ")[0].upper(), "GPL")
        version = gnu["version"].rstrip(".")
        found = {f"{letter}-{version if '.' in version else version + '.0'}-only"}
    return found.pop() if len(found) == 1 else None


class Licenses:
    """The licences of one repository by commit; each licence text is read once."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._of_blob: dict[str, str | None] = {}

    def at(self, commit: str) -> str | None:
        """The SPDX id at a commit; null where the licence files name none, or several."""
        found = set()
        for name, blob in self._git.root_files(commit).items():
            if not _FILE.match(name):
                continue
            if blob not in self._of_blob:
                self._of_blob[blob] = license_of(self._git.object(blob).decode("utf-8", "replace"))
            found.add(self._of_blob[blob])
        found.discard(None)
        return found.pop() if len(found) == 1 else None
