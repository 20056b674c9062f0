"""The report's curves: what each arm earns beside the Bayes optimum and beside resampling, and how training went."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from pipeline.report_plots import Plot, Series, svg
from pipeline.report_results import ARM_NOTES, ARMS, Arm, Curve, EnvironmentResult, Results
from pipeline.report_text import escaped, plural

MOST_FAMILIES = 6
"""Training curves of further families of runs are named instead of drawn."""

MOST_PAIRS = 2
"""So many arms are drawn beside their own resampling."""

_CPT_CAPTION = (
    "Solid: what the policy writes, which is learned. Dashed: what task and world say, which is read; without a "
    "weight of its own it is not learned, and its loss may rise."
)
_IN_A_SENTENCE = {"metarl": "meta-RL", "cpt": "CPT alone", "markov": "a Markovian policy"}
"""The arms that the headline names; the table has all."""

_ARM_COLOURS = {"metarl": 0, "cpt": 1, "single_episode": 2, "markov": 3, "single_episode_cut": 4}
_OWN_KINDS = ("action", "reflection", "verdict")
_KIND_COLOURS = {"action": 0, "feedback": 1, "structure": 2, "verdict": 3, "prompt": 4, "reflection": 5, "reward": -1}


def headlines(results: Results) -> list[str]:
    """What the numbers say, in sentences (HTML): every arm's return as a share of the Bayes optimum.

    One sentence for each environment; where there are several, one for all of them stands first.
    """
    shares: dict[str, list[float]] = {}
    sentences = []
    for result in results.environments:
        found = {arm.name: arm.share for arm in result.arms if arm.name in _IN_A_SENTENCE}
        for name, share in (found or {arm.name: arm.share for arm in result.arms}).items():
            shares.setdefault(name, []).append(share)
            found[name] = share
        where = f"On {escaped(result.environment.replace('_', ' '))}"
        sentences.append(_sentence(where, {name: f"{share:.2f}" for name, share in found.items()}))
    if len(sentences) > 1:
        where = f"In {plural(len(sentences), 'environment')}"
        sentences.insert(0, _sentence(where, {name: _range(found) for name, found in shares.items()}))
    return sentences


def learning_section(results: Results) -> str:
    """The section's HTML, without its heading."""
    parts = [f'<p class="missing">{escaped(problem)}</p>' for problem in results.problems]
    if results.environments:
        parts.append(_table(results.environments))
        parts.extend(_environment(result) for result in results.environments)
    elif not results.problems:
        parts.append('<p class="missing">No evaluation was found in the lake: nothing was measured yet.</p>')
    parts.append("<h3>How training went</h3>")
    optima = {(result.environment, len(result.optimum)): sum(result.optimum) for result in results.environments}
    parts.append(_training("CPT", results.cpt, _cpt_plot, _CPT_CAPTION))
    parts.append(
        _training(
            "meta-RL",
            results.metarl,
            lambda family, curves: _metarl_plot(family, curves, optima),
            "Sum of the rewards of a trial, as sampled while training; an update plays few hidden instances, so luck "
            "may lift it above the optimum.",
        )
    )
    return "".join(parts)


def _sentence(where: str, shares: Mapping[str, str]) -> str:
    first, *rest = ((escaped(_IN_A_SENTENCE.get(name, ARMS.get(name, name))), share) for name, share in shares.items())
    others = "".join(f"; {name} {share}" for name, share in rest)
    return f"{where}, {first[0]} reaches {first[1]} of the Bayes optimum{others}."


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _table(environments: Sequence[EnvironmentResult]) -> str:
    names = list(ARMS) + sorted({arm.name for result in environments for arm in result.arms} - set(ARMS))
    shown = [name for name in names if any(arm.name == name for result in environments for arm in result.arms)]
    head = "".join(f'<th scope="col" class="n">{escaped(ARMS.get(name, name))}</th>' for name in shown)
    notes = "".join(
        f"<div><dt>{escaped(ARMS[name])}</dt> <dd>{ARM_NOTES[name]}</dd></div>" for name in shown if name in ARM_NOTES
    )
    rows = []
    for result in environments:
        arms = {arm.name: arm for arm in result.arms}
        seeds = max(len(arm.runs) for arm in result.arms)
        cells = "".join(_cell(arms.get(name), seeds) for name in shown)
        rows.append(
            f'<tr><th scope="row">{escaped(result.environment)}<br><small>{plural(len(result.optimum), "episode")}, '
            f'{plural(seeds, "seed")}</small></th>{cells}<td class="n">{sum(result.optimum):.3f}</td></tr>'
        )
    return (
        "<p>Return as a share of what the Bayes-optimal policy earns: the median over seeds, and the range where there "
        "are several. 1 is the most that any policy can get.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Shares of the Bayes optimum"><table><thead><tr>'
        f'<th scope="col">environment</th>{head}<th scope="col" class="n">rewards at the optimum</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><dl class='arms'>{notes}</dl>"
    )


