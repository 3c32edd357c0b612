"""Rules that a program checks: each with texts that keep it and texts that break it."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.constitution.language import FEWEST_LETTERS, languages, other_language
from cai.constitution.records import Check
from cai.constitution.rules import MAX_DEPTH, compiled, finding

LONG = "The kettle is off."
GERMAN = "Der Kessel ist an der Wand ausgeschaltet worden."

# rule: (texts that keep it, texts that break it with what is said of them)
RULES: list[tuple[dict[str, object], list[str], dict[str, str]]] = [
    (
        {"max_words": 3},
        ["", "One two three.", "don't well-known 3.5", "你好吗", "— — —"],
        {
            "One two three four.": "4 words, at most 3.",
            "我喜欢喝茶。": "5 words, at most 3.",
            "मैं बहुत ठीक हूँ।": "4 words, at most 3.",
            "كيف حالك يا صديقي": "4 words, at most 3.",
            "ฉันชอบกินข้าวผัด": "4 words, at most 3.",
        },
    ),
    (
        {"min_words": 2},
        ["One two", "好的", "Да, конечно."],
        {
            "": "0 words, at least 2.",
            "Well.": "1 word, at least 2.",
            "!!! …": "0 words, at least 2.",
        },
    ),
    (
        {"max_sentences": 1},
        ["Dr. Smith paid 3.5 dollars, e.g. in coins.", "你好。", "It goes\non here.", ""],
        {
            "One. Two.": "2 sentences, at most 1.",
            "你好。我很好！": "2 sentences, at most 1.",
            "هل أنت بخير؟ نعم": "2 sentences, at most 1.",
            "मैं ठीक हूँ। और तुम?": "2 sentences, at most 1.",
            "One\nTwo": "2 sentences, at most 1.",
        },
    ),
    ({"min_sentences": 2}, ["Yes. No."], {"Yes": "1 sentence, at least 2."}),
    (
        {"max_paragraphs": 1},
        ["One.\nTwo.", "```\na\n\nb\n```"],
        {"One.\n\nTwo.": "2 paragraphs, at most 1.", "a\n \n\n\nb": "2 paragraphs, at most 1."},
    ),
    ({"min_paragraphs": 2}, ["a\n\nb"], {"a": "1 paragraph, at least 2."}),
    (
        {"max_characters": 4},
        ["abcd", "  ab  ", "你好吗？"],
        {"abcde": "5 characters, at most 4.", "x" * 1200: "1,200 characters, at most 4."},
    ),
    ({"min_characters": 2}, ["ab"], {" a ": "1 character, at least 2."}),
    (
        {"forbid": [r"(?i)\bcheap\b", "昂贵"]},
        ["cheapest", ""],
        {
            "Cheap and CHEAP!": 'It says "Cheap" and "CHEAP", which it must not.',
            "这个很昂贵": 'It says "昂贵", which it must not.',
            "cheap 昂贵": 'It says "cheap", which it must not. It says "昂贵", which it must not.',
        },
    ),
    ({"forbid": ["^$"]}, ["a"], {"": 'It matches the pattern "^$", which it must not.'}),
    (
        {"require": [r"\border number\b", "[0-9]{4}"]},
        ["your order number 1234"],
        {
            "1234": 'It does not say "order number", which it must.',
            "order number": 'Nothing in it matches the pattern "[0-9]{4}"; something must.',
        },
    ),
    (
        {"starts_with": "Answer:"},
        ["Answer: yes", "\n Answer:"],
        {"answer: yes": 'It does not begin with "Answer:", which it must.'},
    ),
    (
        {"ends_with": "– Ada"},
        ["Bye.\n– Ada\n"],
        {"– Ada says bye": 'It does not end with "– Ada", which it must.'},
    ),
    (
        {"ends_with_question": True},
        ["Is it?", 'He said: "Is it?"', "好吗？", "هل هو كذلك؟", "**Really?**", "What?!"],
        {"Is it? Yes.": "It does not end with a question, which it must."},
    ),
    (
        {"ends_with_question": False},
        ["Is it? Yes.", ""],
        {"Yes. Is it?": "It ends with a question, which it must not."},
    ),
    (
        {"lists": False},
        [
            "- one line alone",
            "In 2020.\n3.5 is more.",
            "a - b\nc - d",
            "```\n- x\n- y\n```",
            "---\n***",
        ],
        dict.fromkeys(
            [
                "- a\n- b",
                "• a\n• b",
                "1. a\n2. b",
                "a) a\nb) b",
                "(1) a\n(2) b",
                "So:\n* a\n\n* b",
                "一、甲\n二、乙",
                "١. أ\n٢. ب",
                "1️⃣ a\n2️⃣ b",
                "**1. A**\n**2. B**",
                "（1）甲\n（2）乙",
            ],
            "It has a list; it must have none.",
        ),
    ),
    (
        {"headings": False},
        [
            "#tag",
            "C# is",
            "```\n# comment\n```",
            "**Bold** start",
            "**This is a sentence.** And more",
            "**Stop.**",
            "***",
        ],
        dict.fromkeys(
            [
                "# A",
                "text\n## B\nx",
                "Title\n=====\nx",
                "Title\n---\nx",
                "<h2>A</h2>",
                "**Title**\nx",
            ],
            "It has a heading; it must have none.",
        ),
    ),
    (
        {"links": False},
        ["Node.js and e.g. this", "[sic] (or so)", "5://"],
        dict.fromkeys(
            ["see https://a.example/b", "www.a.example", "[a](/b)", '<a href="x">', "FTP://a"],
            "It has a link; it must have none.",
        ),
    ),
    (
        {"emoji": False},
        ["1 # * © ® ™ → ✓", "数字１", "‼ \u2764\ufe0e"],
        {
            "ok 😀": "It has emoji (😀); it must have none.",
            "\u2764\ufe0f": "It has emoji (❤); it must have none.",
            "1\ufe0f\u20e3": "It has emoji (1\ufe0f\u20e3); it must have none.",
            "🇩🇪": "It has emoji (🇩 🇪); it must have none.",
            "⭐🍋🧑🍞😀": "It has emoji (⭐ 🍋 🧑); it must have none.",
        },
    ),
    (
        {"exclamation_marks": False},
        ["`a != b`", "```\n#!/bin/sh\n```", "Yes?"],
        {
            "Oh! No!": "2 exclamation marks, none allowed.",
            "好！": "1 exclamation mark, none allowed.",
            "¡Sí": "1 exclamation mark, none allowed.",
            "Այո՜": "1 exclamation mark, none allowed.",
        },
    ),
    (
        {"language": "en"},
        ["The kettle is off at the wall.", "Hallo Anna", "42", "", "```\nDer Kessel ist aus\n```"],
        {
            GERMAN: "It is written in German, and must be in English.",
            "这是一个水壶，已经关闭了。": "It is written in Chinese, and must be in English.",
            "Чайник выключен.": "It is written in Russian, and must be in English.",
            "Mae'r tegell wedi'i ddiffodd wrth y wal, peidiwch â phoeni.": (
                "It is written in another language, and must be in English."
            ),
        },
    ),
    ({"language": "de"}, [GERMAN], {LONG * 3: "It is written in English, and must be in German."}),
    (
        {"valid_json": True},
        ['{"a": [1, -2.5e3, null, "}{"]}', " []\n", '"x"', "1" * 9000, '"' + "[" * 500 + '"'],
        {
            "```json\n{}\n```": "It is not valid JSON as a whole: it stands in a code fence.",
            "Sure: {}": "It is not valid JSON as a whole: it does not begin with a value.",
            "": "It is not valid JSON as a whole: it does not begin with a value.",
            "{} and": (
                "It is not valid JSON as a whole: it is broken, or something stands behind it."
            ),
            "NaN": "It is not valid JSON as a whole: it does not begin with a value.",
            "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1): (
                "It is not valid JSON as a whole: it is nested more than 100 levels deep."
            ),
        },
    ),
    (
        {"personal_data": False},
        ["Write to help@shop.example.", "Call 110."],
        {
            "a.b@posteo.de, c@posteo.de and +49 30 901820": (
                "It holds 2 e-mail addresses and 1 phone number; it must hold none."
            )
        },
    ),
]
NAMES = ["+".join(rule) for rule, *_ in RULES]


@pytest.mark.parametrize(("rule", "kept", "broken"), RULES, ids=NAMES)
def test_a_rule_is_kept_or_broken_in_words(
    rule: dict[str, object], kept: list[str], broken: dict[str, str]
) -> None:
    check = Check.model_validate(rule)
    assert {text: finding(check, text) for text in kept} == dict.fromkeys(kept)
    assert {text: finding(check, text) for text in broken} == broken


def test_every_rule_is_tested() -> None:
    assert {name for rule, *_ in RULES for name in rule} == set(Check.model_fields)


def test_all_that_is_broken_is_named() -> None:
    check = Check(max_words=2, max_sentences=1, exclamation_marks=False, lists=False)
    assert finding(check, "One! Two three.") == (
        "3 words, at most 2. 2 sentences, at most 1. 1 exclamation mark, none allowed."
    )
    assert finding(Check(), "anything") is None


def test_personal_data_is_not_repeated() -> None:
    said = finding(Check(personal_data=False), "key sk-abcdefghij1234567890 of anna@posteo.de")
    assert said == "It holds 1 API key and 1 e-mail address; it must hold none."


def test_long_matches_are_shortened_and_few_are_shown() -> None:
    said = finding(Check(forbid=("x+",)), "xx x xxx xxxx")
    assert said == 'It says "xx" and "x" and "xxx", which it must not.'
    said = finding(Check(forbid=("x+",)), "x" * 1000) or ""
    assert len(said) < 120


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(a", "missing )"),
        ("(?<=x)a", "invalid perl operator"),
        (r"\1", "invalid escape sequence"),
        (r"\pL{1,500}", "too large"),
        ("a{1001}", "invalid repetition size"),
        ("\ud800", "half a surrogate pair"),
    ],
)
def test_a_pattern_that_does_not_compile_says_why(
    pattern: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        compiled(pattern)
    assert words in str(caught.value)
    assert capfd.readouterr().err == ""  # the library's own log stays silent


# --- languages --------------------------------------------------------------------------------

IN_LANGUAGES = {
    "en": "You can leave the lid on while the water boils, but watch it.",
    "de": "Lass den Deckel ruhig auf dem Topf, aber behalte ihn im Auge.",
    "fr": "Laissez le couvercle pendant que l'eau bout, mais surveillez-la.",
    "es": "Puedes dejar la tapa mientras hierve el agua, pero vigílala.",
    "pt": "Você pode deixar a tampa enquanto a água ferve, mas fique de olho.",
    "it": "Puoi lasciare il coperchio mentre l'acqua bolle, ma tienila d'occhio.",
    "nl": "Je kunt het deksel erop laten terwijl het water kookt, maar let op.",
    "ru": "Крышку можно оставить, пока вода кипит, но следите за ней.",
    "uk": "Кришку можна не знімати, поки вода кипить, але її треба пильнувати.",
    "pl": "Możesz zostawić pokrywkę, gdy woda się gotuje, ale jej pilnuj.",
    "tr": "Su kaynarken kapağı kapalı bırakabilirsin ama gözünü ayırma.",
    "ar": "يمكنك ترك الغطاء بينما يغلي الماء، لكن راقبه.",
    "hi": "पानी उबलते समय ढक्कन लगा रहने दें, पर ध्यान रखें।",
    "zh": "水烧开的时候可以盖着盖子，但要看着它。",
    "ja": "お湯が沸くまでふたをしておいてもいいですが、目を離さないで。",
    "ko": "물이 끓는 동안 뚜껑을 덮어 두어도 되지만 지켜보세요.",
    "th": "ปิดฝาไว้ได้ขณะที่น้ำเดือด แต่คอยดูด้วย",
    "vi": "Bạn có thể đậy nắp khi nước sôi, nhưng hãy để ý.",
    "id": "Kamu boleh membiarkan tutupnya saat air mendidih, tetapi awasi.",
}


@pytest.mark.parametrize("code", IN_LANGUAGES)
def test_a_language_is_told_from_the_others(code: str) -> None:
    text = IN_LANGUAGES[code]
    assert other_language(text, code) is None
    assert {other_language(text, other) for other in IN_LANGUAGES if other != code} == {code}


def test_neighbours_and_short_texts_are_given_the_benefit_of_doubt() -> None:
    assert other_language("Kuhalo je isključeno na zidu, bez brige.", "sr") is None
    for short in ("", "Ja.", "Danke, Anna", "x" * (FEWEST_LETTERS - 1)):
        assert {other_language(short, code) for code in ("en", "zh", "ar")} == {None}


def test_code_and_addresses_have_no_language() -> None:
    text = "Do it like this and you are done:\n```\nder die das und nicht ein eine\n```"
    assert other_language(text, "en") is None
    assert other_language("https://der.example/die/das/und/nicht/eine " * 5, "en") is None


def test_a_long_text_is_judged_by_both_ends() -> None:
    english = IN_LANGUAGES["en"] + " "
    assert other_language(english * 2000, "de") == "en"
    assert other_language(english * 2000, "en") is None
    assert "zxx" not in languages()
    assert {"en", "zh"} < set(languages())


# --- properties -------------------------------------------------------------------------------

ALL = Check.model_validate(
    {
        **{f"max_{unit}": 0 for unit in ("words", "sentences", "paragraphs", "characters")},
        "forbid": [r"(a|aa)+$", "x.*y$", r"(?i)\bcheap\b", "a.*z|a"],
        "require": ["q.*z"],
        "starts_with": "Yes",
        "ends_with": "No",
        "ends_with_question": True,
        **dict.fromkeys(("lists", "headings", "links", "emoji", "exclamation_marks"), False),
        "personal_data": False,
        "language": "en",
        "valid_json": True,
    }
)
TEXTS = st.text(st.characters(), max_size=200) | st.text(
    "-*#1.)( \n!?。`~a@+49\ud800😀", max_size=80
)


@given(TEXTS)
@settings(deadline=None)
def test_a_finding_is_pure_and_no_text_is_too_odd(text: str) -> None:
    said = finding(ALL, text)
    assert said == finding(ALL, text)
    assert said is None or said.strip()


@given(TEXTS)
@settings(deadline=None)
def test_each_finding_of_one_rule_is_part_of_the_finding_of_all(text: str) -> None:
    whole = finding(ALL, text) or ""
    for name, value in ALL.model_dump().items():
        assert (finding(Check.model_validate({name: value}), text) or "") in whole


@given(st.integers(0, 50), TEXTS)
@settings(deadline=None)
def test_a_maximum_and_the_next_minimum_are_opposites(limit: int, text: str) -> None:
    for unit in ("words", "sentences", "paragraphs", "characters"):
        above = finding(Check.model_validate({f"max_{unit}": limit}), text)
        reached = finding(Check.model_validate({f"min_{unit}": limit + 1}), text)
        assert (above is None) != (reached is None)


def work(check: Check, text: str) -> float:
    """The least CPU time of two runs, which other programs change little."""
    times = []
    for _ in range(2):
        start = time.process_time()
        finding(check, text)
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize(
    ("unit", "last"),
    [
        ("a", ""),
        ("a", "!"),
        (".", "x"),
        ("Dr. ", ""),
        ("1. ", ""),
        ("\n", ""),
        (" ", "x"),
        ("- a\n", ""),
        ('"\\', ""),
        ("[", ""),
        ("](", ""),
        ("**", "a"),
        ("`", "a"),
        ("1 ", ""),
        ("a@b.", ""),
        ("+49 30 901820 ", ""),
        ("我", ""),
        ("The kettle is off at the wall, e.g. by Dr. Smith. Is it? Yes!\n", ""),
    ],
)
def test_the_work_is_linear(unit: str, last: str) -> None:
    """Ten times the text takes ten times the work; the square would take a hundred times."""
    small, large = ((unit * n)[: n - 1] + last for n in (10_000, 100_000))
    finding(ALL, small)  # what is loaded once is loaded
    assert work(ALL, large) < 40 * max(work(ALL, small), 0.005)
