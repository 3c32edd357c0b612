"""The page of a training: its curves, its data, and what a row teaches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from cai.errors import CaiError
from cai.files import whole_lines
from cai.report.content import EMPTY, Content, no_rows
from cai.report.svg import WIDTH, Picture, drawing, legend, line, tag, text
from cai.report.words import number, numbers, plural

TRAINING = "training.json"
EXAMPLES = "examples.jsonl"
_DIGIT = 7.2  # width of a digit at the axis
_PANELS = (
    ("Loss", "How wrong the model still is on the rows. It should fall, and level out.",
     (("loss", "blue"), ("eval_loss", "orange"))),
    ("Preference loss", "At the first step it is 0.693 (ln 2): the model does not know yet which "
     "answer is better.", (("preference_loss", "blue"), ("eval_preference_loss", "orange"))),
    ("Reward margin", "How much more the model leans to the chosen answer than before training. It "
     "should rise.", (("rewards/margins", "blue"), ("eval_rewards/margins", "orange"))),
    ("Share ranked right", "How often the chosen answer gained more than the rejected one.",
     (("rewards/accuracies", "blue"), ("eval_rewards/accuracies", "orange"))),
    ("Log-probability of the answers", "How likely the two answers are. If both fall by much, the "
     "model unlearns them.", (("logps/chosen", "blue"), ("logps/rejected", "orange"))),
    ("Size of the steps (gradient norm)", "Sudden peaks mean an unsteady training.",
     (("grad_norm", "blue"),)),
)  # fmt: skip


def training_content(folder: Path) -> Content:
    """The parts of the page of a training.

    Raises:
        CaiError: A file of it is damaged.
    """
    try:
        record = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
        values = _values(folder, record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CaiError(
            f"{folder / TRAINING}: damaged: {error}", "It is the record of cai train."
        ) from None
    return Content(no_rows, lambda: values, {"kind": "training"})


def _values(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    done = record["state"] == "done"
    data = record["data"]
    state = "" if done else "This training has not come to its end: run the same command again."
    warnings = [str(warning) for warning in data.get("warnings") or ()]
    return {
        **EMPTY,
        "title": folder.resolve().name,
        "state": " ".join([state, *warnings]).strip(),
        "pictures_title": "What the training did",
        "facts": _about(record),
        "settings": record["settings"],
        "pictures": list(curves(whole_lines(folder / "metrics.jsonl"))),
        "tables": list(_tables(data)),
        "examples": whole_lines(folder / EXAMPLES),
    }


def _about(record: Mapping[str, Any]) -> dict[str, str]:
    settings, data = record["settings"], record["data"]
    loss = f", {settings['loss']} loss" if settings.get("loss") else ""
    kept = sum(source["kept"] for source in data["sources"])
    lines = {
        "Method": f"{record['method']}{loss}",
        "Model": str(settings["model"]),
        "Data": str(settings["data"]),
        "Rows": f"{kept:,}",
        "Made": str(record.get("started", ""))[:10],
    }
    if "steps" in record:
        lines["Steps"] = f"{record['steps']:,}"
    if "seconds" in record:
        lines["Took"] = plural(round(record["seconds"]), "second")
    return lines


def _tables(data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    sources = [("train", source) for source in data["sources"]]
    sources += [("test", data["test"])] if data.get("test") else []
    rows = [
        [
            str(source["origin"]),
            split,
            f"{source['read']:,}",
            f"{source['kept']:,}",
            ", ".join(f"{n:,} {reason}" for reason, n in source["dropped"].items()) or "–",
        ]
        for split, source in sources
    ]
    yield {"title": "Where the rows come from", "head": ["data", "for", "read", "used", "left out"],
           "rows": rows, "words": False}  # fmt: skip
    tokens, labels = data["tokens"], data.get("labels")
    rows = [["tokens of a row, mean", number(tokens["mean"])],
            ["tokens of a row, 95 % have at most", f"{tokens['p95']:,}"],
            ["tokens of the longest row", f"{tokens['max']:,}"]]  # fmt: skip
    if labels:
        rows.append(["label (probability of the chosen answer), mean", number(labels["mean"])])
    yield {
        "title": "How long the rows are",
        "head": ["what", "value"],
        "rows": rows,
        "words": False,
    }


def curves(lines: Sequence[Mapping[str, Any]]) -> Iterator[Picture]:
    """A picture of each thing that was logged."""
    for title, words, names in _PANELS:
        series = [
            (name, class_, [(x["step"], float(x[name])) for x in lines if _is_number(x.get(name))])
            for name, class_ in names
        ]
        series = [one for one in series if one[2]]
        if series:
            yield _curve(title, words, series)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and value - value == 0


Points = Sequence[tuple[int, float]]


def _curve(title: str, words: str, series: Sequence[tuple[str, str, Points]]) -> Picture:
    height, top, base = 210.0, 24.0, 180.0
    steps = [x for _, _, points in series for x, _ in points]
    levels = [y for _, _, points in series for _, y in points]
    first, last = min(steps), max(max(steps), min(steps) + 1)
    low, high = min(levels), max(levels)
    if low == high:
        low, high = low - 0.5, high + 0.5
    marks = (low, (low + high) / 2, high)
    scale = numbers(marks)
    left = 10.0 + _DIGIT * max(map(len, scale))

    def at(point: tuple[int, float]) -> tuple[float, float]:
        x = left + (WIDTH - left - 6) * (point[0] - first) / (last - first)
        return x, base - (base - top) * (point[1] - low) / (high - low)

    parts: list[Markup] = [line(left, base, WIDTH, base)]
    for level, mark in zip(marks, scale, strict=True):
        y = at((first, level))[1]
        parts += [
            line(left, y, WIDTH, y, "grid"),
            text(left - 6, y + 4, mark, "small", "end"),
        ]
    parts += [
        text(left, base + 18, f"step {first:,}", "small"),
        text(WIDTH, base + 18, f"step {last:,}", "small", "end"),
    ]
    for name, class_, points in series:
        places = [at(point) for point in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(tag("path", tag("title", name), d=path, class_=f"curve {class_}"))
        if len(places) == 1:
            parts.append(tag("circle", cx=places[0][0], cy=places[0][1], r=3, class_="dot"))
    parts += legend([(name, class_, None) for name, class_, _ in series])
    now = ", ".join(f"{name} {' → '.join(numbers([p[0][1], p[-1][1]]))}" for name, _, p in series)
    by_step: dict[int, dict[str, float]] = {}
    for name, _, points in series:
        for x, y in points:
            by_step.setdefault(x, {})[name] = y
    names = [name for name, _, _ in series]
    rows = [
        (f"{x:,}", *(f"{values[n]:.6g}" if n in values else "–" for n in names))
        for x, values in sorted(by_step.items())
    ]
    svg = drawing(WIDTH, height, f"{title}: {now}", parts)
    return Picture(f"{title}: {now}", words, svg, ("step", *names), rows)