def _cell(arm: Arm | None, seeds: int) -> str:
    if arm is None:
        return '<td class="n"><small>not run</small></td>'
    shares = [run.share for run in arm.runs]
    spread = f"{min(shares):.2f} – {max(shares):.2f}" if len(shares) > 1 else ""
    if len(shares) < seeds:
        spread += f" ({plural(len(shares), 'seed')})"
    return f'<td class="n">{arm.share:.3f}<br><small>{spread}</small></td>'


def _environment(result: EnvironmentResult) -> str:
    episodes = [float(index + 1) for index in range(len(result.optimum))]
    earned = [Series(label="Bayes optimum", x=episodes, y=result.optimum, dashes=True, markers=False)]
    within: list[Series] = []
    for place, arm in enumerate(result.arms):
        colour = _ARM_COLOURS.get(arm.name, place)
        earned.append(_spread(arm.label, episodes, [run.reward_by_episode for run in arm.runs], colour))
        resampled = [run.resampled_within for run in arm.runs if run.resampled_within]
        if resampled and len(within) < 2 * MOST_PAIRS:
            within.append(_spread(arm.label, episodes, [run.success_within for run in arm.runs], colour))
            within.append(_spread(f"{arm.label}, resampled", episodes, resampled, colour, dashes=True))
    title = result.environment.replace("_", " ")
    runs = [run for arm in result.arms for run in arm.runs]
    trials = " or ".join(f"{count:,}" for count in sorted({run.trials for run in runs}))
    figures = [
        _figure(
            Plot(
                title=f"{title}: reward by episode",
                x_label="episode of the trial",
                y_label="mean reward",
                series=earned,
                share=True,
                description=_described(earned),
            ),
            f"Mean reward of each episode on held-out instances, {trials} trials a seed. Lines are medians over seeds, "
            "bands run from the lowest to the highest seed. A policy that cannot use its history stays level.",
        )
    ]
    if within:
        figures.append(
            _figure(
                Plot(
                    title=f"{title}: solved within k episodes",
                    x_label="k",
                    y_label="share of trials",
                    series=within,
                    share=True,
                    description=_described(within),
                ),
                "Solid: p@k, the share of trials solved by episode k of one trial. Dashed: pass@k of the same policy "
                "in k fresh contexts. What a solid line has above its dashed one is adaptation, not luck.",
            )
        )
    return f'<h3>{escaped(title)}</h3><div class="plots">{"".join(figures)}</div>'


def _training(name: str, curves: Sequence[Curve], plot: Callable[[str, Sequence[Curve]], Plot], caption: str) -> str:
    """A plot for each family of runs, or a sentence where there is none."""
    families: dict[str, list[Curve]] = {}
    for curve in curves:
        if curve.points:
            families.setdefault(curve.family, []).append(curve)
    if not families:
        return f'<p class="missing">No {name} run has left its metrics in the lake yet.</p>'
    names = sorted(families)
    figures = "".join(
        _figure(plot(family, families[family]), f"{caption} {plural(len(families[family]), 'run')}.")
        for family in names[:MOST_FAMILIES]
    )
    rest = ", ".join(escaped(family) for family in names[MOST_FAMILIES:])
    more = f'<p class="missing">Not drawn: {rest}.</p>' if rest else ""
    return f'<div class="plots">{figures}</div>{more}'


