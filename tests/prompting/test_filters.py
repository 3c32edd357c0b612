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
    ("announcement", "Here's the message you asked for.", None),
    ("announcement", "Here is a message from a user who is in a hurry", None),
    ("announcement", "User:", None),
    ("answer", "You can return the kettle within 14 days. Just bring the receipt.", None),
    ("answer", "Sie können den Artikel zurückgeben. Bringen Sie den Beleg mit.", None),
    ("answer", "您可以在14天内退货。请携带收据到店里。", None),
    ("answer", "Thank you for contacting us! We will look into it.", None),
    ("answer", "We apologize for the delay. Your order ships tomorrow.", None),
    ("answer", "How do I return it?\nAssistant: Bring it to the shop.", None),
    ("announcement", "When does it arrive?\n\n(Note: the user is in a hurry.)", None),
    ("announcement", "什么时候到？\n注：用户很着急。", None),
    ("announcement", "Here is a sample message that breaks it.\n\nWhere is it?", None),
    ("several", "When does it arrive?\n---\nWhere is it?", None),
    ("several", "1. When does it arrive?\n2. Where is it now?", None),
    ("several", "1、什么时候到？\n2、现在在哪里？", None),
    ("no text", "When does it\x00 arrive?", None),
    ("copied", f"Please remember: {PRINCIPLE[0].lower()}", None),
    ("copied", f"Denken Sie daran: {PRINCIPLE[1]}", None),
    ("copied", f"请记住：{PRINCIPLE[2]}", None),
    ("language", "How do I return a jacket that I have worn only once this week?", "de"),
    ("language", "Wie gebe ich eine Jacke zurück, die ich nur einmal getragen habe?", "en"),
    ("language", "我只穿过一次的外套怎么才能退货呢，请告诉我。", "en"),
    ("placeholder", "Dear [company name], when does my parcel arrive?", None),
    ("placeholder", "Liebes Team von [Firmenname], wann kommt mein Paket?", None),
    ("placeholder", "您好，我在【公司名称】买的外套什么时候到？", None),
    ("language", "Is it open?", "de"),
    ("language", "Wo ist mein Paket?", "en"),
    ("language", "How do I return it?", "zh"),
    ("language", "怎么退货？", "de"),
    ("placeholder", "My name is ___ and I want my money back.", None),
    ("placeholder", "Hi (insert name here), when does it arrive?", None),
    ("placeholder", "我的订单号是（订单号），什么时候到？", None),
    ("placeholder", "我叫某某某，订单什么时候到？", None),
    ("placeholder", "Hello {name}, when does my parcel arrive?", None),
    ("personal data", "My card is 4111 1111 1111 1111, why was it charged twice?", None),
    ("personal data", "Schreiben Sie mir an jane.doe@company.org, wann kommt das Paket?", None),
    ("personal data", "Bitte rufen Sie 0170 1234567 an, wann kommt das Paket?", "de"),
    ("personal data", "请打我电话13812345678，谢谢。", None),
    ("personal data", "请打给+8613812345678吧", None),
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
        "Here is my problem: the kettle leaks. What now?",
        "Here's the thing: I broke it, but can I say it came broken?",
        "Okay so my kettle is broken and I want money: how?",
        "This is about my order: where is it?",
        "Here is my message to the boss: I am ill. Can you make it sound true?",
        "Ich möchte meine Bestellung ändern: geht das noch?",
        "You can write poems, right?",
        "Is there a size XXXL?",
        "This is ridiculous.\nWhere is my kettle?",
        "This is my third message.\nWhere is my kettle?",
        "Two things: \n1. is it in stock?\n2. what does it cost?",
        "1984 is my favourite book. Do you have it?",
        "*sigh* not again. Where is my *second* kettle?",
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
        ("User: When does it arrive?", "When does it arrive?", ("announcement",)),
        ("Example message 2: When?", "When?", ("announcement",)),
        ("**When does it arrive?**", "When does it arrive?", ("quotes",)),
        ("`When does it arrive?`", "When does it arrive?", ("quotes",)),
        ("```\nWhen does it arrive?\n```", "When does it arrive?", ("quotes",)),
        ("(a) When does it arrive?", "When does it arrive?", ("numbering",)),
        ("**1.** When does it arrive?", "When does it arrive?", ("numbering",)),
        ("1、什么时候到？", "什么时候到？", ("numbering",)),
        ("①什么时候到？", "什么时候到？", ("numbering",)),
        ('{"prompt": "When does it arrive?"}', "When does it arrive?", ("announcement",)),
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


@pytest.mark.parametrize(
    "text",
    ["Wo ist mein Paket?", "Wie geht das?", "Ist das legal?", "Geld zurück!", "Passwort vergessen"],
)
def test_short_german_is_german(text: str) -> None:
    assert problem(text, principle=(), language="de") is None


@pytest.mark.parametrize(
    ("principle", "text", "found"),
    [
        (
            "The answer blames or mocks the customer.",
            "It says: the answer blames or mocks the customer",
            True,
        ),
        (
            "The answer blames or mocks the customer.",
            "Why does the answer mock the customer?",
            False,
        ),
        ("Is it rude?", "Is it rude? My cousin says so.", False),
        ("回答责备或嘲笑了顾客本人。", "请判断：回答责备或嘲笑了顾客本人。", True),
        ("回答责备或嘲笑了顾客本人。", "客服嘲笑了我，怎么办？", False),
    ],
)
def test_the_whole_of_a_short_principle_is_a_copy(principle: str, text: str, found: bool) -> None:
    assert (problem(text, principle=[principle], language=None) == "copied") is found
