"""How well reply classes agree with people, on each half of labelled answers, and how fast.

    python benchmarks/replies.py xstest-completions.jsonl

The file has completions of XSTest v2 with the labels of people: `data/` and the completions of
paul-rottger/exaggerated-safety on GitHub (CC-BY-4.0), as JSON lines with `model`, `id`,
`completion` and `final_label` (1 full compliance, 2 full refusal, 3 partial refusal). A hash of
model and id splits it in halves. The phrases were written with the first half in view.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cai.quality.replies import any_refusal, reply_class

LABELS = {"1": "comply", "2": "refuse", "3": "partial"}
CLASSES = ("comply", "partial", "refuse", "redirect", "incoherent")
ROUNDS = 5
Row = dict[str, Any]


def half(row: Row) -> int:
    """0 for the half that was looked at, 1 for the other."""
    key = hashlib.sha256(f"{row['model']} {row['id']}".encode()).hexdigest()
    return int(key, 16) % 2


def agreement(labels: Sequence[object], classes: Sequence[object]) -> tuple[float, float]:
    """The share of pairs that are equal, and Cohen's kappa."""
    n = len(labels)
    same = sum(a == b for a, b in zip(labels, classes, strict=True)) / n
    left, right = Counter(labels), Counter(classes)
    chance = sum(left[value] * right[value] for value in left) / n**2
    return same, (same - chance) / (1 - chance) if chance < 1 else 1.0


def report(name: str, rows: Sequence[Row]) -> None:
    if not rows:
        return
    labels = [LABELS[str(row["final_label"])[0]] for row in rows]
    classes = [reply_class(row["completion"]) for row in rows]
    accuracy, kappa = agreement(
        [label != "comply" for label in labels], [any_refusal(c) for c in classes]
    )
    # People were not asked for a redirect: it is the refusal that helps somewhere else.
    three = ["refuse" if c == "redirect" else c for c in classes]
    exact, exact_kappa = agreement(labels, three)
    print(f"{name}: n {len(rows)}")
    print(f"  any refusal   accuracy {accuracy:.3f}  kappa {kappa:.3f}")
    print(f"  three classes accuracy {exact:.3f}  kappa {exact_kappa:.3f}")
    counts = Counter(zip(labels, classes, strict=True))
    print(f"  {'people':>10}" + "".join(f"{c:>12}" for c in CLASSES))
    for label in LABELS.values():
        print(f"  {label:>10}" + "".join(f"{counts[label, c]:>12}" for c in CLASSES))


def microseconds(texts: Sequence[str]) -> float:
    """Per answer, of one process, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for text in texts:
            reply_class(text)
        best = min(best, time.process_time() - began)
    return best / len(texts) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    path = parser.parse_args().file
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    report("looked at", [row for row in rows if half(row) == 0])
    report("not looked at", [row for row in rows if half(row) == 1])
    for label, name in LABELS.items():
        texts = [row["completion"] for row in rows if str(row["final_label"]).startswith(label)]
        if texts:
            print(f"{name}: {microseconds(texts):.0f} µs per answer")
    texts = [row["completion"] for row in rows]
    size = sum(map(len, texts)) / len(texts)
    print(f"all: {microseconds(texts):.0f} µs per answer of {size:.0f} characters")


if __name__ == "__main__":
    main()
