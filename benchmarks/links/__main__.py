"""Mines the clones, scores the linkers on all labels, prints tables, and keeps the figures."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from benchmarks.links.labels import DEVELOPMENT, clone, labels, repositories
from benchmarks.links.scoring import KINDS, InWindow, Scored, score
from pipeline.lake import Lake
from pipeline.results import write_results
from pipeline.stage import StageError
from sources.git import Git
from sources.links import LINKERS
from sources.mine import LINKS, Linked, MineConfig, run_links
from sources.names import shard_prefix


def main() -> None:
    """Score every labelled repository that DATA has a clone of; the last line printed is the JSON object."""
    data = os.environ.get("DATA")
    if not data:
        raise SystemExit("DATA is not set; give the folder of clones: make bench-links DATA=/path/to/clones")
    scored: list[Scored] = []
    windows: list[InWindow] = []
    absent = []
    logging.disable(logging.ERROR)
    for repository in repositories():
        path = clone(Path(data), repository)
        if path is None:
            absent.append(repository)
            continue
        with tempfile.TemporaryDirectory() as folder, Git(str(path)) as git:
            lake, name = Lake(folder), repository.replace("+", "/")
            config = MineConfig(repo=str(path), name=name)
            linked = mined(lake, config)
            found = score(
                repository,
                labels(repository),
                linked.attempts,
                linked.links,
                git,
                min_confidence=config.min_confidence,
            )
        scored += found[0]
        windows += found[1]
        print(f"{repository}: {sum(one.right for one in found[0])} of {sum(one.label.link for one in found[0])} links")
    if not scored:
        raise SystemExit(f"{data} holds a clone of none of the labelled repositories, such as {absent[0]}/repo")
    if absent:
        print(f"no clone of {', '.join(absent)}")
    figures = report(scored, windows)
    target = Path(__file__).parents[1] / "results" / "links.json"
    print(write_results(target, "links", figures, "make bench-links DATA=<folder of clones>"))


def mined(lake: Lake, config: MineConfig) -> Linked:
    """The links of all rules; without those that read what the clone lacks, which are told."""
    try:
        return run_links(lake, config)
    except StageError as error:
        done = {entry["key"].removeprefix(shard_prefix(config.name)) for entry in lake.manifest(LINKS)}
        failed = sorted(set(LINKERS) - done)
        if not done or not failed:
            raise
        print(f"{config.name}: scored without {', '.join(failed)}: {error}")
        return run_links(lake, replace(config, rules=tuple(rule for rule in LINKERS if rule in done)))


def report(scored: list[Scored], windows: list[InWindow]) -> dict[str, float]:
    """Print the tables; all figures by name. Single pairs are shown for the development half alone: who reads those
    of the other half fits rules to it."""
    halves: dict[str, Callable[[str], bool]] = {
        "": lambda repository: True,
        "development.": lambda repository: repository in DEVELOPMENT,
        "held_out.": lambda repository: repository not in DEVELOPMENT,
    }
    figures: dict[str, float] = {}
    for half, inside in halves.items():
        ours = [one for one in scored if inside(one.repository)]
        figures |= {
            f"{half}{name}": value
            for name, value in _figures(ours, [one for one in windows if inside(one.repository)]).items()
        }
    for name, value in figures.items():
        print(f"{name:44s} {value}")
    confused = Counter((one.label.kind, one.found or "-") for one in scored if one.label.link)
    print("\nlabelled as, found as (all confidences)")
    for (kind, found), count in sorted(confused.items()):
        print(f"{kind:12s} {found:16s} {count}")
    missed = [one for one in scored if one.missed]
    print("\nmissed, by class of reason")
    for (reason, kind), count in Counter((one.missed, one.label.kind) for one in missed).most_common():
        print(f"{reason:24s} {kind:12s} {count}")
    print("\nof the development half: wrong")
    for one in scored:
        if one.repository in DEVELOPMENT and one.sure and not one.right and one.found in KINDS:
            print(f"{one.repository} {one.label.source} {one.label.target} found {one.found}, is {_is(one)}")
    print("\nof the development half: in a window and not labelled a link of that kind")
    for claim in windows:
        if claim.repository in DEVELOPMENT and claim.right is False:
            print(f"{claim.repository} {claim.link.source} {claim.link.target} {claim.kind} ({claim.link.rule})")
    print("\nof the development half: missed where a message shows it")
    for one in missed:
        if one.repository in DEVELOPMENT and one.label.stratum == "message":
            print(f"{one.repository} {one.label.source} {one.label.target} {one.label.kind}: {one.missed}")
    return figures


def _is(one: Scored) -> str:
    return one.label.kind if one.label.link else f"no {one.label.kind}"


def _figures(scored: list[Scored], windows: list[InWindow]) -> dict[str, float]:
    claims = [one for one in scored if one.sure and one.found in KINDS]
    links = [one for one in scored if one.label.link]
    message = [one for one in links if one.label.stratum == "message"]
    exhaustive = [one for one in links if one.label.window]
    judged = [one for one in windows if one.right is not None]
    figures: dict[str, float] = {"labelled": len(scored), "links": len(links), "claims": len(claims)}
    figures |= _share("precision", (one.right for one in claims))
    figures |= _share("recall", (one.right for one in links))
    for kind in KINDS:
        of_kind = [one.right for one in claims if one.found == kind]
        figures |= {**_share(f"precision.{kind}", of_kind), **({f"claims.{kind}": len(of_kind)} if of_kind else {})}
        figures |= _share(f"recall.{kind}", (one.right for one in links if one.label.kind == kind))
    figures |= _share("precision_of_pairs", (one.label.link for one in claims))
    figures |= _share("recall_of_pairs", (one.sure and one.found in KINDS for one in links))
    figures |= _share("recall_message", (one.right for one in message))
    figures |= _share("recall_code", (one.right for one in links if one.label.stratum == "code"))
    for kind in KINDS:
        figures |= _share(f"recall_message.{kind}", (one.right for one in message if one.label.kind == kind))
    figures |= _share("window_recall", (one.right for one in exhaustive))
    figures |= _share("window_precision", (bool(one.right) for one in judged))
    figures["window_claims"] = len(judged)
    return figures


def _share(name: str, hits: Iterable[bool]) -> dict[str, float]:
    """The share of hits under a name; nothing where there is nothing to count."""
    found = list(hits)
    return {name: round(sum(found) / len(found), 3)} if found else {}


if __name__ == "__main__":
    main()
