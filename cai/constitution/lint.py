"""What is legal in a constitution and still likely to make worse data.

Every check is a function from a constitution to findings. Those that read words are heuristics for
English and are made to miss rather than to accuse; those of rules (lint_rules.py) are exact.
"""

from __future__ import annotations

import difflib
import itertools
import json
import math
import re
from collections.abc import Collection, Iterator
from typing import Literal

from cai.constitution import lint_rules
from cai.constitution.records import Constitution, Principle
from cai.files import seeds_dir
from cai.records import KINDS, Kind, Prompt, Record, user

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
DrawStage = Literal["revise", "compare"]

# Word pairs that two texts share, as a part of all the pairs in either. Between different
# principles of the shipped files the largest is 0.14; a copy with one word in five replaced has
# 0.46 in the median, with one in ten 0.68. A paraphrase in other words is not found.
NEAR = 0.4
# More than half of the draws is the rest together.
DOMINANT = 0.5

_FORBIDS = re.compile(
    r"\b(don['’]t|do not|never|avoid|refrain|stop|remove|delete|cut|strip|drop|omit|leave out"
    r"|take out|eliminate|erase|without|no longer|free of|free from)\b"
)
# A verb right behind one of these says what not to write, up to the end of its clause.
_NEGATED = re.compile(
    r"\b(?:don['’]t|do not|never|avoid|refrain from|stop|must not|should not|cannot|not)\b"
    r"(?:(?!\b(?:but|and|instead|rather)\b)[^.,;:!?])*"
)
# Words of a positive instruction. `rewrite`, `revise` and `edit` say nothing about what to write.
_ASKS = re.compile(
    r"\b(write|say|tell|state|answer|reply|respond|give|offer|explain|describe|keep|name|show"
    r"|suggest|recommend|provide|include|add|put|use|make|help|begin|start|lead|open|end|turn|move"
    r"|bring|replace|exchange|correct|adjust|address|mention|point|ask|admit|acknowledge|express"
    r"|present|propose|choose|mark|take the|talk|let|send|encourage|invite|clarify|focus|ensure"
    r"|instead|rather)\b"
)
# Too much care, and the words by which a principle against it can be known.
_RESTRAINT = {
    "preaching": r"preach|lectur|moraliz|moralis|moral |sermon|scold|judgmental|judgemental",
    "needless refusal": r"refus|declin|turned? down|withhold|withheld|evasi|not answering",
    "boilerplate": r"boilerplate|filler|stock |padding|off the shelf|canned|generic|formulaic",
}


# An unknown prompt meets what a red-team prompt meets.
SHOWN: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind != "unknown")


class Finding(Record):
    """What a check found: how bad it is, in which principle (None: in the whole), and a remedy."""

    severity: Severity
    check: str
    principle: str | None
    message: str


def lint(constitution: Constitution, prompt_tags: Collection[str] | None = None) -> list[Finding]:
    """The findings on a constitution, errors first.

    Args:
        constitution: A constitution, from a file or made in code.
        prompt_tags: The tags that prompts carry; those of the shipped seed prompts by default.
    """
    tags = seed_tags() if prompt_tags is None else frozenset(prompt_tags)
    findings = [
        *_rules(constitution),
        *_twins(constitution),
        *_stages(constitution),
        *_unreachable(constitution, tags),
        *_only_forbids(constitution),
        *_few_shot(constitution),
        *_first_order(constitution),
        *_restraint(constitution),
        *_uneven(constitution),
        *_no_examples(constitution),
    ]
    return sorted(findings, key=lambda f: SEVERITIES.index(f.severity))


