"""The files of one state of the sample repository, and the edits that lead to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sources.sample_history.story import Edit, StoryError

Tree = Mapping[str, tuple[bytes, bool]]
"""Path → content and whether it is executable."""


def apply(tree: Tree, edits: Iterable[Edit]) -> dict[str, tuple[bytes, bool]]:
    """The tree after `edits`; raises `StoryError` where one does not fit, as a merge conflict would."""
    after = dict(tree)
    for edit in edits:
        content, executable = after.get(edit.path, (b"", False))
        if edit.verb == "write":
            after[edit.path] = (edit.new, edit.executable or executable)
            continue
        if edit.path not in after:
            raise StoryError(f"{edit.verb} {edit.path}: there is no such file")
        if edit.verb == "replace":
            found = content.count(edit.old)
            if found != 1:
                raise StoryError(f"{edit.path} holds {found} times, not once:\n{edit.old.decode('utf-8', 'replace')}")
            after[edit.path] = (content.replace(edit.old, edit.new), executable)
        elif edit.verb == "append":
            after[edit.path] = (content + edit.new, executable)
        elif edit.verb == "cut":
            if content.count(edit.old) != 1:
                raise StoryError(f"{edit.path}: cannot take out\n{edit.old.decode('utf-8', 'replace')}")
            after[edit.path] = (content.replace(edit.old, b""), executable)
        elif edit.verb == "delete":
            del after[edit.path]
        elif edit.verb == "rename":
            after[edit.other] = after.pop(edit.path)
        elif edit.verb == "exec":
            after[edit.path] = (content, True)
        else:
            raise StoryError(f"{edit.verb!r} is not an edit of a file")
    return after


def inverse(edits: Iterable[Edit]) -> Iterator[Edit]:
    """The edits that undo `edits`; writing a file is taken for making it."""
    for edit in reversed(list(edits)):
        if edit.verb == "replace":
            yield Edit(verb="replace", path=edit.path, old=edit.new, new=edit.old)
        elif edit.verb == "append":
            yield Edit(verb="cut", path=edit.path, old=edit.new)
        elif edit.verb == "cut":
            yield Edit(verb="append", path=edit.path, new=edit.old)
        elif edit.verb == "write":
            yield Edit(verb="delete", path=edit.path)
        else:
            raise StoryError(f"{edit.verb} {edit.path} cannot be undone")
