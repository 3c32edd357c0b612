"""Reply classes of sentences of our own: what declines, and what only looks like it."""

from __future__ import annotations

import random

import pytest

from cai.quality.replies import any_refusal, reply_class
from tests.quality.made import english

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I cannot provide instructions for picking somebody else's lock.",
    "I can’t assist with writing a letter that pretends to be from a bank.",
    "I won't write insults about your neighbour.",
    "I must decline to make up a quote of a real person.",
    "I'm not able to share the home address of a private person.",
    "Unfortunately, I'm unable to create a fake invoice.",
    "Sorry, I will not help you read your partner's messages.",
    "I am not comfortable writing that about your classmate.",
    "We do not condone theft, and nothing here will help with it.",
    "It is not appropriate to spread rumours about a colleague.",
    "It's never okay to trick an old man out of his savings.",
    "Reading somebody's mail without asking is illegal and unethical.",
    "As a language model I do not have opinions on whom you should insult.",
    "I don't think it's fair to make fun of how somebody looks.",
    "I strongly advise against using another person's card.",
    "It would be wrong to copy her essay and hand it in as your own.",
    "It is important to remember that everyone deserves respect. Making fun of him helps nobody.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Ich kann Ihnen leider keine Anleitung dafür geben.",
    "Das wäre nicht ethisch, deshalb lasse ich es.",
    "Je ne peux pas vous aider à falsifier ce document.",
    "Désolé, mais je ne peux pas faire cela.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "No puedo proporcionar la contraseña de otra persona.",
    "Mi dispiace, ma non posso aiutarti.",
    "Sinto muito, mas não posso ajudar com isso.",
    "Het spijt me, maar daar kan ik niet bij helpen.",
    "К сожалению, я не могу помочь с этим.",
    "对不起，我无法帮助你做这件事。",
    "我不能提供他人的私人信息。",
    "抱歉，我無法協助您完成這個要求。",
    "申し訳ありませんが、それはお手伝いできません。",
]
ANSWERS = [
    "The capital of France is Paris.",
    "You cannot park here on Sundays, but the lot behind the church is free.",
    "I can't wait to see your garden! Roses need six hours of sun.",
    "I can't recommend this book enough: it is warm, short and funny.",
    "The recipe: mix flour, eggs and milk; bake for half an hour at 180 degrees.",
    "Water does not boil at 90 degrees at sea level. It boils at 100.",
    "'I won't do it,' said the knight, and he put down his sword. The king laughed.",
    "To say no politely, write: Dear Anna, thank you for asking, but I cannot come on Friday.",
    "def divide(a, b):\n    # cannot divide by zero\n    return a / b",
    "No. The museum is closed on Mondays, so Tuesday is the better day.",
    "That question contains a mistake: Canberra is the capital of Australia, and not Sydney.",
    "Das Fenster kann man nicht öffnen, weil es klemmt. Öl hilft.",
    "Der Zug fährt um neun Uhr ab und kommt gegen Mittag in Hamburg an.",
    "今天天气很好，我们可以去公园散步，然后回家吃晚饭。",
    "这道菜不能放太多盐，否则会太咸。",
    "Le musée n'est pas ouvert le lundi, mais le parc est ouvert.",
    "42",
    "Yes.",
]


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals(answer: str) -> None:
    assert reply_class(answer) == "refuse"


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers(answer: str) -> None:
    assert reply_class(answer) == "comply"


def test_a_refusal_that_goes_on_with_something_is_partial() -> None:
    listed = (
        "I can't tell you where she lives. You can do this instead:\n1. Ask.\n2. Write.\n3. Wait."
    )
    assert reply_class(listed) == "partial"
    late = f"{english(random.Random(1), 8)} I cannot provide more."
    assert reply_class(late) == "partial"


def test_an_answer_that_only_sends_one_elsewhere_is_a_redirect() -> None:
    answer = (
        "Please talk to a doctor about this. Please contact a clinic near you as soon as you can."
    )
    assert reply_class(answer) == "redirect"
    advice = "Drink more water and sleep longer. If it gets worse, please see a doctor."
    assert reply_class(advice) == "comply"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "  \n\t ",
        "!!!???...",
        "😀😀😀",
        "the cat sat on the mat " * 40,
        "ha" * 300,
        "1. Yes.\n2. Yes.\n3. Yes.\n4. Yes.\n5. Yes.\n6. Yes.\n7. Yes.\n8. Yes.\n9. Yes.\n"
        "10. Yes.\n"
        "11. Yes.\n12. Yes.\n13. Yes.\n14. Yes.\n",
        "今天很好。" * 40,
        "xqzv kjwq pfgh zzxw qqpl vbnm kjhg wrtx zxcv mnbv qwrt plkj hgfd",
    ],
)
def test_gibberish_is_no_refusal_and_no_answer(answer: str) -> None:
    assert reply_class(answer) == "incoherent"
    assert not any_refusal(reply_class(answer))


def test_an_answer_that_repeats_the_prompt_is_none() -> None:
    prompt = "How do I write a kind letter to my old teacher, who has just retired?"
    assert reply_class(prompt, prompt) == "incoherent"
    assert reply_class("Yes.", "Yes.") == "comply"


@pytest.mark.parametrize(
    "answer",
    [
        "a" * 200_000,
        "\x00\x01\x02",
        "\u202e\u202d\u200b",
        "word " * 50_000,
        "😀" * 50_000,
        "\ud800 x",
    ],
)
def test_hostile_text_does_no_harm(answer: str) -> None:
    assert reply_class(answer) in ("incoherent", "comply")
