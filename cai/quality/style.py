"""How an answer sounds: praise, apologies, offers of more help, the first person, markdown, emojis.

Each is a predicate of one text. What opens an answer is looked for in its first sentence or two,
what closes it in its last one; in English, German, French, Spanish and Chinese.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import re2

_OPENING, _CLOSING = 160, 240  # characters at either end
_APOLOGY = (
    r"\b(?:i(?:'m| am)(?: \w+ly| so| very)? sorry|(?:my |sincere )*apologies|i apologi[sz]e|sorry,"
    r"|(?:es )?tut mir (?:sehr )?leid|(?:ich )?(?:bitte um )?entschuldig(?:e|ung|en)|verzeihung"
    r"|(?:je suis|je m'excuse|toutes mes) (?:vraiment )?(?:désolée?|excuses)|désolée?,"
    r"|lo siento|mis disculpas|(?:me )?disculp[ao]s?|mi dispiace|mi scuso|sinto muito"
    r"|(?:peço )?desculp[ae]s?"
    r"|het spijt me|mijn excuses)"
    r"|(?:извини|прости|прошу прощения|приношу извинения|мне жаль)"
    r"|对不起|對不起|抱歉|请原谅|請原諒|申し訳|ごめんなさい|すみません"
)
_GOOD = (
    r"(?:great|excellent|good|wonderful|fantastic|brilliant|amazing|awesome|lovely|superb"
    r"|thoughtful"
    r"|insightful|interesting|fascinating|perfect)"
)
_THING = r"(?:question|idea|point|choice|observation|thought|topic|request|prompt)"
_PRAISE = (
    r"^\W*(?:oh,? |wow,? |ah,? )?(?:what|that's|that is|this is)(?: such)? an? "
    rf"(?:absolutely |really |truly |very )?{_GOOD} {_THING}\b"
    r"|^\W*(?:oh,? |wow,? |ah,? )?(?:absolutely |really |truly |very )?"
    rf"{_GOOD} {_THING}\s*[!.,:;–—-]"
    r"|^\W*i (?:love|really like|admire|appreciate) (?:your|that you|how you)\b"
    r"|^\W*(?:das ist |was für )?(?:eine )?(?:sehr |wirklich )?(?:gute|tolle|großartige"
    r"|ausgezeichnete|interessante|hervorragende|wunderbare) (?:frage|idee)\b"
    r"|^\W*(?:c'est )?(?:une )?(?:très )?(?:bonne|excellente|superbe) (?:question|idée)"
    r"|^\W*¡?(?:es una )?(?:muy )?(?:buena|excelente|gran) (?:pregunta|idea)"
    r"|^\W*(?:这|這|你|您)?\S{0,4}(?:真是|是)?(?:一?个|一?個)?(?:非常|很|真|太)?"
    r"(?:好|棒|精彩|出色|有趣|深刻)的?(?:问题|問題|想法|主意|提问|提問)"
)
_CLOSER = (
    r"\b(?:let me know (?:if|how|what|whether)|feel free to (?:ask|reach|contact|let|share|message)"
    r"|(?:i )?hope (?:this|that|these|it) (?:\w+ )?helps?"
    r"|(?:do not|don't) hesitate to"
    r"|(?:i(?:'m| am)(?: \w+)?|we(?:'re| are)(?: \w+)?) here (?:to (?:help|listen|support|assist"
    r"|talk|chat|answer)|for you|if you|whenever)|is there anything else"
    r"|happy to (?:help|assist|answer|provide|elaborate)"
    r"|if you (?:have|need|want|would like|'d like)(?: any| more| further| some)*(?: other)? "
    r"(?:questions?|help|assistance|information|details|support)"
    r"|wish(?:ing)? you (?:all )?(?:the best|luck|success))"
    r"|(?:lass(?:en sie)? (?:es )?mich wissen"
    r"|zögern sie nicht|zögere nicht"
    r"|ich hoffe,? (?:das|dies)|ich bin (?:immer |gerne? )?(?:hier|für (?:dich|sie) da)"
    r"|(?:weitere|noch) fragen)"
    r"|(?:n'hésitez pas|j'espère que cela|je suis là pour)|(?:no dudes? en|espero que (?:esto|te)"
    r"|estoy aquí para)|(?:请|請)?(?:随时|隨時)(?:告诉|告訴|联系|聯繫|提问|提問|问|問|都)"
    r"|希望(?:这|這|以上|对|對)\S{0,8}(?:帮助|幫助)|(?:如果|若)(?:您|你)?(?:还|還)?有(?:任何|其他"
    r"|更多)"
    r"\S{0,6}(?:问题|問題|疑问|疑問)|(?:我)?(?:随时|隨時|一直)都?在(?:这里|這裡)?"
)
_FIRST_PERSON = (
    r"\b(?:i|i'm|i've|i'll|i'd|me|my|mine|myself|ich|mir|mich|mein\w{0,2}|je|j'\w+|moi|mon|ma|mes"
    r"|yo|io|eu|ik)\b|\bmí(?:[^\pL]|$)|(?:^|[^\pL])(?:я|мне|меня|мой|моя|моё|мы)(?:[^\pL]|$)"
    r"|我|私は|私の|私も|私が"
)
_MARKDOWN = re.compile(
    r"^ {0,3}(?:#{1,6} \S|[-*+] \S|\d{1,3}[.)] \S|```|\|.*\|)|\*\*[^*\n]+\*\*|__[^_\n]+__",
    re.MULTILINE,
)
_EMOJI = re.compile(
    "[\U0001f1e6-\U0001f1ff]{2}"
    "|[\U0001f300-\U0001f3fa\U0001f400-\U0001f5ff\U0001f600-\U0001f64f\U0001f680-\U0001f6ff"
    "\U0001f7e0-\U0001f7eb\U0001f900-\U0001f9ff\U0001fa70-\U0001faff\u2600-\u26ff\u2705\u270a-\u270d"
    "\u2728\u2753-\u2757\u2763-\u2764\u2795-\u2797\u2b50\u2b55]"
)
_LAST_EMOJIS = re.compile(
    "(?:[\U0001f1e6-\U0001f1ff]{2}|[\U0001f300-\U0001faff\u2600-\u27bf\u2b50\u2b55]"
    "[\ufe0f\u200d\U0001f3fb-\U0001f3ff]*|\\s){1,200}\\Z"
)
_MAY_BE_EMOJI = re.compile("[\u2600-\u2bff\U0001f1e6-\U0001faff]")


@functools.cache
def _pattern(words: str) -> Any:
    options = re2.Options()
    options.never_capture = True
    return re2.compile(words, options=options)


def lowered(text: str) -> str:
    """A text in lower case, with straight apostrophes and nothing that UTF-8 cannot hold."""
    text = text.lower()
    return text if text.isascii() else text.replace("’", "'").encode("utf-8", "replace").decode()


def apologises(text: str) -> bool:
    """Whether an answer opens with an apology."""
    return bool(_pattern(_APOLOGY).search(lowered(text.lstrip()[:_OPENING])))


def praises(text: str) -> bool:
    """Whether an answer opens with praise of the one who asks, or of the question."""
    return bool(_pattern(_PRAISE).search(lowered(text.lstrip()[:_OPENING])))


def closes(text: str) -> bool:
    """Whether an answer closes with an offer of more help, or good wishes."""
    return bool(_pattern(_CLOSER).search(lowered(text.rstrip()[-_CLOSING:])))


def first_person(text: str) -> bool:
    """Whether an answer speaks of itself."""
    return bool(_pattern(_FIRST_PERSON).search(lowered(text)))


def markdown(text: str) -> bool:
    """Whether an answer has lists, headings, tables, code fences or bold type."""
    return _MARKDOWN.search(text) is not None


def emojis(text: str) -> int:
    """How many emojis are in a text; a flag is one."""
    if text.isascii() or _MAY_BE_EMOJI.search(text) is None:
        return 0
    return len(_EMOJI.findall(text))
