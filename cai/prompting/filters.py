"""What a writer gives instead of a prompt: told by its form, and counted by its reason."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import re2

from cai.cleaning.units import pieces, units
from cai.constitution.language import other_language
from cai.personal import personal_spans
from cai.quality.gibberish import is_gibberish
from cai.quality.replies import reply_class

Reason = Literal[
    "empty",
    "too long",
    "no text",
    "refusal",
    "announcement",
    "answer",
    "copied",
    "language",
    "placeholder",
    "personal data",
    "near-duplicate",
    "in a file to avoid",
    "no conversation",
    "several",
    "cut off",
    "call failed",
]
Mended = Literal["announcement", "numbering", "quotes"]

_SHORT = 40  # characters; of so few a language is not told at once
_REGIONS = {
    code: code.upper() for code in ("de", "es", "fr", "it", "nl", "pl", "pt", "ru", "tr")
} | {
    "en": "US",
    "ja": "JP",
    "ko": "KR",
    "zh": "CN",
}
LONGEST = 300  # words, or characters where words are not spaced
_RUN = 8  # words of a principle in a row that are a copy; of unspaced characters twice as many
_WHOLE = 5  # the words of a principle that is shorter: all of them in a row are one
_NUMBERING = re.compile(
    r"^\s*(?:(?:[-*•–]|\*{0,2}\(?(?:\d{1,3}|[a-h])[.):．]\*{0,2})\s+|"
    r"(?:\d{1,3}|[一二三四五六七八九十]{1,3})[、．]\s*|[①-⑳]\s*)"
)
_QUOTES = {
    '"': '"',
    "“": "”",
    "„": "“",
    "«": "»",
    "»": "«",
    "'": "'",
    "‘": "’",
    "「": "」",
    "『": "』",
    "*": "*",
    "`": "`",
}
# What announces a prompt, in the languages of the tests and some others: a line that begins like
# this, up to its colon; it names a prompt, or nothing stands behind the colon on its line.
_LABEL = re2.compile(
    r"(?i)^[\s*_#>\[(]*(?:(?:user|example|customer|red[- ]team|borderline|helpful)?\s*"
    r"(?:prompt|message|question|request|query|example)|user|customer|"
    r"nachricht|anfrage|frage|beispiel|(?:be)?nutzer|kunde|"
    r"message|question|mensaje|pregunta|messaggio|domanda|"
    r"用户(?:消息|提示)?|提示|消息|问题|示例|顾客|客户)\s*\d{0,3}\W{0,3}[:：]\s*\**\s*"
)
_ANNOUNCES = re2.compile(
    r"(?i)^\W*(?:(?:sure|certainly|of course|okay|ok|klar|gerne|natürlich|bien sûr|claro|好的|当然)"
    r"[\s,.!，。！]*)?(?:here(?:'s|’s| is| are| it is)|below is|this is|"
    r"the (?:user(?:'s|’s)?|prompt|message)|hier (?:ist|sind|kommt)|"
    r"voici|aquí (?:está|tienes)|ecco|以下是|这是|这里是|下面是)"
    r"[^\n:：?？]{0,120}(?:[:：]\s*\**\s*|$)"
)
_NAMES_A_PROMPT = re2.compile(
    r"(?i)\b(?:prompts?|messages?|questions?|requests?|quer(?:y|ies)|nachrichten?|anfragen?|"
    r"mensajes?|messaggi?o?)\b|消息|提示|问题|请求|例子|示例"
)
_ONES_OWN = re2.compile(
    r"(?i)\b(?:i|my|mine|me|we|our|ich|wir|mein\w*|mir|unser\w*|je|mon|ma|mes|notre|nous|mi|mis|"
    r"yo|nuestr\w*|mio|mia)\b|我|咱"
)
_OPENS_AN_ANSWER = re2.compile(
    r"(?i)^\W*(?:sure|certainly|of course|absolutely|great question|as an ai|"
    r"i(?:'d| would) be happy to|thank you for (?:your|reaching|contacting|writing)|"
    r"(?:we|i) (?:sincerely )?apologi[sz]e for|(?:we're|we are|i'm) (?:very |so )?sorry (?:to hear|"
    r"that your)|wir entschuldigen uns|es tut uns leid|我们(?:深表|非常|对此)?.{0,6}(?:抱歉|歉意)|"
    r"natürlich|gerne|selbstverständlich|als ki|"
    r"vielen dank für (?:ihre|deine) (?:anfrage|nachricht)|"
    r"bien sûr|en tant qu'ia|claro|como (?:una )?ia|"
    r"当然|好的|作为(?:一个)?(?:人工智能|ai)|很高兴为您|感谢您的(?:咨询|来信|提问))"
)
_CLOSES_AN_ANSWER = re2.compile(
    r"(?i)(?:i hope (?:this|that) helps|let me know if you (?:have|need)|"
    r"feel free to (?:ask|reach)|"
    r"ich hoffe,? das hilft|(?:lassen sie|lass) (?:es )?mich wissen|"
    r"j'espère que cela|espero que (?:esto|te) |希望(?:这|以上).{0,8}(?:帮助|有用)|请随时)"
)
# It tells the reader what to do, and asks nothing.
_TELLS_YOU = re2.compile(
    r"(?i)^\W*(?:yes,? |no,? )?(?:you (?:can|may|could|should|need to)|"
    r"sie (?:können|sollten|müssen)|du (?:kannst|solltest|musst)|vous pouvez|puedes?|"
    r"[您你](?:可以|需要|应该))"
)
# Somebody answers in it.
_ANSWERED = re2.compile(r"(?im)^\W*(?:assistant|ai|bot|chatbot|assistent|助手|助理)\W{0,4}[:：]")
_PLACEHOLDER = re2.compile(
    r"\[[^\]\n\d][^\]\n]{1,40}\]|\{\{?[A-Za-z_ ]{2,40}\}?\}|<[A-Za-z][A-Za-z_ ]{2,40}>|"
    r"\bX{3,}\b|\bINSERT\b|【[^】\n]{1,20}】|［[^］\n]{1,20}］|"
    r"（(?:请?填写|填入|您的|你的)?(?:订单号|姓名|名字|公司名?称?|日期|地址|产品名?称?|[^）]{0,6}填写)"
    r"[^）\n]{0,8}）|某某|_{3,}|(?i:\((?:insert|enter|your name|name here|fill in)[^)\n]{0,40}\))"
)
# A remark of the writer's about what it wrote.
_REMARK = re2.compile(
    r"(?i)\n[\s*_(\[]*(?:note|explanation|rationale|hinweis|anmerkung|erklärung|nota|remarque|注|说明|备注)"
    r"[\s*_]*[:：]"
)
_RULE = re.compile(r"^\s*(?:-{3,}|\*{3,}|={3,}|_{3,})\s*$", re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_ITEMS = re.compile(r"^\s*(?:\d{1,2}[.)]|[-*•])\s+\S", re.MULTILINE)


class Cut(NamedTuple):
    """A text without what stood around it, and what that was."""

    text: str
    mended: tuple[Mended, ...]


def cut(text: str) -> Cut:
    """Take an announcement, a number, and marks around the whole off a prompt."""
    text, mended = text.strip(), list[Mended]()
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        text = re.sub(r"^```\w*\n?", "", text).removesuffix("```").strip()
        mended.append("quotes")
    if (inside := _in_json(text)) is not None:
        text = inside.strip()
        mended.append("announcement")
    end = _announcement(text)
    if end and text[end:].strip():
        text = text[end:].strip()
        mended.append("announcement")
    number = _NUMBERING.match(text)
    if number is not None and not any(map(_NUMBERING.match, text[number.end() :].splitlines()[1:])):
        text = text[number.end() :].strip()
        mended.append("numbering")
    while len(text) > 2 and _QUOTES.get(text[0]) == text[-1] and not _inside(text):
        text = text[1:-1].strip()
        mended.append("quotes")
    return Cut(text, tuple(dict.fromkeys(mended)))


def _announces_below(text: str) -> bool:
    """Whether the first line, which has no colon, says that a message follows."""
    line, end, _ = text.partition("\n")
    found = _ANNOUNCES.match(line) if end else None
    if found is None or _ONES_OWN.search(line):
        return False
    return _NAMES_A_PROMPT.search(line) is not None


def _in_json(text: str) -> str | None:
    """The prompt in an object of JSON that holds nothing else."""
    try:
        data = json.loads(text) if text.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    values = list(data.values()) if isinstance(data, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _inside(text: str) -> bool:
    """Whether the mark that a text begins with stands inside it: two quotations and no whole one.

    A pair of asterisks at both ends is one mark.
    """
    inside = text[1:-1]
    if text[0] == "*" and inside.startswith("*") and inside.endswith("*"):
        inside = inside[1:-1]
    return text[0] in inside


def _announcement(text: str) -> int:
    """Where a prompt begins behind what announces it; 0 where nothing does.

    What people say of their own (`Here is my problem: …`) announces nothing.
    """
    found = _LABEL.match(text)
    if found is not None:
        return int(found.end())
    found = _ANNOUNCES.match(text)
    if found is None or _ONES_OWN.search(found[0]):
        return 0
    alone = "\n" in found[0] or found.end() == len(text)
    return int(found.end()) if alone or _NAMES_A_PROMPT.search(found[0]) else 0


def problem(text: str, *, principle: Sequence[str], language: str | None) -> Reason | None:
    """Why a text is no prompt; None where it may be one. Near-duplicates are told elsewhere.

    Args:
        text: As `cut` leaves it.
        principle: Words that no user knows: the principle's own, and what the writer was told.
        language: That was asked for (ISO 639), if one was.
    """
    form = _form(text)
    if form is not None:
        return form
    if any(_copies(text, words) for words in principle):
        return "copied"
    if language is not None and in_another_language(text, language):
        return "language"
    if _PLACEHOLDER.search(text.replace("[sic]", "")):
        return "placeholder"
    return "personal data" if personal_spans(text, _region(text, language)) else None


def _form(text: str) -> Reason | None:
    """What tells by itself that a text is no prompt."""
    if not text:
        return "empty"
    if len(pieces(text)) > LONGEST:
        return "too long"
    if is_gibberish(text) or _CONTROL.search(text):
        return "no text"
    if reply_class(text) in ("refuse", "partial"):
        return "refusal"
    if _announcement(text) or _announces_below(text) or _REMARK.search(text):
        return "announcement"
    if _is_several(text):
        return "several"
    return "answer" if _is_answer(text) else None


def in_another_language(text: str, language: str) -> bool:
    """Whether a text is in another language, also a short one, which is read three times."""
    return (
        other_language(" ".join([text] * (3 if len(text) <= _SHORT else 1)), language) is not None
    )


def _region(text: str, language: str | None) -> str | None:
    """The country whose phone numbers are looked for without a `+` too."""
    return _REGIONS.get(language or ("zh" if re.search("[\u4e00-\u9fff]", text) else ""))


def _is_several(text: str) -> bool:
    """Whether it is a list of prompts: of numbered ones alone, or with a line between them."""
    lines = [line for line in text.splitlines() if line.strip()]
    listed = len(lines) > 1 and all(_NUMBERING.match(line) for line in lines)
    asks = "?" in text or "？" in text
    return (listed and asks) or _RULE.search(text) is not None


def _is_answer(text: str) -> bool:
    if _OPENS_AN_ANSWER.match(text) or _CLOSES_AN_ANSWER.search(text) or _ANSWERED.search(text):
        return True
    if "?" in text or "？" in text:
        return False
    return len(_ITEMS.findall(text)) >= 3 or _TELLS_YOU.match(text) is not None


def _copies(text: str, words: str) -> bool:
    """Whether a text shares a run of words with a principle, or holds all of a short one."""
    own, size = _runs(words)
    return bool(own) and not own.isdisjoint(_grams(_units(text), size))


@functools.lru_cache(maxsize=512)
def _runs(words: str) -> tuple[frozenset[tuple[str, ...]], int]:
    """The runs of a principle's words, and how long they are."""
    sequence = _units(words)
    unspaced = sum(len(unit) == 1 and not unit.isascii() for unit in sequence) > len(sequence) / 2
    times = 2 if unspaced else 1
    size = min(times * _RUN, max(times * _WHOLE, len(sequence)))
    return _grams(sequence, size), size


def _units(text: str) -> list[str]:
    return [unit.lower() for unit in units(text)]


def _grams(sequence: Sequence[str], size: int) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(sequence[i : i + size]) for i in range(len(sequence) - size + 1))
