"""Rules that a program checks, in rounds, guided answers, comparisons and datasets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from cai.constitution.records import Check, Constitution, Principle
from cai.dataset.rows import sft_rows, why_dropped, why_not_sft
from cai.engines.scripted import ScriptedOptions
from cai.method import Method
from cai.records import Message, Prompt, Row, Sampling
from cai.row import make_row
from cai.runtime.calls import Rejected
from tests.helpers import MemoryStore, Recorder, chain, live_calls, method, prompt

SHORT = Principle(id="short", check=Check(max_words=5), revise="Say only what matters.")
CALM = Principle(id="calm", check=Check(exclamation_marks=False))
KIND = Principle(id="kind", critique="Say what is unkind.", revise="Be kind.", compare="Kinder?")
ALWAYS = ScriptedOptions(change=1)
LONG = "This answer has many more words than five!"


def rules(*principles: Principle) -> Constitution:
    return Constitution(name="x", principles=principles)


def writer(*texts: str) -> Callable[[Sequence[Message], Sampling], str]:
    """Writes these texts, one after the other, and then the last one."""
    left = list(texts)
    return lambda messages, sampling: left.pop(0) if len(left) > 1 else left[0]


async def row_of(by: Method, engine: Recorder, asked: Prompt) -> Row:
    calls = await live_calls(engine, MemoryStore(), by.settings.seed)
    return await make_row(asked, by, calls.row(asked.id))


def test_all_broken_rules_are_revised_together_and_no_model_looks_for_them() -> None:
    engine = Recorder(ALWAYS, writer(LONG, "Five words are enough here."))
    made = asyncio.run(chain(prompt(), method(rules(SHORT, CALM)), engine))
    (step,) = made.steps
    assert [f.principle_id for f in step.findings] == ["short", "calm"]
    assert (step.critique, step.verdict) == (None, None)
    assert made.final == "Five words are enough here."
    request = engine.sent[1][-1].content
    assert "8 words, at most 5." in request
    assert "exclamation" in request
    assert "Say only what matters." in request
    assert not engine.asked


def test_a_principle_in_words_is_drawn_only_where_no_rule_is_broken() -> None:
    engine = Recorder(ALWAYS, writer(LONG, "Four words are good.", "It is unkind.", "Be nice."))
    made = asyncio.run(chain(prompt(), method(rules(SHORT, KIND), revisions=2), engine))
    assert [s.principle_ids for s in made.steps] == [("short",), ("kind",)]
    assert made.final == "Be nice."


def test_what_the_last_round_breaks_is_revised_once_more() -> None:
    engine = Recorder(ALWAYS, writer("Fine as it is.", "It is unkind.", LONG, "Be nice."))
    made = asyncio.run(chain(prompt(), method(rules(SHORT, KIND)), engine))
    assert [s.principle_id for s in made.steps] == ["kind", "short"]
    assert made.texts == ("Fine as it is.", LONG, "Be nice.")


def test_helpful_prompts_are_revised_for_rules_alone() -> None:
    engine = Recorder(ALWAYS, writer(LONG, "Be nice."))
    made = asyncio.run(chain(prompt(kind="helpful"), method(rules(SHORT, KIND)), engine))
    assert [s.principle_id for s in made.steps] == ["short"]


def test_a_revision_that_breaks_a_rule_is_drawn_twice_more_and_then_fails() -> None:
    long = [f"{LONG} Number {n}, {'really ' * n}." for n in range(9)]
    kept = asyncio.run(
        chain(prompt(), method(rules(SHORT)), Recorder(ALWAYS, writer(*long[:3], "Be nice.")))
    )
    assert kept.final == "Be nice."
    with pytest.raises(Rejected) as caught:
        asyncio.run(chain(prompt(), method(rules(SHORT)), Recorder(ALWAYS, writer(*long))))
    assert (caught.value.stage, caught.value.error) == ("revise", "breaks a rule")
    assert "at most 5." in caught.value.message


class Cutting(Recorder):
    """Cuts every text that has more words than the room."""

    async def generate(self, messages, sampling, caller=None):  # type: ignore[no-untyped-def]
        made = await super().generate(messages, sampling)
        words = made.text.split()
        if len(words) <= sampling.max_tokens:
            return made
        text = " ".join(words[: sampling.max_tokens])
        return made.model_copy(update={"text": text, "finish_reason": "length"})


def test_a_cut_answer_is_drawn_again_with_twice_the_room() -> None:
    by = method(rules(KIND), revisions=0, policy_max_tokens=5)
    engine = Cutting(ALWAYS, writer(LONG))
    assert asyncio.run(chain(prompt(), by, engine)).response == LONG
    first = method(rules(KIND), revisions=0, policy_max_tokens=5, method_version=1)
    with pytest.raises(Rejected, match="cut at the token limit, in both draws"):
        asyncio.run(chain(prompt(), first, Cutting(ALWAYS, writer(LONG))))


def test_a_cut_answer_that_breaks_a_rule_goes_straight_to_its_revision() -> None:
    by = method(rules(SHORT), policy_max_tokens=6)
    engine = Cutting(ALWAYS, writer(LONG, "Be nice."))
    made = asyncio.run(chain(prompt(), by, engine))
    assert made.texts == ("This answer has many more words", "Be nice.")
    assert len(engine.sent) == 2


def test_in_a_comparison_the_answer_that_keeps_a_rule_wins() -> None:
    by = method(rules(SHORT), stages=("preferences",), pairs=("revision",))
    engine = Recorder(ALWAYS, writer(LONG, "Be nice."))
    (pair,) = asyncio.run(row_of(by, engine, prompt())).pairs
    assert pair.label is not None
    assert (pair.label.chosen, pair.label.p_a, pair.label.order_gap) == ("Be nice.", 0.0, 0.0)
    assert [j.method for j in pair.label.judgements] == ["check"]
    assert why_dropped(pair, by) is None
    assert not engine.asked


def test_answers_that_keep_the_same_rules_get_no_label() -> None:
    by = method(rules(SHORT), stages=("preferences",), pairs=("sampled",))
    engine = Recorder(ALWAYS, writer("Be nice.", "Be very nice."))
    (pair,) = asyncio.run(row_of(by, engine, prompt())).pairs
    assert (pair.label, pair.dropped) == (None, "alike by the rules")


def test_a_rule_and_words_are_averaged() -> None:
    by = method(rules(SHORT, KIND), stages=("preferences",), pairs=("sampled",))
    engine = Recorder(ALWAYS, writer("Be nice.", LONG))
    (pair,) = asyncio.run(row_of(by, engine, prompt())).pairs
    assert pair.label is not None
    by_words, by_rule = pair.label.judgements
    assert (by_words.principle_id, by_rule.p_a) == ("kind", 1.0)
    assert pair.label.p_a == pytest.approx((by_words.p_a + 1) / 2)


def test_every_sft_row_keeps_every_rule() -> None:
    by = method(rules(SHORT, KIND), preset="bai2022", stages=("sft",))
    texts = ("One.", "It is rude.", LONG, "Be nice.", "It is rude.", "Be kind.", "It is.", "Be.")
    row = asyncio.run(row_of(by, Recorder(ALWAYS, writer(*texts)), prompt()))
    assert row.chain is not None
    assert LONG in row.chain.texts
    rows = list(sft_rows(row, by))
    assert len(rows) > 1
    assert all(not by.broken(row.prompt, r["completion"][0]["content"]) for r in rows)


def test_a_final_text_that_breaks_a_rule_is_no_row() -> None:
    by = method(rules(SHORT))
    asked = prompt(kind="helpful")
    row = asyncio.run(row_of(by, Recorder(ALWAYS, writer("Be nice.")), asked))
    assert row.chain is not None
    assert why_not_sft(row, by) is None
    broken = row.model_copy(update={"chain": row.chain.model_copy(update={"response": LONG})})
    assert why_not_sft(broken, by) == "breaks a rule"
    assert list(sft_rows(broken, by)) == []


def test_guided_answers_have_the_constitution_in_view_and_rows_have_not() -> None:
    by = method(rules(SHORT, KIND), preset="distil", system="You are a shop.")
    engine = Recorder(ALWAYS, writer(LONG, "Be nice.", "Plain text."))
    asked = prompt(kind="helpful")
    row = asyncio.run(row_of(by, engine, asked))
    head = engine.sent[0][0]
    assert head.role == "system"
    assert "At most 5 words." in head.content
    assert "Be kind." in head.content
    assert head.content.endswith("You are a shop.")
    (made,) = sft_rows(row, by)
    assert made["target"] == "guided"
    assert made["completion"][0]["content"] == "Be nice."  # the first draw broke a rule
    assert [m["content"] for m in made["prompt"]] == ["You are a shop.", asked.last_human_turn]
    (pair,) = row.pairs
    assert (pair.comparison.response_a, pair.comparison.response_b) == ("Plain text.", "Be nice.")


def test_a_second_guided_draw_that_is_unusable_leaves_the_first() -> None:
    by = method(rules(SHORT), preset="distil")
    engine = Recorder(ALWAYS, writer(LONG, "", "", "Be nice."))
    made = asyncio.run(chain(prompt(kind="helpful"), by, engine))
    assert made.texts == (LONG, "Be nice.")


def test_pairs_with_and_without_guidance_need_no_guided_chain() -> None:
    by = method(rules(KIND), revisions=0, pairs=("guided",))
    engine = Recorder(ALWAYS, writer("Plain text.", "Be nice."))
    (pair,) = asyncio.run(row_of(by, engine, prompt())).pairs
    assert (pair.comparison.response_a, pair.comparison.response_b) == ("Plain text.", "Be nice.")
    assert engine.sent[1][0].role == "system"
