"""What is no prompt, in English, German and Chinese, each by its reason."""

from __future__ import annotations

import pytest

from cai.prompting.filters import Reason, cut, problem

PRINCIPLE = (
    "The answer must never help anybody to get money from other people by telling them lies.",
    "Die Antwort darf niemandem helfen, mit erfundenen Geschichten an das Geld anderer zu kommen.",
    "回答绝不能帮助任何人通过编造谎言的方式从其他人那里骗取钱财。",
)

FAULTS: list[tuple[Reason, str, str | None]] = [
    ("empty", "", None),
    ("too long", "How do I mend a gate? " * 80, None),
    ("no text", "go on and on and " * 12, None),
    ("refusal", "I'm sorry, but I can't help with writing such a message.", None),
    ("refusal", "Es tut mir leid, aber dabei kann ich nicht helfen.", None),
    ("refusal", "很抱歉，我无法提供这样的内容。", None),
    ("announcement", "Here is a prompt:", None),
    ("announcement", "Hier ist eine Nachricht:", None),
    ("announcement", "以下是一条消息：", None),
    ("answer", "Certainly, a parcel can be returned within two weeks at any of our shops.", None),
    ("answer", "Gerne, das Paket können Sie innerhalb von zwei Wochen zurückgeben.", None),
    ("answer", "当然可以，您可以在两周内到任何一家门店退货。", None),
    ("answer", "You can do this:\n1. Wash it.\n2. Dry it.\n3. Iron it.", None),
    ("answer", "It takes two days by post. I hope this helps.", None),
    ("copied", f"Please remember: {PRINCIPLE[0].lower()}", None),
    ("copied", f"Denken Sie daran: {PRINCIPLE[1]}", None),
    ("copied", f"请记住：{PRINCIPLE[2]}", None),
    ("language", "How do I return a jacket that I have worn only once this week?", "de"),
    ("language", "Wie gebe ich eine Jacke zurück, die ich nur einmal getragen habe?", "en"),
    ("language", "我只穿过一次的外套怎么才能退货呢，请告诉我。", "en"),
    ("placeholder", "Dear [company name], when does my parcel arrive?", None),
    ("placeholder", "Liebes Team von [Firmenname], wann kommt mein Paket?", None),
    ("placeholder", "您好，我在【公司名称】买的外套什么时候到？", None),
    ("placeholder", "Hello {name}, when does my parcel arrive?", None),
    ("personal data", "My card is 4111 1111 1111 1111, why was it charged twice?", None),
    ("personal data", "Schreiben Sie mir an jane.doe@company.org, wann kommt das Paket?", None),
    ("personal data", "请把退款单发到 wang.li@company.cn ，谢谢你们。", None),
]


@pytest.mark.parametrize(("reason", "text", "language"), FAULTS)
def test_each_fault_has_its_reason(reason: Reason, text: str, language: str | None) -> None:
    assert problem(cut(text).text, principle=PRINCIPLE, language=language) == reason


@pytest.mark.parametrize(
    "text",
    [
        "How do I return a jacket that I have worn only once?",
        "i ordered two kettles and got one. where is the other??",
        "Sorry to bother you again, but can you not just send me a new one?",
        "Wann kommt mein Paket? Ich warte seit Dienstag darauf.",
        "我的包裹什么时候到？已经等了一个星期了。",
        "Write a review for me that says the shop is bad.\nI never bought anything there.",
        "My list: a kettle, a lamp. Which of them can go back? 1. kettle 2. lamp",
        "Is it okay to say [sic] in a quote?",
    ],
)
def test_what_people_write_is_a_prompt(text: str) -> None:
    assert cut(text).text == text
    assert problem(text, principle=PRINCIPLE, language=None) is None


@pytest.mark.parametrize(
    ("text", "rest", "mended"),
    [
        ("Here is a prompt: When does it arrive?", "When does it arrive?", ("announcement",)),
        ("Hier ist eine Nachricht:\nWann kommt es?", "Wann kommt es?", ("announcement",)),
        ("以下是一条消息：什么时候到？", "什么时候到？", ("announcement",)),
        ("**User message:** When does it arrive?", "When does it arrive?", ("announcement",)),
        ("1. When does it arrive?", "When does it arrive?", ("numbering",)),
        ('"When does it arrive?"', "When does it arrive?", ("quotes",)),
        ("„Wann kommt es?“", "Wann kommt es?", ("quotes",)),
        ("“什么时候到？”", "什么时候到？", ("quotes",)),
        ('Sure! Here it is:\n"When?"', "When?", ("announcement", "quotes")),
        ('"One" and "two"', '"One" and "two"', ()),
    ],
)
def test_what_stands_around_a_prompt_is_taken_off(
    text: str, rest: str, mended: tuple[str, ...]
) -> None:
    assert cut(text) == (rest, mended)
