"""What was measured of a dataset and what it took, in Markdown."""

from __future__ import annotations

from cai.dataset.schema import Manifest
from cai.markdown import plain
from cai.quality.glossary import MEANINGS, in_words
from cai.quality.records import Quality


def measures(quality: Quality | None, left_out: int = 0) -> str:
    """The figures with their intervals, and the gates; nothing where nobody measured."""
    if quality is None:
        return "## Measures\n\nNot measured (`cai quality` does)."
    rows = [
        f"| {plain(MEANINGS[name].title)} | {in_words(figure, percent=MEANINGS[name].percent)} "
        f"| {plain(MEANINGS[name].words)} |"
        for name, figure in quality.figures.items()
        if figure.n and name in MEANINGS
    ]
    passed = [plain(gate.name) for gate in quality.passed]
    gates = [f"- Passed: {', '.join(passed)}"] if passed else []
    gates += [f"- **Failed**: {plain(g.name)}: {plain(g.words, 500)}" for g in quality.failed]
    unmeasured = [plain(gate.name) for gate in quality.unmeasured]
    gates += [f"- Nothing to measure: {', '.join(unmeasured)}"] if unmeasured else []
    verdict = f"{len(passed)} of {len(passed) + len(quality.failed)} gates passed."
    rest = " but the prompts that are left out" if left_out else ""
    table = ["| | value (95 % interval) | what it is |", "|---|---|---|", *rows]
    return "\n\n".join(
        [
            "## Measures",
            f"Of the whole run{rest}, without a model; `quality.json` has all of them.",
            "\n".join(table),
            verdict,
            "\n".join(gates),
        ]
    )


def spending(manifest: Manifest) -> str:
    """Tokens by role, time, and money where a price was given."""
    lines = [
        f"- {plain(role)}: {n.get('input', 0):,} tokens read, {n.get('output', 0):,} written"
        for role, n in manifest.tokens.items()
    ]
    seconds = manifest.timings.get("seconds", {}).get("generate")
    if seconds is not None:
        lines.append(f"- Time: {seconds:,.0f} s")
    if manifest.cost:
        total = f"{manifest.cost['total']:.4g}"
        lines.append(f"- Cost: {total} at a price of {plain(str(manifest.cost['price']))}")
    return "\n".join(["## What it took", "", *lines])
