"""An audit for people, in Markdown: all that others wrote is shown and never obeyed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from cai import markdown
from cai.publish.audit.training_content import OPEN

SHOWN = 20  # rows with personal data


def plain(value: str) -> str:
    """Text that Markdown shows as it is; marks that nobody sees, as bidi ones, by their code."""
    hidden = ("Cc", "Cf", "Cs", "Co")
    seen = "".join(
        f"U+{ord(c):04X}" if unicodedata.category(c) in hidden and not c.isspace() else c
        for c in value
    )
    return markdown.plain(seen)


def page(parts: Sequence[dict[str, Any]], content: Sequence[Mapping[str, Any]]) -> str:
    """The whole page."""
    names = " and ".join(plain(part["name"]) for part in parts)
    lines = [
        f"# Where {names} comes from",
        "",
        "`audit.json` has all of this for programs, `rows.jsonl` a line for each published row,",
        "`bom.json` the bill of materials (CycloneDX 1.6). Texts are named by digest and not",
        "repeated here.",
    ]
    for part in parts:
        lines += ["", *(_run(part) if part["kind"] == "run" else _model(part))]
    lines += ["", "## For a summary of training content (EU AI Act, Article 53(1)(d))", ""]
    lines += [
        "The headings follow the Commission's template, in our words. Only what files say is",
        f"filled in; “{OPEN}” marks the rest. This is no legal advice.",
    ]
    for section in content:
        lines += ["", f"### {section['number']} {section['heading']}", ""]
        lines += [f"- {plain(line)}" for line in section["known"]]
        lines += [f"- **{OPEN}**: {plain(line)}" for line in section["open"]]
        lines += [] if section["known"] or section["open"] else ["- Nothing."]
    for part in parts:
        lines += ["", f"## Digests of {plain(part['name'])}", ""]
        lines += table(["file", "sha256"], part["files"].items())
    return "\n".join(lines) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table of plain text; a line that says so where there are no rows."""
    body = ["| " + " | ".join(plain(_cell(value)) for value in row) + " |" for row in rows]
    if not body:
        return ["None."]
    return ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns), *body]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _run(part: dict[str, Any]) -> Iterator[str]:
    yield f"## The data: {plain(part['name'])}"
    yield ""
    yield from table(["rows", "number"], part["rows"].items())
    yield from ["", "### Prompts: sources and licences", ""]
    keys = ("dataset", "source", "licence", "rows")
    yield from table(keys, ([origin[key] for key in keys] for origin in part["origins"]))
    yield from ["", "### Rows by licence", ""]
    yield from table(["licence", "rows"], part["licences"].items())
    rules = part["constitution"]
    yield from ["", "### Principles", ""]
    yield f"Constitution {plain(str(rules.get('name')))}, sha256 `{plain(rules.get('digest', ''))}`"
    yield ""
    principles = ([p["id"], p["digest"], sum(p["rows"].values())] for p in part["principles"])
    yield from table(["principle", "sha256", "rows"], principles)
    yield from ["", "### Models", ""]
    models = part["models"].items()
    yield from table(
        ["role", "model", "identity"], ((r, m["name"], m["identity"]) for r, m in models)
    )
    yield from ["", "### Checks of judge and critic", ""]
    yield from table(["role", "known in the run", "check on this machine"], _checks(part["checks"]))
    yield from ["", "### Gates", ""]
    gates = ("name", "value", "limit", "passed", "count")
    yield from table(gates, ([gate[key] for key in gates] for gate in part["gates"]))
    yield from _evaluations(part)
    yield from ["", "### Personal data and secrets", ""]
    yield from table(["kind", "rows"], part["personal"]["rows"].items())
    first = part["personal"]["first"][:SHOWN]
    if first:
        yield ""
        yield from table(
            ["dataset", "row", "kinds"],
            ((row["dataset"], row["id"], ", ".join(row["kinds"])) for row in first),
        )
    yield from ["", "### Versions", ""]
    yield from table(["package", "version"], part["packages"].items())


def _checks(checks: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    for role, facts in checks.items():
        known = ", ".join(f"{key} {_cell(value)}" for key, value in facts["known"].items())
        check = facts["check"]
        yield (
            role,
            known or "–",
            f"{check['verdict']}: {check['words']}" if check else "none stored",
        )


def _evaluations(part: Mapping[str, Any]) -> Iterator[str]:
    yield from ["", "### Evaluations", ""]
    figures = (
        (evaluation["file"], name, value)
        for evaluation in part["evaluations"]
        for name, value in evaluation["figures"].items()
    )
    yield from table(["file", "figure", "value"], figures)


def _model(part: dict[str, Any]) -> Iterator[str]:
    data, base = part["data"], part["base"]
    same = "with the files it was trained on" if data["same"] else "with other files now"
    where = f"audited below, {same}" if data["here"] else "not here"
    facts = {
        "Base": f"{base.get('name')} ({base.get('identity')})",
        "Method": part["method"],
        "State": part["state"],
        "Data": f"{data['name']}, rows {data['rows_digest']}; {where}",
        "Rows": "; ".join(f"{s['kept']} of {s['read']} kept" for s in data["sources"]),
        "Template": part["template"],
        "Steps": part["steps"],
    }
    yield f"## The model: {plain(part['name'])}"
    yield ""
    yield from (f"- {name}: {plain(_cell(value))}" for name, value in facts.items())
    yield from ["", "### Settings of the training", ""]
    yield from table(["setting", "value"], part["settings"].items())
    yield from _evaluations(part)
    yield from ["", "### Versions", ""]
    yield from table(["package", "version"], part["packages"].items())
