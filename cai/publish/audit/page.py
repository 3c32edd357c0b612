"""An audit for people, in Markdown: all that others wrote is shown and never obeyed."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
        lines += ["", *_ABOUT[part["kind"]](part)]
    lines += ["", "## For a summary of training content (EU AI Act, Article 53(1)(d))", ""]
    lines += [
        "The headings are those of the Commission's template; what stands under them is not its",
        "text. Only what files say is",
        f"filled in; “{OPEN}” marks the rest. This is no legal advice.",
    ]
    for section in content:
        lines += ["", f"### {section['number']} {section['heading']}"]
        known = [f"- {plain(line)}" for line in section["known"]]
        wanted = [f"- **{OPEN}**: {plain(line)}" for line in section["open"]]
        nothing = ["- Nothing."] if _is_empty(section, content) else []
        if body := [*known, *wanted, *nothing]:
            lines += ["", *body]
    for part in parts:
        lines += ["", f"## Digests of {plain(part['name'])}", ""]
        lines += table(["file", "sha256"], part["files"].items())
    return "\n".join(lines) + "\n"


def _is_empty(section: Mapping[str, Any], content: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a heading without others under it has nothing to say."""
    above = any(other["number"].startswith(f"{section['number']}.") for other in content)
    return not (above or section["known"] or section["open"])


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
    if "commit" in part:
        yield from [f"On the Hub, commit `{plain(part['commit'])}`", ""]
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
    facts = {
        "Base": f"{base.get('name')} ({base.get('identity')})",
        "Method": part["method"],
        "State": part["state"],
        "Rows": data["rows_digest"],
        "Template": part["template"],
        "Steps": part["steps"],
    }
    yield f"## The model: {plain(part['name'])}"
    yield ""
    yield from (f"- {name}: {plain(_cell(value))}" for name, value in facts.items())
    yield from ["", "### Data of the training", ""]
    rows = ([s["name"], s["read"], s["kept"], _where(s)] for s in data["sources"])
    yield from table(["source", "rows read", "rows kept", "where"], rows)
    yield from ["", "### Settings of the training", ""]
    yield from table(["setting", "value"], part["settings"].items())
    yield from _evaluations(part)
    yield from ["", "### Versions", ""]
    yield from table(["package", "version"], part["packages"].items())


def _where(source: Mapping[str, Any]) -> str:
    if not source["here"]:
        return "not here"
    same = {
        True: ", with the files it was trained on",
        False: ", with other files now",
        None: "; whether the rows are those it was trained on is not known",
    }
    return f"audited below{same[source['same']]}"


def _file(part: dict[str, Any]) -> Iterator[str]:
    yield f"## A file: {plain(part['name'])}"
    yield ""
    yield "Rows that `cai` did not make, or whose run is not known. Where they come from, and their"
    yield "licences, no file here says."


_ABOUT: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "run": _run,
    "model": _model,
    "file": _file,
}