def _cpt_plot(family: str, curves: Sequence[Curve]) -> Plot:
    kinds = sorted({kind for curve in curves for _, values in curve.points for kind in values})
    lines = [_over_runs(kind, curves, kind, _KIND_COLOURS.get(kind, place)) for place, kind in enumerate(kinds)]
    # the loss of what is not learned may rise without bound and would flatten the rest
    learned = max((max(line.y) for line in lines if line.label in _OWN_KINDS), default=math.inf)
    top = min(1.08 * max(max(line.y) for line in lines), 2.0 * learned)
    series = [
        replace(
            line,
            label=line.label if line.y[-1] <= top else f"{line.label} ({line.y[-1]:.1f}) ↑",
            dashes=line.label not in _OWN_KINDS,
        )
        for line in lines
    ]
    return Plot(
        title=f"{family}: loss by kind of segment",
        x_label="step",
        y_label="nats a token",
        series=series,
        top=top,
        description=_described(series),
    )


def _metarl_plot(family: str, curves: Sequence[Curve], optima: Mapping[tuple[str, int], float]) -> Plot:
    earned = _over_runs("sampled", curves, "return", 0)
    series = [earned]
    optimum = optima.get((curves[0].environment, curves[0].k))
    if optimum is not None:
        ends = [earned.x[0], earned.x[-1]]
        series.insert(0, Series(label="Bayes optimum", x=ends, y=[optimum, optimum], dashes=True, markers=False))
    return Plot(
        title=f"{family}: return while training",
        x_label="update",
        y_label=f"rewards in {plural(curves[0].k, 'episode')}",
        series=series,
        description=_described(series),
    )


def _over_runs(label: str, curves: Sequence[Curve], name: str, colour: int) -> Series:
    """The median of a value over runs at every step that any of them has, with the lowest and highest."""
    at: dict[int, list[float]] = {}
    for curve in curves:
        for step, values in curve.points:
            if name in values:
                at.setdefault(step, []).append(values[name])
    steps = sorted(at)
    return Series(
        label=label,
        x=[float(step) for step in steps],
        y=[median(at[step]) for step in steps],
        low=[min(at[step]) for step in steps],
        high=[max(at[step]) for step in steps],
        colour=colour,
        markers=False,
    )


def _spread(
    label: str, x: Sequence[float], runs: Sequence[Sequence[float]], colour: int, *, dashes: bool = False
) -> Series:
    """The median over runs, entry by entry, with the lowest and highest."""
    columns = list(zip(*runs, strict=True))
    return Series(
        label=label,
        x=x,
        y=[median(column) for column in columns],
        low=[min(column) for column in columns] if not dashes else (),
        high=[max(column) for column in columns] if not dashes else (),
        colour=colour,
        dashes=dashes,
    )


def _figure(plot: Plot, caption: str) -> str:
    return f"<figure>{svg(plot)}<figcaption>{escaped(caption)}{_numbers(plot)}</figcaption></figure>"


def _numbers(plot: Plot) -> str:
    """What is drawn, as a table of at most twelve columns, folded."""
    rows = []
    columns = sorted({x for series in plot.series for x in series.x})
    if len(columns) > 12:
        columns = [columns[round(place * (len(columns) - 1) / 11)] for place in range(12)]
    for series in plot.series:
        values = dict(zip(series.x, series.y, strict=True))
        cells = "".join(f'<td class="n">{f"{values[x]:.3f}" if x in values else ""}</td>' for x in columns)
        rows.append(f'<tr><th scope="row">{escaped(series.label)}</th>{cells}</tr>')
    head = "".join(f'<th scope="col" class="n">{x:g}</th>' for x in columns)
    return (
        '<details><summary>The numbers</summary><div class="wide" tabindex="0" role="region" aria-label="Numbers">'
        f'<table><thead><tr><th scope="col">{escaped(plot.x_label)}</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _described(series: Sequence[Series]) -> str:
    """What a drawing shows, for those who cannot see it."""
    return "; ".join(f"{line.label} from {line.y[0]:.2f} to {line.y[-1]:.2f}" for line in series if len(line.y))
