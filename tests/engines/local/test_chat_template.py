"""Templates of ours that do, each in a few lines, what those of well-known families do."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cai.engines.local import chat_template
from cai.engines.local.chat import Chat
from cai.engines.local.template_reader import read_template
from cai.errors import CaiError, CallError
from cai.records import Message, assistant
from tests.engines.conftest import CHATML, tiny_tokenizer, user

SYSTEM = Message(role="system", content="Be brief.")
DAY = date(2026, 3, 7)

CHANNELS = (
    "<|start|>system<|message|>You are a helpful model. Today is {{ strftime_now('%Y-%m-%d') }}."
    "<|end|>{% for m in messages %}{% if m['role'] != 'assistant' %}"
    "<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>"
    "{% else %}{% if m['thinking'] is defined %}"
    "<|start|>assistant<|channel|>analysis<|message|>{{ m['thinking'] }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}"
    "{% if loop.last %}<|return|>{% else %}<|end|>{% endif %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
CHANNEL_TOKENS = ["<|start|>", "<|message|>", "<|end|>", "<|return|>", "<|channel|>"]
# System text stands in the last turn, if that is the user's; else it is lost.
LATE_SYSTEM = (
    "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{% set ns.system = m['content'] + '\n\n' %}"
    "{% elif m['role'] == 'user' %}[INST]{% if loop.last %}{{ ns.system }}{% endif %}"
    "{{ m['content'] }}[/INST]{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
# System text stands in the first turn, if that is the only one.
EARLY_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}"
    "{% if messages|length == 2 %}<|im_start|>system\n{{ m['content'] }}<|im_end|>\n{% endif %}"
    "{% else %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Nothing ends an answer but the next user's turn; thinking is switched off by an empty block.
OPEN_END = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|assistant|>\n<think></think>' }}{% if m['content'].strip() %}"
    "{{ '\n' + m['content'].strip() }}{% endif %}{% else %}"
    "<|{{ m['role'] }}|>\n{{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>"
    "{% if not enable_thinking %}{{ '\n<think></think>' }}{% endif %}{% endif %}"
)
# The generation prompt opens a block of reasoning; what an answer holds of it is cut away.
OPENED = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'].split('</think>')[-1] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
THOUGHT = (
    "{% for m in messages %}<|turn>{{ m['role'] }}\n{% set text = m['content'] %}"
    "{% if m['role'] == 'assistant' and '<channel|>' in text %}"
    "{% set text = text.split('<channel|>')[-1] %}{% endif %}{{ text }}<turn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn>assistant\n{% endif %}"
)
PARTS = (
    "{% for m in messages %}[{{ m['role'] }}] {% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% if part['type'] == 'thinking' %}[THINK]{{ part['thinking'] }}[/THINK]{% endif %}"
    "{% endfor %}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def tokenizer_with(template: Any, tokens: list[str] = [], **more: Any) -> Any:  # noqa: B006
    tokenizer = tiny_tokenizer(template)
    tokenizer.add_special_tokens({"additional_special_tokens": tokens, **more})
    return tokenizer


def ids_of(chat: Chat, text: str) -> list[int]:
    found: list[int] = chat.tokenizer.encode(text, add_special_tokens=False)
    return found


def facts_of(template: str) -> chat_template.TemplateFacts:
    return read_template(tokenizer_with(template, bos_token="<bos>"), template, "m")


def test_a_plain_template_differs_in_nothing_from_the_first_version() -> None:
    facts = facts_of(CHATML)
    assert (facts.lead, facts.tail, facts.folds) == ("", "<|im_end|>\n", ())
    assert (facts.opening, facts.opens, facts.own_system) == ("", False, None)
    assert facts.differences(DAY) == {}


@pytest.mark.parametrize(
    ("template", "lead", "names"),
    [
        (CHANNELS, "<|channel|>final<|message|>", {"date", "lead", "reasoning"}),
        (OPEN_END, "\n", {"lead"}),
        (OPENED, "\n</think>\n\n", set()),  # as the first version took it
        (THOUGHT, "", {"reasoning"}),
        (PARTS, " ", {"lead", "reasoning", "texts"}),
        (LATE_SYSTEM, "", set()),
        (EARLY_SYSTEM, "", {"system"}),
    ],
)
def test_the_lead_of_an_answer_and_what_differs(template: str, lead: str, names: set[str]) -> None:
    facts = facts_of(template)
    assert facts.lead == lead
    assert facts.differences(DAY).keys() == names


@pytest.mark.parametrize(
    ("template", "opening", "closing"),
    [
        (
            CHANNELS,
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
        (OPENED, "<think>", "\n</think>\n\n"),
        (THOUGHT, "<|channel>", "<channel|>"),
        (PARTS, " [THINK]", "[/THINK]"),
    ],
)
def test_the_markers_of_reasoning(template: str, opening: str, closing: str) -> None:
    facts = facts_of(template.replace("'<channel|>' in text", "'<|channel>' in text"))
    assert (facts.opening, facts.closing) == (opening, closing)


def test_a_template_that_leaves_out_what_is_said_is_refused() -> None:
    for template in ("always the same", CHATML.replace("m['content']", "'?'")):
        with pytest.raises(CaiError, match="not understood"):
            facts_of(template)


def test_an_answer_that_does_not_go_on_from_its_prompt_is_refused() -> None:
    with pytest.raises(CaiError, match="generation prompt ends in"):
        facts_of(CHATML.replace("assistant\n{% endif %}", "bot:{% endif %}"))


def test_named_templates_need_a_default() -> None:
    both = {"default": CHATML, "tools": "{{ tools }}"}
    plain = Chat(tiny_tokenizer(CHATML)).encode(user("Why?")).ids
    assert Chat(tokenizer_with(both)).encode(user("Why?")).ids == plain
    with pytest.raises(CaiError, match="none is named default: rag, tools"):
        Chat(tokenizer_with({"rag": CHATML, "tools": CHATML}))


# ---- the date


def test_the_date_is_the_one_that_is_given_whatever_the_clock_says() -> None:
    tokenizer = tokenizer_with(CHANNELS, CHANNEL_TOKENS)
    ids = Chat(tokenizer, day=DAY).encode(user("Why?")).ids
    text = tokenizer.decode(ids)
    assert "Today is 2026-03-07." in text
    assert Chat(tokenizer, day=date(2026, 3, 8)).encode(user("Why?")).ids != ids


def test_without_a_date_it_is_the_day_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cai.engines.local.chat.today", lambda: date(1999, 12, 31))
    tokenizer = tokenizer_with(CHANNELS, CHANNEL_TOKENS)
    assert "1999-12-31" in tokenizer.decode(Chat(tokenizer).encode(user("Why?")).ids)


@pytest.mark.parametrize("form", ["%d %b %Y", "%Y-%m-%d", "%d %B %Y", "%A, %-d.%-m.%y", "%H:%M"])
def test_every_form_of_a_date_is_python_s(form: str) -> None:
    template = "{% if strftime_now is defined %}{{ strftime_now('" + form + "') }}{% endif %}|"
    filled = chat_template.render(tiny_tokenizer(None), template, [{"role": "user"}], DAY)
    assert filled == chat_template.datetime(2026, 3, 7).strftime(form) + "|"


def test_a_system_text_of_the_template_is_known() -> None:
    own = facts_of(CHANNELS).own_system
    assert own is not None
    assert own.startswith("You are a helpful model. Today is")


# ---- what is fed


def test_system_text_stands_where_the_template_puts_it_also_with_an_answer() -> None:
    chat = Chat(tokenizer_with(LATE_SYSTEM, ["[INST]", "[/INST]"], bos_token="<bos>"))
    talk = (SYSTEM, *user("One?"), assistant("Yes."), *user("Two?"))
    asked = chat.encode(talk).ids
    assert chat.tokenizer.decode(asked).endswith("[INST]Be brief.\n\nTwo?[/INST]")
    learnt = chat.learnt(talk, ["No."], "<|im_end|>")[0]
    assert learnt.ids[: learnt.start] == asked
    assert chat.tokenizer.decode(learnt.ids[learnt.start :]) == "No.<|im_end|>"


def test_system_text_that_gets_lost_in_longer_talks_goes_into_the_first_turn() -> None:
    chat = Chat(tokenizer_with(EARLY_SYSTEM))
    short = chat.tokenizer.decode(chat.encode((SYSTEM, *user("One?"))).ids)
    assert short.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    long = chat.encode((SYSTEM, *user("One?"), assistant("Yes."), *user("Two?"))).ids
    assert chat.tokenizer.decode(long).startswith("<|im_start|>user\nBe brief.\n\nOne?<|im_end|>")


def test_a_conversation_that_loses_a_text_is_refused() -> None:
    chat = Chat(tokenizer_with(CHATML.replace("for m in messages", "for m in messages[-2:]")))
    with pytest.raises(CallError, match="leaves out what the user says"):
        chat.encode((*user("One?"), assistant("Yes."), *user("Two?")))


def test_a_text_that_loses_a_part_is_refused() -> None:
    chat = Chat(tokenizer_with(OPENED))  # where the tag is plain text, the template cuts at it
    with pytest.raises(CallError, match="leaves out part of what the user says"):
        chat.encode(user("Why </think> so?"))
    kept = Chat(tokenizer_with(OPENED, ["<think>", "</think>"]))
    assert "Why </think> so?" in kept.tokenizer.decode(kept.encode(user("Why </think> so?")).ids)


def test_labels_are_asked_after_the_lead() -> None:
    chat = Chat(tokenizer_with(CHANNELS, CHANNEL_TOKENS))
    text = chat.tokenizer.decode(chat.encode(user("Why?"), "The answer is (").ids)
    assert text.endswith("<|start|>assistant<|channel|>final<|message|>The answer is (")


def test_texts_go_in_as_parts_where_a_template_takes_no_others() -> None:
    chat = Chat(tokenizer_with(PARTS))
    assert chat.tokenizer.decode(chat.encode((SYSTEM, *user("Why?"))).ids) == (
        "[system] Be brief.<|im_end|>[user] Why?<|im_end|>[assistant]"
    )


# ---- what is learnt


@pytest.mark.parametrize(
    ("template", "tokens", "ends", "end"),
    [
        (CHATML, [], ["<|im_end|>"], "<|im_end|>"),
        (CHATML, [], ["<|endoftext|>"], "<|im_end|>"),  # a base model: what is written ends it
        (CHANNELS, CHANNEL_TOKENS, ["<|return|>", "<|endoftext|>"], "<|return|>"),
        (OPEN_END, ["<|user|>", "<|assistant|>"], ["<|endoftext|>", "<|user|>"], "<|user|>"),
        (OPEN_END, ["<|user|>", "<|assistant|>"], ["<|endoftext|>"], None),
    ],
)
def test_the_token_that_ends_an_answer(
    template: str, tokens: list[str], ends: list[str], end: str | None
) -> None:
    tokenizer = tokenizer_with(template, tokens)
    assert Chat(tokenizer).end_token(tokenizer.convert_tokens_to_ids(ends)) == end


@pytest.mark.parametrize(
    ("template", "tokens", "end", "before"),
    [
        (CHANNELS, CHANNEL_TOKENS, "<|return|>", "<|channel|>final<|message|>"),
        (OPENED, ["<think>", "</think>"], "<|im_end|>", "<think>\n\n</think>\n\n"),
        (OPEN_END, ["<|user|>", "<|assistant|>"], "<|user|>", "<think></think>\n"),
    ],
)
def test_the_answer_and_its_end_are_learnt_and_nothing_else(
    template: str, tokens: list[str], end: str, before: str
) -> None:
    chat = Chat(tokenizer_with(template, tokens))
    learnt = chat.learnt(user("Why?"), ["Because."], end)[0]
    assert chat.tokenizer.decode(learnt.ids[learnt.start :]) == f"Because.{end}"
    assert chat.tokenizer.decode(learnt.ids[: learnt.start]).endswith(before)
    asked = chat.encode(user("Why?")).ids
    assert learnt.ids[: len(asked)] == asked


def test_an_answer_without_a_token_is_refused() -> None:
    chat = Chat(tokenizer_with(OPEN_END, ["<|user|>"]))
    with pytest.raises(CallError, match="nothing of the answer"):
        chat.learnt(user("Why?"), ["  "], "<|user|>")


# ---- what was written


@pytest.mark.parametrize(
    ("written", "text", "reasoning"),
    [
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
            "<|channel|>final<|message|>Yes.<|return|>",
            "Yes.",
            "hm",
        ),
        ("<|channel|>final<|message|>Yes.<|return|>", "Yes.", None),
        ("<|channel|>analysis<|message|>hm, and then", "", "hm, and then"),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary"
            "<|message|>Wait.<|end|><|start|>assistant<|channel|>final<|message|>Yes.",
            "Yes.",
            "hmassistantcommentaryWait.",
        ),
    ],
)
def test_the_answer_is_in_the_final_channel(written: str, text: str, reasoning: str | None) -> None:
    chat = Chat(tokenizer_with(CHANNELS, CHANNEL_TOKENS))
    assert chat.read(ids_of(chat, written)) == (text, reasoning)


def test_an_answer_that_names_the_markers_keeps_them() -> None:
    chat = Chat(tokenizer_with(CHANNELS, CHANNEL_TOKENS))
    head = ids_of(chat, "<|channel|>final<|message|>")
    spelt = [i for c in "Write <|channel|>final<|message|>." for i in ids_of(chat, c)]
    assert chat.read(head + spelt) == ("Write <|channel|>final<|message|>.", None)


@pytest.mark.parametrize(
    ("template", "tokens", "written", "text", "reasoning"),
    [
        (OPENED, ["<think>", "</think>"], "hm\n</think>\n\nYes.", "Yes.", "hm"),
        (OPENED, [], "hm\n</think>\n\nYes.", "Yes.", "hm"),
        (OPENED, ["<think>", "</think>"], "hm, cut", "", "hm, cut"),
        (THOUGHT, ["<|channel>", "<channel|>"], "<|channel>thought\nhm<channel|>Yes.", "Yes.",
         "thought\nhm"),
        (THOUGHT, ["<|channel>", "<channel|>"], "Yes.", "Yes.", None),
        (PARTS, ["[THINK]", "[/THINK]"], "[THINK]hm[/THINK]Yes.", "Yes.", "hm"),
        (OPEN_END, ["<think>", "</think>"], "\nYes.", "Yes.", None),
        (CHATML, [], "A tag such as <think> opens it.", "A tag such as <think> opens it.", None),
        (CHATML, [], "x <reasoning>y</reasoning> z", "x <reasoning>y</reasoning> z", None),
        (CHATML, ["<think>", "</think>"], "<think>hm</think>Yes.", "Yes.", "hm"),
        (CHATML, [], " Yes.", " Yes.", None),
    ],
)  # fmt: skip
def test_reasoning_is_told_from_the_answer(
    template: str, tokens: list[str], written: str, text: str, reasoning: str | None
) -> None:
    chat = Chat(tokenizer_with(template, tokens))
    assert chat.read(ids_of(chat, written)) == (text, reasoning)
