"""Draws how metrics fall as more rows miss a modality, for a paper or a README."""

from typing import IO, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Curve = list[tuple[float, float, float]]

TITLES = {
    "map": "retrieval, mAP",
    "accuracy": "k-means, accuracy",
    "error": "translation error, share of the variance",
}
MARKS = "osD^vP*Xp<>"
COLOURS = [*(f"C{number}" for number in range(10)), "black", "gold"]
DASHES = ("-", "--", ":")
"""One for as many methods as there are colours; marks are one fewer, so that no two agree."""


def look(number: int) -> dict[str, str]:
    """Mark, colour and dashes of a method's line; of any hundred methods no two have the same."""
    return {
        "marker": MARKS[number % len(MARKS)],
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
    }


def draw_curves(file: IO[bytes], metrics: dict[str, dict[str, Curve]]) -> None:
    """Draws one panel for each metric and one line with its deviation for each method.

    Args:
        file: takes a PNG of 200 dots an inch.
        metrics: by name of the metric and by method: (missing rate in [0, 1], mean, deviation).
            What has no title in TITLES is called by its name; a metric without curves is left out.
    """
    shown = {name: curves for name, curves in metrics.items() if curves}
    methods = list(dict.fromkeys(method for curves in shown.values() for method in curves))
    picture = Figure(figsize=(4.2 * max(1, len(shown)), 4.4), layout="constrained")
    FigureCanvasAgg(picture)
    for panel, (name, curves) in zip(
        picture.subplots(1, max(1, len(shown)), squeeze=False)[0], shown.items(), strict=False
    ):
        for method, points in curves.items():
            number = methods.index(method)
            rates, means, deviations = zip(*points, strict=True)
            panel.errorbar(
                [100 * rate for rate in rates],
                means,
                yerr=deviations,
                **look(number),
                markersize=4,
                linewidth=1.2,
                capsize=2,
                label=method,
            )
        panel.set_title(TITLES.get(name, name), fontsize=10)
        panel.set_xlabel("rows that miss one modality, %")
        panel.grid(alpha=0.3)
    handles: dict[str, Any] = {}
    for panel in picture.axes:
        handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    names = [method for method in methods if method in handles]
    picture.legend(
        [handles[name] for name in names],
        names,
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
    )
    picture.savefig(file, format="png", dpi=200, metadata={"Software": None})
