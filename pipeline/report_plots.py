"""The report's curves as inline SVG: the same bytes for the same numbers, in the colours of the page's theme."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.report_text import attribute, spelt_out

INK, SOFT, LINE = "#a0000a", "#a0000b", "#a0000c"
COLOURS = ("#a00001", "#a00002", "#a00003", "#a00004", "#a00005", "#a00006")
"""Stand-ins that become the page's CSS variables, so that one drawing serves light and dark. The palette behind the
variables is Okabe and Ito's (2008), which people with any of the common colour-vision deficiencies can tell apart."""
_VARIABLES = {INK: "--ink", SOFT: "--soft", LINE: "--line"} | {c: f"--c{i}" for i, c in enumerate(COLOURS, 1)}
_MARKERS = ("o", "s", "D", "^", "v", "P")

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": SOFT,
    "axes.edgecolor": LINE,
    "axes.linewidth": 0.8,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "path.simplify": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A line: `y` over `x`, with the spread `low` to `high` where it is known.

    `colour` counts from 0 in the palette, −1 is ink. `dashes`: a reference or a control rather than a measurement.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = -1
    dashes: bool = False
    markers: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What one drawing shows.

    `share`: y is a probability and its axis runs from 0 to 1. `top` ends the axis, what lies above is cut off.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    share: bool = False
    top: float | None = None
    description: str = ""


def svg(plot: Plot) -> str:
    """The plot as an `<svg>` element with a title for screen readers; no script, no style sheet, no address in it."""
    plot = replace(
        plot,
        title=_short(plot.title, 60),
        series=[replace(series, label=_short(series.label, 32)) for series in plot.series],
    )
    salt = hashlib.sha256(repr(plot).encode()).hexdigest()[:10]
    style: Any = {**_STYLE, "svg.hashsalt": salt}
    with mpl.rc_context(style):
        figure = Figure(figsize=(5.6, 3.5))
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.11, 0.15, 0.62, 0.73))
        _draw(axes, plot)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None})
    return _inline(out.getvalue(), plot, salt)


def _draw(axes: Axes, plot: Plot) -> None:
    for series in plot.series:
        colour = INK if series.colour < 0 else COLOURS[series.colour % len(COLOURS)]
        if len(series.low) == len(series.x) and len(series.high) == len(series.x):
            axes.fill_between(series.x, series.low, series.high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            series.x,
            series.y,
            color=colour,
            linewidth=1.6 if series.dashes else 2.2,
            linestyle=(0, (4, 2.5)) if series.dashes else "-",
            marker=_MARKERS[series.colour % len(_MARKERS)] if series.markers and len(series.x) <= 16 else "",
            markersize=4.5,
            markerfacecolor="none" if series.dashes else colour,
        )
    axes.set_title(plot.title, loc="left", fontsize=11, fontweight="bold", pad=10)
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.margins(x=0.03)
    if plot.share:
        axes.set_ylim(0, 1.04)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    elif axes.get_ylim()[0] < 0.5 * axes.get_ylim()[1] and all(min(line.y, default=0) >= 0 for line in plot.series):
        axes.set_ylim(bottom=0)
    if plot.top is not None:
        axes.set_ylim(0, plot.top)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    _label_ends(axes, plot.series)


def _label_ends(axes: Axes, series: Sequence[Series]) -> None:
    """Names beside the right ends of the lines, moved apart where they would touch."""
    bottom, top = axes.get_ylim()
    right = axes.get_xlim()[1]
    gap = 0.068 * (top - bottom)
    ends = [(min(line.y[-1], top), line.y[-1], place) for place, line in enumerate(series) if len(line.y)]
    ends.sort()
    heights = [height for height, _, _ in ends]
    for place in range(1, len(heights)):
        heights[place] = max(heights[place], heights[place - 1] + gap)
    over = (heights[-1] - top) if heights else 0.0
    if over > 0:
        heights[-1] -= over
        for place in range(len(heights) - 2, -1, -1):
            heights[place] = min(heights[place], heights[place + 1] - gap)
    for height, (value, _, place) in zip(heights, ends, strict=True):
        line = series[place]
        colour = INK if line.colour < 0 else COLOURS[line.colour % len(COLOURS)]
        axes.annotate(
            line.label,
            xy=(line.x[-1], value),
            xytext=(right + 0.035 * (right - axes.get_xlim()[0]), height),
            color=colour,
            va="center",
            fontsize=9.5,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": LINE, "linewidth": 0.7, "shrinkA": 1, "shrinkB": 4},
        )


def _short(text: str, most: int) -> str:
    text = spelt_out(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _inline(text: str, plot: Plot, salt: str) -> str:
    """The drawing as part of a page: own ids, no metadata or foreign names, theme colours, a title and description."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(?::xlink)?="[^"]*"', "", text)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>p{salt}-", text)
    for stand_in, variable in _VARIABLES.items():
        text = text.replace(stand_in, f"var({variable})")
    view = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">") + 1 :].strip()
    return (
        f'<svg {view[0] if view else ""} role="img" aria-labelledby="p{salt}-title p{salt}-desc">'
        f'<title id="p{salt}-title">{attribute(plot.title)}</title>'
        f'<desc id="p{salt}-desc">{attribute(plot.description)}</desc>{body}'
    )
