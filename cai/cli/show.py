"""`cai show`: one chain, readable, with what the revision changed."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cai.cli.console import console, plain, visible
from cai.errors import CaiError
from cai.records import mean_p

if TYPE_CHECKING:
    from rich.text import Text

    from cai.dataset.run import Run


def show(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    prompt_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Id of a prompt.", show_default=False)
    ] = None,
    first: Annotated[
        bool, typer.Option("--first", help="Take the first chain in which something was revised.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List what failed, and why.")] = False,
    ids: Annotated[bool, typer.Option("--ids", help="List the ids of all chains.")] = False,
) -> None:
    """With ID, its chain is printed step by step; without it, counts and some ids."""
    from cai.dataset.run import Run

    run = Run.load(folder)
    if failed:
        _print_failures(run)
        return
    if ids:
        for chain_id, target in run.ids():
            typer.echo(f"{visible(chain_id)}\t{target or 'no chain'}")
        return
    if prompt_id is None and first:
        prompt_id = run.first_id()
        if not run.manifest.counts.get("target.revision"):
            console.print("Nothing was revised in this run; this is its first chain.")
    if prompt_id is None:
        _print_run(run)
        return
    trace = run.trace(prompt_id)
    if trace is not None:
        _print_chain(trace)
        return
    failure = next((f for f in run.failures if f.prompt_id == prompt_id), None)
    if failure is None:
        raise CaiError(
            f"{folder}: no prompt has the id {prompt_id}", f"cai show {folder} lists some ids."
        )
    console.print(plain(f"{prompt_id} failed at {failure.stage}: {failure.error}", "bold red"))
    console.print(plain(failure.message))


def _print_failures(run: Run) -> None:
    for failure in run.failures:
        part = f" ({failure.pair} pair)" if failure.pair else ""
        where = f"{failure.prompt_id}  {failure.stage}{part}: {failure.error}"
        console.print(plain(where, "bold") + plain(f"  {failure.message}"), soft_wrap=True)


def _print_run(run: Run) -> None:
    counts = run.manifest.counts
    width = max(map(len, counts), default=0)
    for name in sorted(counts):
        console.print(f"{name:{width}} {counts[name]:>10,}")
    console.print(plain(f"\nThe first chains (cai show {run.folder} ID):"))
    for prompt_id in run.trace_ids(10):
        console.print(plain(f"  {prompt_id}"))


def _print_chain(trace: dict[str, Any]) -> None:
    title = f"{trace['id']}  ({trace['prompt_kind']}; {trace['target']})"
    console.rule(plain(title), align="left")
    for message in trace["prompt"]:
        _print_part(message["role"], message["content"])
    if trace["response"] is not None:
        _print_steps(trace)
    for pair in trace.get("pairs") or []:
        _print_pair(pair)


def _print_steps(trace: dict[str, Any]) -> None:
    _print_part("response", trace["response"])
    text = trace["response"]
    for step in trace["steps"]:
        findings = step.get("findings") or []
        names = ", ".join(f["principle_id"] for f in findings) or step["principle_id"]
        console.rule(plain(f"step {step['step']}: {names}"), align="left")
        for finding in findings:
            _print_part("found", finding["text"])
        if step["critique"] is not None:
            _print_part("critique", step["critique"])
        if step["p_change"] is not None:
            needed = "no change" if step["revision"] is None else "a change may be needed"
            said = f"{needed}: p = {step['p_change']:.2f}, order gap {step['order_gap']:.2f}"
            console.print(plain("verdict  ", "bold cyan") + plain(said))
        if step["revision"] is not None:
            removed = f" (taken off: {', '.join(step['removed'])})" if step["removed"] else ""
            console.print(plain(f"revision{removed}", "bold cyan"))
            console.print(word_diff(text, step["revision"]))
            text = step["revision"]
    console.print(plain(f"edit distance {trace['edit_distance']:.2f} of 1", "dim"))
    if trace.get("verified") is not None:
        verdict = "better" if trace["verified"] else "worse, so it is no SFT row"
        console.print(plain(f"the judge finds the revision {verdict}"))
    for assessed in trace.get("assessments") or []:
        _print_assessment(assessed)
    if trace.get("not_in_sft"):
        console.print(plain(f"no SFT row: {trace['not_in_sft']}"))


def _print_assessment(assessed: dict[str, Any]) -> None:
    if assessed["method"] == "check":
        said = assessed["finding"] or "kept"
    else:
        p, gap = assessed["p_violates"], assessed["order_gap"]
        said = f"broken with p = {p:.2f}, order gap {gap:.2f}"
    console.print(plain(f"  {assessed['principle_id']}: {said}", "dim"))


def _print_pair(pair: dict[str, Any]) -> None:
    console.rule(plain(f"{pair['source']} pair"), align="left")
    if pair["source"] == "sampled":
        _print_part("answer a", pair["response_a"])
        _print_part("answer b", pair["response_b"])
    elif pair["source"] == "guided":
        _print_part("plain answer", pair["response_a"])
        _print_part("guided answer", pair["response_b"])
    if pair["p_a"] is None:
        console.print(plain(f"no label: {pair['dropped']}"))
        return
    names = {
        "revision": ("first answer", "revision"),
        "sampled": ("answer a", "answer b"),
        "guided": ("plain answer", "guided answer"),
    }
    name = names[pair["source"]][pair["p_a"] < 0.5]
    p = max(pair["p_a"], 1 - pair["p_a"])
    dropped = f"; no row: {pair['dropped']}" if pair["dropped"] else ""
    console.print(
        plain("label  ", "bold cyan")
        + plain(f"{name}, p = {p:.2f}, order gap {pair['order_gap']:.2f}{dropped}")
    )
    for judgement in pair["judgements"]:
        p_a = mean_p(judgement["q_ab"], judgement["q_ba"])
        p_named = p_a if name == names[pair["source"]][0] else 1 - p_a
        console.print(plain(f"  {judgement['principle_id']}: {p_named:.2f}", "dim"))


def _print_part(name: str, text: str) -> None:
    console.print(plain(name, "bold cyan"))
    console.print(plain(text))


def word_diff(before: str, after: str) -> Text:
    """The new text with the words that came in green and those that went in red, struck out."""
    from rich.text import Text

    old, new = (re.findall(r"\S+\s*", visible(text)) for text in (before, after))
    shown = Text()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for operation, i, j, k, m in matcher.get_opcodes():
        if operation == "equal":
            shown.append("".join(new[k:m]))
            continue
        if i < j:
            shown.append("[-" + "".join(old[i:j]).rstrip() + "-]", style="red strike")
            shown.append(" ")
        if k < m:
            words = "".join(new[k:m])
            shown.append("{+" + words.rstrip() + "+}", style="green")
            shown.append(words[len(words.rstrip()) :] or " ")
    return shown
