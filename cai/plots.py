"""Figures, as files."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.calibration import Bin
from cai.statistics import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _GREY, _BLUE = "#222222", "#767676", "#2f6690"
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": _INK,
    "text.parse_math": False,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "cai",
}
_KEY = "dashed: perfectly calibrated  ·  bar: 95 % interval  ·  number: pairs in the bin"
# What a file would otherwise say about its day and the version that drew it.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def reliability_diagram(
    bins: Sequence[Bin], path_stem: Path, title: str, note: str = ""
) -> list[Path]:
    """Draw accuracy against confidence, with Wilson 95 % intervals, as `.png` and `.svg`.

    The area of a point grows with its count. The same input gives the same bytes.

    Args:
        bins: The points; without any, the diagram says so.
        path_stem: The files without their endings, in a folder that exists.
        title: Plain text; neither mathematics nor markup is read into it.
        note: Plain text in smaller type under the title.

    Returns:
        The files: PNG, SVG.

    DeGroot and Fienberg 1983, "The comparison and evaluation of forecasters".
    """
    import matplotlib
    from matplotlib.figure import Figure

    heading, small = _lines(title, 52), _lines(note, 76)
    written = []
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that the font lacks becomes a box; nothing else is wrong.
        warnings.filterwarnings("ignore", message="(?s)Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        head = 0.25 + 0.22 * len(heading) + 0.16 * len(small)
        height = 4.85 + head
        figure = Figure(figsize=(5.2, height), dpi=160)
        axes = figure.add_axes((0.13, 0.75 / height, 0.83, 4.1 / height))
        top, left = 1 - 0.17 / height, 0.13
        figure.text(left, top, "\n".join(heading), va="top", fontsize=11, fontweight="bold")
        top -= (0.05 + 0.22 * len(heading)) / height
        figure.text(left, top, "\n".join(small), va="top", fontsize=8, color=_GREY)
        figure.text(left, 0.12 / height, _KEY, fontsize=7, color=_GREY)
        _draw(axes, bins)
        for ending, metadata in _METADATA.items():
            path = path_stem.with_name(f"{path_stem.name}.{ending}")
            figure.savefig(path, format=ending, metadata=metadata)
            written.append(path)
    return written


def training_curves(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the loss, and of preferences the margin, accuracy and log-probabilities, as a PNG.

    Args:
        metrics: The lines of a `metrics.jsonl`: `step` and what was logged there.
        path: The file, in a folder that exists.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels = [
        panel for panel in _PANELS if any(name in line for line in metrics for name in panel[1])
    ] or _PANELS[:1]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        figure = Figure(figsize=(7, 2.4 * len(panels)), dpi=130, layout="constrained")
        for number, (label, names) in enumerate(panels, 1):
            axes = figure.add_subplot(len(panels), 1, number)
            for colour, name in zip((_BLUE, "#c8553d", _GREY), names, strict=False):
                at = [(line["step"], line[name]) for line in metrics if name in line]
                if at:
                    points = "o" if len(at) == 1 else None  # a line of one point is not seen
                    steps, values = zip(*at, strict=True)
                    axes.plot(steps, values, color=colour, linewidth=1.3, label=name, marker=points)
            axes.set_ylabel(label)
            axes.grid(color="#ececec", linewidth=0.6)
            axes.legend(frameon=False, fontsize=7) if axes.lines else None
        axes.set_xlabel("step")
        figure.savefig(path, format="png", metadata=_METADATA["png"])


_PANELS: list[tuple[str, tuple[str, ...]]] = [
    ("loss", ("loss", "eval_loss", "preference_loss")),
    ("reward margin", ("rewards/margins", "eval_rewards/margins")),
    ("share ranked right", ("rewards/accuracies", "eval_rewards/accuracies")),
    ("log-probability", ("logps/chosen", "logps/rejected")),
]


def _lines(text: str, width: int) -> list[str]:
    """Text wrapped to a width, without characters that a figure can't hold."""
    return textwrap.wrap("".join(c if c.isprintable() else " " for c in text), width)


def _draw(axes: Axes, bins: Sequence[Bin]) -> None:
    axes.set(xlim=(0.485, 1.045), ylim=(-0.03, 1.03))
    axes.set_xticks([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    axes.set_yticks([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.set_xlabel("Confidence in the chosen option")
    axes.set_ylabel("Share of choices that are right")
    axes.grid(color="#ececec", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.plot([0.5, 1], [0.5, 1], color=_GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=2)
    if not bins:
        axes.text(0.75, 0.25, "no labels", ha="center", va="center", fontsize=12, color=_GREY)
        return
    most = max(b.count for b in bins)
    written: list[tuple[float, float]] = []
    for b in sorted(bins, key=lambda b: (-b.accuracy, -b.confidence)):
        x, y, area = b.confidence, b.accuracy, 12 + 70 * b.count / most
        low, high = wilson(y * b.count, b.count)
        axes.vlines(x, low, high, color=_BLUE, linewidth=1.2, alpha=0.6, zorder=3)
        axes.scatter(x, y, s=area, color=_BLUE, edgecolor="white", linewidth=0.8, zorder=4)
        # A number moves down until it is clear of those of points with nearly the same place.
        while any(abs(x - other) < 0.035 and abs(y - at) < 0.0249 for other, at in written):
            y -= 0.025
        written.append((x, y))
        axes.annotate(
            str(b.count),
            (x, y),
            xytext=(area**0.5 / 2 + 2, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=7,
            zorder=5,
        )
