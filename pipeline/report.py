"""The report: one HTML page that shows a run to a person. It needs no network and no script, and opens from disk.

Every text of a trial, a ledger or a result file goes through `pipeline.report_text`; the page's Content-Security-Policy
forbids scripts and fetches besides. What is missing is said on the page. The page is a function of the lake and the
config alone, so that equal lakes give equal pages.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

from pipeline.lake import Lake, temporary_name
from pipeline.records import SCHEMA_VERSION, Trial
from pipeline.report_choice import Corpus, choose, is_mined, survey
from pipeline.report_funnel import StageView, bars, funnel_section, stage_views
from pipeline.report_learning import headlines, learning_section
from pipeline.report_results import read_results
from pipeline.report_text import escaped, moment, plural
from pipeline.report_trials import trial_section

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """What the report shows and where it goes."""

    target: Path
    """The HTML file to write, a local path."""
    trials_stage: str = "filtered"
    """The stage whose trials are shown."""
    evaluations: tuple[str, ...] = ("evaluation",)
    """JSON files or folders in the lake, see `pipeline.report_results`."""
    stages: tuple[str, ...] = ()
    """The funnel's order, where the usual one will not do."""
    title: str = "A run of Retrial"
    """What was run."""


def report(lake: Lake, config: ReportConfig) -> Path:
    """Write the report of what is in `lake` and return its path. Missing or unfinished parts are said on the page."""
    views = stage_views(lake, config.stages)
    corpus, trials = Corpus(), []
    if config.trials_stage in {view.name for view in views}:
        corpus, candidates = survey(lake, config.trials_stage)
        trials = choose(lake, candidates)
    results = read_results(lake, config.evaluations)
    page = _page(
        title=config.title,
        header=_header(config, corpus, views, headlines(results)),
        sections=(
            ("funnel", "From rows in to rows out", funnel_section(views)),
            ("trials", _trials_title(trials), _trials(config, corpus, trials, views)),
            ("learning", "What was learned", learning_section(results)),
        ),
        footer=_footer(corpus),
    )
    target = Path(config.target)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(temporary_name(target.name))
    unfinished.write_text(page, encoding="utf-8", newline="\n")
    return unfinished.replace(target)


def _page(*, title: str, header: str, sections: Sequence[tuple[str, str, str]], footer: str) -> str:
    style = resources.files("pipeline").joinpath("report.css").read_text(encoding="utf-8")
    contents = "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading, _ in sections)
    body = "\n".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{heading}</h2>{part}</section>'
        for anchor, heading, part in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escaped(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<a class="skip" href="#funnel">Skip to the content</a>\n<header>{header}\n'
        f'<nav aria-label="Contents"><ul>{contents}</ul></nav></header>\n<main>\n{body}\n</main>\n'
        f"<footer>{footer}</footer>\n</body>\n</html>\n"
    )


def _header(config: ReportConfig, corpus: Corpus, views: Sequence[StageView], learned: Sequence[str]) -> str:
    errors = sum(view.ledger.errored.total() for view in views)
    unfinished = [view.name for view in views if not view.finished]
    lead, *also = [*learned, _corpus_sentence(corpus)]
    tiles = [
        ("trials", f"{corpus.trials:,}"),
        ("episodes", f"{corpus.episodes:,}"),
        ("rewards executed by tests", f"{corpus.executed:,}"),
        ("rewards not known yet", f"{corpus.unknown:,}"),
        ("errors, to be tried again", f"{errors:,}"),
    ]
    if corpus.tokens_counted:
        tiles.insert(2, ("tokens", f"{corpus.tokens:,}"))
    grid = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in tiles)
    parts = [f"<h1>{escaped(config.title)}</h1>", f'<p class="headline">{lead}</p>']
    parts.extend(f'<p class="also">{sentence}</p>' for sentence in also)
    if corpus.history_end is not None:
        parts.append(f'<p class="also">The history read here ends at {moment(corpus.history_end)}.</p>')
    for name in unfinished:
        parts.append(f'<p class="missing">Stage <b>{escaped(name)}</b> is unfinished: shards of it are missing.</p>')
    parts.append(f'<dl class="tiles">{grid}</dl>')
    return "".join(parts)


def _corpus_sentence(corpus: Corpus) -> str:
    if not corpus.trials:
        return "No trials yet."
    sources = []
    if corpus.repos:
        sources.append(f"mined from {_listed(sorted(corpus.repos))}")
    if corpus.environments:
        sources.append(f"made in {_listed(sorted(corpus.environments))}")
    return f"{plural(corpus.trials, 'trial')}, {' and '.join(sources) or 'of unknown origin'}."


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = [escaped(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _trials_title(trials: Sequence[Trial]) -> str:
    words = {0: "Trials", 1: "One trial to read", 2: "Two trials to read", 3: "Three trials to read"}
    return words[len(trials)]


def _trials(config: ReportConfig, corpus: Corpus, trials: Sequence[Trial], views: Sequence[StageView]) -> str:
    name = escaped(config.trials_stage)
    if not trials:
        known = ", ".join(escaped(view.name) for view in views) or "none"
        return f'<p class="missing">No trials: stage <b>{name}</b> holds none (stages in the lake: {known}).</p>'
    parts = [
        f"<p>Of the {plural(corpus.trials, 'trial')} of stage <b>{name}</b>, chosen by rule: mined ones of different "
        "kinds first, then a synthetic one; preferred are executed rewards, a failure that a success follows, feedback "
        "from tests or people, and a moderate length. A trial is read from top to bottom: what the policy could know "
        "stands above what it did. The line below a reward says what decided it; the policy never sees that line.</p>",
        _corpus_panels(corpus),
    ]
    if not any(is_mined(trial) for trial in trials):
        parts.append('<p class="missing">The corpus holds no mined trial.</p>')
    if all(is_mined(trial) for trial in trials):
        parts.append('<p class="missing">The corpus holds no synthetic trial.</p>')
    parts.extend(trial_section(trial, number) for number, trial in enumerate(trials, 1))
    return "".join(parts)


def _corpus_panels(corpus: Corpus) -> str:
    rewards = {
        f"{'not known yet' if reward == 'null' else reward} ({source})": count
        for (source, reward), count in corpus.rewards.items()
    }
    by_kind = bars("Trials by kind", corpus.kinds, whole=corpus.trials, style="kept")
    by_reward = bars("Rewards of episodes, by source", rewards, whole=corpus.episodes, style="kept")
    return f'<div class="panels">{by_kind}{by_reward}</div>'


def _footer(corpus: Corpus) -> str:
    ours = [("retrial", metadata.version("retrial")), ("record schema", SCHEMA_VERSION)]
    ours += [("Python", platform.python_version()), ("pyarrow", metadata.version("pyarrow"))]
    versions = ", ".join(escaped(f"{name} {version}") for name, version in ours)
    made = ", ".join(escaped(f"{name} {version}") for name, version in sorted(corpus.versions)) or "not recorded"
    return (
        f"<p>Report made by {versions}. Trials made by {made}.</p>"
        "<p>This page runs no script and loads nothing. Texts of trials are shown as they are, escaped; characters "
        "that would be invisible or turn the reading direction are shown as marks.</p>"
    )
