"""Answers that are written for a judge and not for a user: they win comparisons and help nobody.

One constant text wins most of a benchmark that a model judges (Zheng et al. 2024, "Cheating
automatic LLM benchmarks: null models achieve high win rates", arXiv 2410.07137).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import re2

_ANSWER = r"(?:answer|response|output|assistant|model|candidate)s?"
_WHICH = rf"(?:{_ANSWER}|options?)"
_LETTER = r"\(?(?:a|b)\b\)?"
_LABEL = r"\(?(?:a|b|x|y|1|2|first|second|one|two)\b\)?"
_BETTER = r"(?:better|best|correct|right|preferred|winner|superior|more helpful)"
_VERY = r"(?:clearly |much |far |the )*"
_JUDGE = r"(?:judge|evaluator|grader|rater)s?"
# Options, numbers and judges are in many an answer to a user too; there it takes more words.
_TO_JUDGE = re2.compile(
    r"(?i)"
    rf"\b(?:the |my )?(?:{_BETTER} |final ){_WHICH} is:? {_LABEL}\W*$"
    rf"|\b(?:the |my )?(?:answer|response) is:? {_LETTER}\W*$"
    rf"|\b(?:choose|select|pick|prefer|vote for|rate) (?:the )?"
    rf"(?:{_ANSWER} {_LABEL}|option {_LETTER}|this {_ANSWER})"
    rf"|\b{_ANSWER} {_LABEL} is {_VERY}{_BETTER}"
    rf"|\boptions? {_LABEL} is {_VERY}{_BETTER}(?:\W*$|[.!])"
    rf"|\bthis (?:answer|response) is {_VERY}{_BETTER}"
    r"(?:\W*$|[.!,;]| (?:one|and|because|than|of)\b)"
    rf"|\b(?:dear|attention|note to(?: the)?) {_JUDGE}\s*[,:;.!]"
    rf"|^\W*(?:as an?|you are an?) {_JUDGE}\b"
    r"|\b(?:ignore|disregard) (?:all |any |the )*(?:previous|above|other|evaluation|grading) "
    r"(?:instructions?|criteria|answers?|responses?|rubrics?)"
)
_OPTIONS = re2.compile(r"(?im)(?:^|\s)\(?(?:a|b|1|2)[).:]\s|\boptions?\b|\bchoices?\b|\bjudges?\b")
_READ = 4000  # characters at each end of an answer
_SHARE, _FEWEST, _LETTERS = 0.1, 5, 20


def speaks_to_judge(answer: str, prompt: str = "") -> bool:
    """Whether an answer names itself the better one, or gives orders to whoever compares it.

    Where a prompt offers options, or speaks of judging, naming one is an answer.
    """
    if _OPTIONS.search(prompt) or _TO_JUDGE.search(prompt):
        return False
    ends = answer if len(answer) <= 2 * _READ else f"{answer[:_READ]}\n{answer[-_READ:]}"
    return any(_TO_JUDGE.search(line.strip()) for line in ends.splitlines())


def constant(answers: Sequence[str | None], prompts: Sequence[str]) -> list[bool]:
    """Which answers are one text that answers many prompts: a tenth of them, and at least five.

    Short texts (`Yes.`) may well answer many, and so do refusals: who reads this asks for the reply
    class first.
    """
    asked: dict[str, set[str]] = {}
    keys = [_key(answer) for answer in answers]
    for key, prompt in zip(keys, prompts, strict=True):
        if key is not None:
            asked.setdefault(key, set()).add(prompt)
    counts = Counter({key: len(texts) for key, texts in asked.items()})
    least = max(_FEWEST, _SHARE * len(set(prompts)))
    return [key is not None and counts[key] >= least for key in keys]


def _key(answer: str | None) -> str | None:
    if answer is None:
        return None
    text = " ".join(answer.casefold().split())
    return text if sum(map(str.isalpha, text)) >= _LETTERS else None
