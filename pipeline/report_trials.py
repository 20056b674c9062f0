"""A trial as a conversation for people: actions, feedback, rewards and what shows that its attempts belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pipeline.records import Chain, Episode, Provenance, Step, Trial
from pipeline.report_choice import is_mined, trial_kind
from pipeline.report_text import attribute, block, diff_size, escaped, moment, plural, size

MOST_STEPS = 60
"""Further steps of an episode are not shown, and their number is said."""

SIZED_CHARACTERS = 300
"""The size of shorter texts is plain to see and not told."""

_WEB = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d+)?/[\x21-\x7e]*\Z")
_REWARD_SOURCES = {
    "tests": "executed: the tests were run in the sandbox",
    "verifier": "from the environment's verifier",
    "history": "read off the history",
}


def trial_section(trial: Trial, number: int) -> str:
    """One trial as a `<section>` whose heading is an h3; `number` counts from 1 and names the anchor."""
    task = trial.task
    kind = trial_kind(trial).replace("_", " ")
    title = f"{task.repo or task.environment}: {kind}" if is_mined(trial) else kind
    sort = "mined" if is_mined(trial) else "synthetic"
    parts = [
        f'<section class="trial" id="trial-{number}" aria-labelledby="trial-{number}-title">',
        f'<h3 id="trial-{number}-title"><span class="sort {sort}">{sort}</span> {_inline(title, 120)}</h3>',
        f'<p class="facts">{_facts(trial)}</p>',
        f'<p class="path">{_path(trial.episodes)}</p>',
    ]
    if is_mined(trial):
        parts.append(_chain(trial.chain))
    told = f'<span class="meta">{size(task.prompt)}</span>' if len(task.prompt) >= SIZED_CHARACTERS else ""
    parts.append(f'<div class="step task"><p class="who"><b>Task</b> {told}</p>{block(task.prompt)}</div>')
    parts.extend(_episode(episode, len(trial.episodes)) for episode in trial.episodes)
    parts.append(_origin(trial))
    parts.append("</section>")
    return "".join(parts)


def reward_badge(episode: Episode) -> str:
    """The reward of an episode in words, its source and its evidence; a null reward is not known yet."""
    reward = episode.reward
    if reward is None:
        style, text = "open", "reward not known yet"
    else:
        style = "won" if reward == 1.0 else "lost" if reward == 0.0 else "partly"
        text = f"reward {reward:g}"
    source = ""
    if episode.reward_source is not None:
        source = f' <span class="source">{_REWARD_SOURCES[episode.reward_source]}</span>'
    evidence = f' <span class="evidence">{_inline(episode.reward_evidence)}</span>' if episode.reward_evidence else ""
    verdict = ""
    if episode.verdict is not None:
        verdict = f' <span class="source">the policy\'s own verdict before: {episode.verdict:.2f}</span>'
    return f'<div class="reward"><span class="badge {style}">{text}</span>{source}{evidence}{verdict}</div>'


def _facts(trial: Trial) -> str:
    task, facts = trial.task, [f"trial <code>{escaped(trial.trial_id[:12])}</code>"]
    if task.seed is not None:
        facts.append(f"seed {task.seed}")
    if task.base_commit:
        facts.append(f"base commit <code>{escaped(task.base_commit[:10])}</code>")
    if task.language:
        facts.append(escaped(task.language))
    if trial.provenance.license:
        facts.append(f"licence {escaped(trial.provenance.license)}")
    elif is_mined(trial):
        facts.append("licence not recognised")
    if trial.provenance.model:
        facts.append(f"actions by {escaped(trial.provenance.model)}")
    if trial.tokens is not None:
        facts.append(plural(trial.tokens, "token"))
    if trial.split:
        facts.append(f"split {escaped(trial.split)}")
    return " · ".join(facts)


def _path(episodes: Sequence[Episode]) -> str:
    """The rewards of a trial at a glance."""
    marks = []
    for episode in episodes:
        reward = episode.reward
        style = "open" if reward is None else "won" if reward == 1.0 else "lost" if reward == 0.0 else "partly"
        text = "?" if reward is None else f"{reward:g}"
        executed = " (executed)" if episode.reward_source == "tests" and reward is not None else ""
        marks.append(f'episode {episode.index + 1} <span class="badge {style}">{text}</span>{executed}')
    return f"Rewards: {' → '.join(marks)}" if marks else "No episode."


def _chain(chain: Chain) -> str:
    attempts = "".join(
        f"<li><b>{escaped(attempt.attempt_id)}</b> {escaped(attempt.kind.replace('_', ' '))}"
        f"{f' #{attempt.number}' if attempt.number is not None else ''}"
        f"{f', {moment(attempt.at)}' if attempt.at is not None else ''}"
        f"{f', {_commits(attempt.commits)}' if attempt.commits else ''}</li>"
        for attempt in chain.attempts
    )
    links = "".join(
        f"<li><b>{escaped(link.kind.replace('_', ' '))}</b> {escaped(link.source)} → {escaped(link.target)}, "
        f"confidence {link.confidence:.2f} by rule <code>{escaped(link.rule)}</code>"
        f'<span class="evidence">{_inline(link.evidence)}</span></li>'
        for link in chain.links
    )
    linked = f"<h4>Links</h4><ul>{links}</ul>" if links else '<p class="missing">No link: a chain of one attempt.</p>'
    return f'<div class="chain"><div><h4>Attempts</h4><ol>{attempts}</ol></div><div>{linked}</div></div>'


def _commits(commits: Sequence[str]) -> str:
    shown = ", ".join(f"<code>{escaped(commit[:10])}</code>" for commit in commits[:4])
    return shown + (f" and {len(commits) - 4} more commits" if len(commits) > 4 else "")


def _episode(episode: Episode, count: int) -> str:
    closing = max(
        (
            place
            for place, step in enumerate(episode.steps)
            if step.kind == "action" and step.channel not in ("reflection", "verdict")
        ),
        default=len(episode.steps) - 1,
    )
    before, after = episode.steps[: closing + 1], episode.steps[closing + 1 :]
    # what the policy itself said of the episode came before its reward
    before += tuple(step for step in after if step.channel == "verdict")
    after = tuple(step for step in after if step.channel != "verdict")
    parts = [f'<div class="episode"><h4>Episode {episode.index + 1} of {count}</h4>']
    parts.extend(_step(step) for step in before[:MOST_STEPS])
    if len(before) > MOST_STEPS:
        parts.append(f'<p class="cut">… {plural(len(before) - MOST_STEPS, "more step")}, not shown</p>')
    if not episode.actions:
        parts.append('<p class="missing">No action in this episode.</p>')
    parts.append(reward_badge(episode))
    parts.extend(_step(step, late=True) for step in after[:MOST_STEPS])
    parts.append("</div>")
    return "".join(parts)


def _step(step: Step, late: bool = False) -> str:
    who = "Action" if step.kind == "action" else "Feedback"
    facts = []
    if step.actor:
        facts.append(_inline(step.actor))
    if step.at is not None:
        facts.append(moment(step.at))
    if step.available_at is not None and step.available_at != step.at:
        facts.append(f"known from {moment(step.available_at)}")
    if late:
        facts.append("after the reward")
    change = diff_size(step.text)
    if change is not None:
        sums = f'<span class="plus">+{change.added:,}</span> <span class="minus">−{change.deleted:,}</span>'
        facts.append(f"{plural(change.files, 'file')} {sums}")
    if len(step.text) >= SIZED_CHARACTERS:
        facts.append(size(step.text))
    meta = " · ".join(facts)
    return (
        f'<div class="step {step.kind} {step.channel}"><p class="who"><b>{who}</b> '
        f'<span class="channel">{step.channel.replace("_", " ")}</span> <span class="meta">{meta}</span></p>'
        f"{block(step.text, end=step.channel in ('test', 'ci', 'tool'))}</div>"
    )


def _origin(trial: Trial) -> str:
    """Provenance and filter notes, folded."""
    origin: Provenance = trial.provenance
    rows = [("source", escaped(origin.source)), ("group", escaped(trial.group_id))]
    if origin.urls:
        rows.append(("URLs", "<br>".join(_url(url) for url in origin.urls[:12])))
    if origin.commits:
        rows.append(("commits", _commits(origin.commits)))
    if origin.retrieved_at is not None:
        rows.append(("history ends", moment(origin.retrieved_at)))
    if origin.sampling:
        rows.append(("sampling", f"<code>{_inline(origin.sampling)}</code>"))
    if origin.versions:
        rows.append(("versions", escaped(", ".join(f"{v.name} {v.version}" for v in origin.versions))))
    for note in trial.notes:
        detail = f": {_inline(note.detail)}" if note.detail else ""
        rows.append((f"filter {note.filter}", f"{escaped(note.action)}, {escaped(note.reason)}{detail}"))
    body = "".join(f'<tr><th scope="row">{escaped(name)}</th><td>{value}</td></tr>' for name, value in rows)
    return f"<details><summary>Provenance and filter notes</summary><table>{body}</table></details>"


def _url(url: str) -> str:
    """A link for plain http(s) addresses; any other text stays text."""
    if not _WEB.match(url) or len(url) > 500:
        return _inline(url)
    return f'<a href="{attribute(url)}" rel="noopener noreferrer nofollow">{escaped(url)}</a>'


def _inline(text: str, most: int = 400) -> str:
    """A short text in a line; what is over `most` characters is cut with its size."""
    shown = f"<bdi>{escaped(text[:most])}</bdi>".replace("\n", " ")
    return shown if len(text) <= most else f'{shown}<span class="cut">… {size(text[most:])} more, not shown</span>'