def seed_tags() -> frozenset[str]:
    """The tags of the shipped seed prompts."""
    lines = (
        line
        for path in sorted(seeds_dir().glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    )
    return frozenset(tag for line in lines if line for tag in json.loads(line).get("tags", ()))


def shares(constitution: Constitution, kind: Kind, stage: DrawStage) -> dict[str, float]:
    """Each principle's share of the draws for a prompt of this kind without tags.

    For comparisons the shares sum to 1. For revisions they do so within each `order`, since a round
    draws among one order only. Left out are rules, which are not drawn, and principles that do not
    serve the stage or are not for such a prompt.
    """
    drawn = [
        p
        for p in constitution.principles
        if p.check is None
        and (p.revises if stage == "revise" else p.compare is not None)
        and p.applies(_plain(kind))
    ]
    pools: dict[int, list[Principle]] = {}
    for p in drawn:
        pools.setdefault(p.order if stage == "revise" else 0, []).append(p)
    return {p.id: share for pool in pools.values() for p, share in _by_weight(pool)}


def _by_weight(pool: list[Principle]) -> Iterator[tuple[Principle, float]]:
    top = max(p.weight for p in pool)  # so that the sum of large weights is finite
    total = math.fsum(p.weight / top for p in pool)
    return ((p, p.weight / top / total) for p in pool)


def rounds(constitution: Constitution, kind: Kind) -> list[tuple[int, tuple[str, ...]]]:
    """Round by round the order that is drawn from, and its principles, for a prompt without tags.

    The last one repeats.
    """
    among = constitution.for_revision(_plain(kind))
    orders = sorted({p.order for p in among})
    return [(order, tuple(p.id for p in among if p.order == order)) for order in orders]


def _plain(kind: Kind) -> Prompt:
    """A prompt of a kind, without tags."""
    return Prompt(id="-", messages=(user("-"),), kind=kind)


def _first_order(constitution: Constitution) -> Iterator[Finding]:
    """A kind that is revised and of which no round looks for what comes first."""
    for kind in SHOWN:
        among = rounds(constitution, kind)
        if among and among[0][0] > 1:
            message = (
                f"a {kind} prompt never meets a principle of order 1: its first round draws from "
                f"order {among[0][0]}; give one of order 1 that is for such prompts"
            )
            yield Finding(
                severity="warning", check="no-first-order", principle=None, message=message
            )


def _rules(constitution: Constitution) -> Iterator[Finding]:
    checks: tuple[tuple[Severity, str, Iterator[tuple[str, str]]], ...] = (
        ("error", "impossible", lint_rules.impossible(constitution)),
        ("warning", "idle-pattern", lint_rules.idle(constitution)),
        ("error", "denied-example", lint_rules.denied(constitution)),
    )
    for severity, check, findings in checks:
        for name, message in findings:
            yield Finding(severity=severity, check=check, principle=name, message=message)


def _words(text: str | None) -> list[str]:
    return re.findall(r"\w+", (text or "").casefold())


def _pairs(text: str | None) -> frozenset[tuple[str, ...]]:
    words = _words(text)
    return frozenset(itertools.pairwise(words)) or frozenset((word,) for word in words)


def _twins(constitution: Constitution) -> Iterator[Finding]:
    fields = ("critique", "revise", "compare")
    texts = {
        p.id: (p.check, *(" ".join(_words(getattr(p, f))) for f in fields))
        for p in constitution.principles
    }
    pairs = {p.id: tuple(_pairs(getattr(p, f)) for f in fields) for p in constitution.principles}
    for a, b in itertools.combinations(texts, 2):
        if texts[a] == texts[b]:
            message = f"says the same as {a}; keep one, with the sum of the weights"
            yield Finding(severity="error", check="duplicate", principle=b, message=message)
            continue
        near = [
            f
            for f, x, y in zip(fields, pairs[a], pairs[b], strict=True)
            if x and y and len(x & y) >= NEAR * len(x | y)
        ]
        if near:
            message = f"{' and '.join(near)}: nearly the wording of {a}; merge them, or part them"
            yield Finding(severity="warning", check="near-duplicate", principle=b, message=message)


def _worded(constitution: Constitution) -> list[Principle]:
    """The principles that models are asked about; the others are rules."""
    return [p for p in constitution.principles if p.check is None]


def _stages(constitution: Constitution) -> Iterator[Finding]:
    # A rule serves all stages: its finding is the critique, and two answers are compared by it.
    ruled = [p for p in constitution.principles if p.check is not None]
    if not ruled and not any(p.compare is not None for p in constitution.principles):
        message = "no principle has compare, so pairs of answers cannot be judged by it"
        yield Finding(severity="warning", check="no-compare", principle=None, message=message)
    if not ruled and not any(p.revises for p in constitution.principles):
        message = "no principle has critique and revise, so nothing can be revised by it"
        yield Finding(severity="error", check="no-revise", principle=None, message=message)
        return
    for kind in SHOWN:
        kept = any(not p.applies_to or kind in p.applies_to for p in ruled)
        if not kept and not shares(constitution, kind, "revise"):
            message = f"no principle with critique and revise is for every {kind} prompt"
            yield Finding(severity="warning", check="no-kind", principle=None, message=message)


def _unreachable(constitution: Constitution, tags: Collection[str]) -> Iterator[Finding]:
    names = sorted({*KINDS, *tags})
    for principle in constitution.principles:
        for name in principle.applies_to:
            if name in names:
                continue
            near = difflib.get_close_matches(name.lower().replace("_", "-"), names, 1, 0.75)
            hint = f" (did you mean {near[0]}?)" if near else ""
            message = f"applies_to: {name} is no kind; reachable only if your prompts carry the tag"
            yield Finding(
                severity="warning",
                check="unreachable",
                principle=principle.id,
                message=f"{message}{hint}",
            )


def only_forbids(text: str) -> bool:
    """Whether a revision request says what to leave out and nothing about what to write."""
    text = text.casefold()
    return bool(_FORBIDS.search(text)) and not _ASKS.search(_NEGATED.sub(" ", text))


def _only_forbids(constitution: Constitution) -> Iterator[Finding]:
    message = "revise: only says what to leave out; add what to write in its place"
    for principle in constitution.principles:
        if principle.revise is not None and only_forbids(principle.revise):
            yield Finding(
                severity="warning", check="only-forbids", principle=principle.id, message=message
            )


def _few_shot(constitution: Constitution) -> Iterator[Finding]:
    if not constitution.few_shot and any(p.revises for p in _worded(constitution)):
        message = "no few_shot: a model that is shown no case may write a revision for a critique"
        yield Finding(severity="note", check="no-few-shot", principle=None, message=message)
    elif constitution.few_shot and all(c.verdict == "violates" for c in constitution.few_shot):
        message = "few_shot: no case is fine, which teaches a model to find fault in everything"
        yield Finding(severity="error", check="no-fine-case", principle=None, message=message)


def _restraint(constitution: Constitution) -> Iterator[Finding]:
    if not _worded(constitution):
        return  # rules add no preaching
    texts = " ".join(
        " ".join((p.id, p.critique or "", p.revise or "", p.compare or "", *p.tags)).casefold()
        for p in constitution.principles
    )
    for vice, words in _RESTRAINT.items():
        if not re.search(words, texts):
            message = f"no principle seems to be against {vice}, a vice that revisions teach"
            yield Finding(severity="note", check="no-restraint", principle=None, message=message)


def _uneven(constitution: Constitution) -> Iterator[Finding]:
    if sum(p.check is None for p in constitution.principles) == 1:
        return  # there is no other one to draw
    places: dict[str, list[str]] = {}
    stages: tuple[DrawStage, ...] = ("revise", "compare")
    for stage, kind in itertools.product(stages, SHOWN):
        for name, share in shares(constitution, kind, stage).items():
            if share > DOMINANT:
                places.setdefault(name, []).append(f"{share:.0%} of {stage} on {kind}")
    for name, where in places.items():
        message = f"takes most of the draws: {', '.join(where)}"
        yield Finding(severity="warning", check="uneven", principle=name, message=message)


def _no_examples(constitution: Constitution) -> Iterator[Finding]:
    bare = [p for p in constitution.principles if not p.examples]
    if bare:
        message = f"without examples: {_listed(bare)}"
        yield Finding(severity="note", check="no-examples", principle=None, message=message)


def _listed(principles: list[Principle]) -> str:
    shown = ", ".join(p.id for p in principles[:8])
    return shown + (f" and {len(principles) - 8} more" if len(principles) > 8 else "")
