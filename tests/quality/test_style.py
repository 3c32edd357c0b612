"""How answers sound: sentences of our own that do and that do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cai.quality import style

YES: dict[str, list[str]] = {
    "apologises": [
        "I'm so sorry to hear that. Try turning it off.",
        "I apologize for the confusion. The train leaves at nine.",
        "Es tut mir leid, das war falsch. Der Zug fährt um neun.",
        "Désolé, je me suis trompé.",
        "Lo siento, la respuesta es otra.",
        "非常抱歉，火车九点开。",
        "申し訳ありません。",
        "Извините, я ошибся.",
        "Mi dispiace, ho sbagliato.",
        "Peço desculpa, enganei-me.",
        "Het spijt me, dat klopte niet.",
        "對不起，我弄錯了。",
    ],
    "praises": [
        "Great question! Bees see ultraviolet light.",
        "What a wonderful idea. Begin with the roof.",
        "That's a really good question. It depends.",
        "Das ist eine sehr gute Frage! Bienen sehen UV-Licht.",
        "Excellente question ! Les abeilles voient autrement.",
        "这真是一个很好的问题！蜜蜂可以看到紫外线。",
    ],
    "closes": [
        "Bees see ultraviolet light. Let me know if you want to hear more!",
        "It leaves at nine. I hope this helps.",
        "It leaves at nine. Feel free to ask, I'm always here to listen.",
        "Er fährt um neun. Ich hoffe, das hilft!",
        "Il part à neuf heures. N'hésitez pas à demander.",
        "火车九点开。希望对您有帮助！",
        "如果你想聊聊，我随时都在这里。",
    ],
    "first_person": [
        "I think so.",
        "It seems to me that it rains.",
        "Ich glaube schon.",
        "我觉得很好。",
        "Я думаю, да.",
        "Nach mir die Sintflut.",
        "Ik denk van wel.",
    ],
    "markdown": [
        "# Title\ntext",
        "Do this:\n- one\n- two",
        "1. one\n2. two",
        "It is **very** old.",
    ],
}
NO: dict[str, list[str]] = {
    "apologises": [
        "The card says: sorry we missed you.",
        "Die Antwort ist neun Uhr.",
        "他迟到了。",
    ],
    "praises": ["The question is how bees see.", "A good question to ask a seller is its age."],
    "closes": ["The train leaves at nine.", "He hopes to help his sister.", "火车九点开。"],
    "first_person": [
        "The train leaves at nine.",
        "Die Bahn fährt um neun.",
        "火车九点开。",
        "Поезд отправляется в девять.",
    ],
    "markdown": ["3 - 2 is 1.", "He said: yes - perhaps.", "2 * 3 * 4 is 24."],
}


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in YES.items() for t in texts])
def test_it_does(name: str, text: str) -> None:
    trait: Callable[[str], bool] = getattr(style, name)
    assert trait(text)


@pytest.mark.parametrize(("name", "text"), [(n, t) for n, texts in NO.items() for t in texts])
def test_it_does_not(name: str, text: str) -> None:
    trait: Callable[[str], bool] = getattr(style, name)
    assert not trait(text)


@pytest.mark.parametrize(
    ("text", "count"), [("none", 0), ("Hi 😀🎉", 2), ("🇫🇷", 1), ("a → b ✓ ½ ™", 0), ("❤️", 1)]
)
def test_emojis_are_counted(text: str, count: int) -> None:
    assert style.emojis(text) == count


@pytest.mark.parametrize(
    "text",
    ["", "a" * 200_000, "😀" * 100_000, "\x00\x01", "\u200f\u200f", "\ud800 x", " " * 100_000],
)
def test_any_text_has_a_style(text: str) -> None:
    for name in YES:
        trait: Callable[[str], bool] = getattr(style, name)
        assert trait(text) in (True, False)
    assert style.emojis(text) >= 0
