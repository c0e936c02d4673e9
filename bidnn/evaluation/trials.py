"""Draws what a search found: how the best value grew, and the value against each setting."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLUMNS = 4
WIDE = 100.0
"""The ratio of the largest to the smallest value from which they are drawn by logarithm."""


@dataclass(frozen=True, slots=True)
class Point:
    """One trial.

    Attributes:
        number: in the order in which trials were begun.
        value: the objective; of a pruned trial the last one, NaN where there is none.
        pruned: whether it was ended before its end.
    """

    number: int
    value: float
    pruned: bool = False

    @property
    def failed(self) -> bool:
        """Whether it has no value."""
        return math.isnan(self.value)


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting, over all trials.

    Attributes:
        title: its name.
        values: numbers, or names.
        log: drawn by logarithm.
        names: that there are, in the order in which they are drawn; none of numbers.
    """

    title: str
    values: Sequence[float] | Sequence[str]
    log: bool = False
    names: Sequence[str] = ()


def draw_trials(
    file: IO[bytes], objective: str, lower: bool, points: Sequence[Point], axes: Sequence[Axis]
) -> None:
    """Draws one panel for the course of the search, and one for each setting.

    Args:
        file: takes a PNG of 200 dots an inch.
        objective: the name of the metric.
        lower: whether low values are the better ones.
        points: one for each trial.
        axes: each with a value for each of the points.
    """
    rows = -(-(1 + len(axes)) // COLUMNS)
    columns = -(-(1 + len(axes)) // rows)
    picture = Figure(figsize=(3.4 * columns + 0.6, 3.1 * rows + 0.3), layout="constrained")
    FigureCanvasAgg(picture)
    panels = picture.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    numbers = [float(point.number) for point in points]
    _scatter(panels[0], numbers, points, lower)
    ended = [point for point in points if not point.pruned and not point.failed]
    if ended:
        best = np.minimum if lower else np.maximum
        course = best.accumulate([point.value for point in ended])
        steps = [float(point.number) for point in ended]
        panels[0].step(steps, course, where="post", color="C3", linewidth=1.2, zorder=1)
    panels[0].set_title("the best so far", fontsize=10)
    panels[0].set_xlabel("trial")
    panels[0].set_xlim(-1, max(numbers, default=0.0) + 1)  # failed ones do not widen it
    values = [point.value for point in points if not point.failed and math.isfinite(point.value)]
    if values and min(values) > 0 and max(values) > WIDE * min(values):
        panels[0].set_yscale("log")
    for panel, axis in zip(panels[1:], axes, strict=False):
        _against(panel, axis, points, lower)
    for number, panel in enumerate(panels):
        if number % columns == 0:
            panel.set_ylabel(objective)
        panel.set_visible(number <= len(axes))
        panel.grid(alpha=0.3)
    handles: dict[str, Any] = {}
    for panel in panels:
        handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    picture.legend(
        list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False,
        fontsize=8,
    )  # fmt: skip
    picture.savefig(file, format="png", dpi=200, metadata={"Software": None})


def _against(panel: Any, axis: Axis, points: Sequence[Point], lower: bool) -> None:  # noqa: ANN401 — Matplotlib's
    """The objective over one setting; names stand side by side, in their order."""
    places: list[float] = []
    names = list(axis.names)
    spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(points))
    for value, aside in zip(list[float | str](axis.values), spread, strict=True):
        places.append(names.index(value) + float(aside) if isinstance(value, str) else value)
    _scatter(panel, places, points, lower)
    if names:
        panel.set_xticks(range(len(names)), names, fontsize=8)
        panel.set_xlim(-0.5, len(names) - 0.5)
    elif axis.log:
        panel.set_xscale("log")
    panel.set_title(axis.title, fontsize=10)


def _scatter(panel: Any, places: list[float], points: Sequence[Point], lower: bool) -> None:  # noqa: ANN401 — Matplotlib's
    """Trials that came to their end, later ones darker; pruned and failed ones; the best."""
    kinds = {
        "came to its end, later ones darker": [not p.failed and not p.pruned for p in points],
        "pruned, with the value that it had": [not p.failed and p.pruned for p in points],
        "failed": [p.failed for p in points],
    }
    x, y = np.array(places), np.array([point.value for point in points])
    ended, pruned, failed = (np.flatnonzero(kind) for kind in kinds.values())
    first, second, third = kinds
    last = max((point.number for point in points), default=0)
    if len(ended):
        order = np.array([point.number for point in points])[ended]
        panel.scatter(
            x[ended], y[ended], c=order, cmap="Blues", vmin=-0.5 * last - 1, vmax=max(last, 1),
            s=22, edgecolors="C0", linewidths=0.5, label=first, zorder=2,
        )  # fmt: skip
        best = ended[np.argmin(y[ended]) if lower else np.argmax(y[ended])]
        panel.scatter(
            x[best], y[best], marker="*", s=130, color="C3", edgecolors="white", linewidths=0.6,
            label="the best", zorder=3,
        )  # fmt: skip
    if len(pruned):
        panel.scatter(
            x[pruned], y[pruned], marker="x", s=20, color="grey", linewidths=1.0, label=second
        )
    if len(failed):
        panel.scatter(
            x[failed], np.full(len(failed), 0.02), marker="|", s=40, color="C1",
            transform=panel.get_xaxis_transform(), label=third,
        )  # fmt: skip
