from __future__ import annotations

import asyncio
import math
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cai.config import resolve
from cai.constitution.records import Constitution, FewShot, Principle
from cai.draws import draw_principles
from cai.engines.scripted import ScriptedOptions
from cai.records import Message, Verdict
from cai.runtime.calls import Rejected
from tests.helpers import MemoryStore, Recorder, chain, constitution, method, principles, prompt

ALWAYS, NEVER = ScriptedOptions(change=1), ScriptedOptions(change=0)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def test_one_round_reads_as_the_method_does() -> None:
    engine, asked, by = Recorder(ALWAYS), prompt(), method()
    made = asyncio.run(chain(asked, by, engine))
    (step,) = made.steps
    rule = by.constitution.principle(step.principle_id)
    respond, critique, revision = engine.sent
    assert respond == asked.messages
    asks = by.request("critique", rule)
    assert critique == (*asked.messages, assistant(made.response), user(asks))
    assert rule.critique is not None
    assert asks.startswith(rule.critique)
    assert step.critique is not None
    wants = user(by.request("revise", rule))
    assert revision == (*critique, assistant(step.critique), wants)
    assert made.final == step.revision != made.response


def test_verdict_is_asked_in_both_orders_and_is_their_mean() -> None:
    engine, by = Recorder(ALWAYS), method()
    made = asyncio.run(chain(prompt(), by, engine))
    ((prefix, (first, second)),) = engine.asked
    needed, fine = "Yes, the answer needs a change.", "No, the answer is fine as it is."
    assert f"(A) {needed}\n(B) {fine}" in first
    assert f"(A) {fine}\n(B) {needed}" in second
    assert prefix[-1] == assistant(made.steps[0].critique or "")
    verdict = made.steps[0].verdict
    assert verdict is not None
    assert verdict.p_change == pytest.approx(0.8)
    assert verdict.order_gap == pytest.approx(0.0)
    assert verdict.label_mass == pytest.approx(0.9)


def test_no_change_needed_keeps_the_text_and_another_principle_looks() -> None:
    engine = Recorder(NEVER)
    made = asyncio.run(chain(prompt(), method(revisions=4), engine))
    assert len(engine.sent) == 5  # the answer and four critiques
    assert made.final == made.response
    assert [s.revision for s in made.steps] == [None] * 4


def test_in_the_first_method_version_no_change_needed_ends_the_loop() -> None:
    engine = Recorder(NEVER)
    made = asyncio.run(chain(prompt(), method(revisions=4, method_version=1), engine))
    assert len(engine.sent) == 2  # the answer and one critique
    assert made.final == made.response
    assert [s.revision for s in made.steps] == [None]


@pytest.mark.parametrize(("version", "revised"), [(1, False), (2, True)])
def test_a_position_bias_gives_a_gap_and_asks_for_a_revision(version: int, revised: bool) -> None:
    class AlwaysA(Recorder):
        def _scores(self, messages, choices):  # type: ignore[no-untyped-def]
            scores = super()._scores(messages, choices)
            return scores.model_copy(update={"logprobs": (math.log(0.9), math.log(0.05))})

    made = asyncio.run(chain(prompt(), method(method_version=version), AlwaysA()))
    verdict = made.steps[0].verdict
    assert verdict is not None
    assert not verdict.consistent
    assert verdict.p_change == pytest.approx(0.5)
    assert verdict.order_gap == pytest.approx(0.85 / 0.95)
    assert (made.steps[0].revision is not None) is revised


@pytest.mark.parametrize(
    ("p_change", "gap", "asks"),
    [(0.9, 0.1, True), (0.36, 0.0, True), (0.35, 0.0, False), (0.3, 0.5, True), (0.1, 0.7, False)],
)
def test_nothing_is_changed_only_where_both_orders_clearly_say_so(
    p_change: float, gap: float, asks: bool
) -> None:
    verdict = Verdict(p_change=p_change, order_gap=gap, label_mass=1)
    assert method().asks_for_change(verdict) is asks


@given(a=st.floats(0.01, 0.99), b=st.floats(0.01, 0.99))
def test_two_orders_agree_exactly_if_each_picks_the_same(a: float, b: float) -> None:
    """Of the first option: p in one order, so that 1 - p is the other order's of the same."""
    assume(abs(a - 0.5) > 1e-9 and abs(b - 0.5) > 1e-9)
    p, gap = (1 + (a - b)) / 2, abs(a + b - 1)
    assert Verdict(p_change=p, order_gap=gap, label_mass=1).consistent is ((a > 0.5) != (b > 0.5))


def test_label_mass_below_the_threshold_is_a_failure() -> None:
    with pytest.raises(Rejected, match=r"less than 0\.95") as caught:
        asyncio.run(chain(prompt(), method(min_label_mass=0.95), Recorder()))
    assert caught.value.stage == "verdict"


def test_preset_bai2022_always_revises_four_times() -> None:
    engine = Recorder(NEVER)
    made = asyncio.run(chain(prompt(), method(preset="bai2022"), engine))
    assert len(made.texts) == 5
    assert not engine.asked
    assert len(engine.sent) == 1 + 4 * 2
    settings = resolve({"preset": "bai2022"})
    assert settings.sft_steps == "all"
    assert settings.few_shot
    assert {settings.sampling(r).temperature for r in ("policy", "critic", "reviser")} == {1.0}  # type: ignore[arg-type]


def test_preset_direct_revises_without_critique() -> None:
    engine = Recorder(NEVER)
    made = asyncio.run(chain(prompt(), method(preset="direct", revisions=1), engine))
    assert made.steps[0].critique is None
    assert made.steps[0].verdict is None
    assert len(engine.sent) == 2
    assert [m.role for m in engine.sent[1]] == ["user", "assistant", "user"]


def test_each_step_criticises_the_last_revision() -> None:
    engine = Recorder(ALWAYS)
    made = asyncio.run(chain(prompt(), method(preset="bai2022"), engine))
    critiques = engine.sent[1::2]
    assert [talk[-2].content for talk in critiques] == list(made.texts[:-1])


def test_few_shot_cases_stand_before_the_prompt_and_after_the_system_text() -> None:
    cases = (
        FewShot(
            principle="p0",
            prompt="Q1",
            response="R1",
            critique="C1",
            verdict="violates",
            revision="V1",
        ),
        FewShot(principle="p1", prompt="Q2", response="R2", critique="C2", verdict="fine"),
    )
    by = method(constitution(2, cases), few_shot=True, verdict=False)
    asked = prompt().with_system("Be brief.")
    engine = Recorder()
    asyncio.run(chain(asked, by, engine))
    assert engine.sent[0] == asked.messages
    critique = engine.sent[1]
    assert critique[0].content == "Be brief."
    assert [m.content for m in critique[1:13:2]][0::3] == ["Q1", "Q2"]
    said = [m.content for m in critique if m.role == "assistant"]
    assert said[:6] == ["R1", "C1", "V1", "R2", "C2", "R2"]  # "fine" repeats the answer
    assert critique[13] == asked.messages[1]


def test_multi_turn_prompts_keep_all_turns() -> None:
    turns = (user("Hello"), assistant("Hi."), user("How do I decline an invitation?"))
    engine = Recorder(ALWAYS)
    made = asyncio.run(chain(prompt(messages=turns), method(), engine))
    assert all(talk[:3] == turns for talk in engine.sent)
    assert made.prompt.messages == turns


@pytest.mark.parametrize(("helpful", "calls"), [("plain", 1), ("revise", 3)])
def test_helpful_prompts(helpful: str, calls: int) -> None:
    engine = Recorder(ALWAYS)
    asyncio.run(chain(prompt(kind="helpful"), method(helpful=helpful), engine))
    assert len(engine.sent) == calls


def test_only_principles_that_apply_are_drawn() -> None:
    rules = Constitution(
        name="x",
        principles=(
            *principles(3, applies_to=("red-team",)),
            Principle(id="tagged", critique="c", revise="r", applies_to=("fraud",)),
            Principle(id="compares", compare="which?"),
        ),
    )
    by = method(rules)
    assert [p.id for p in rules.for_revision(prompt(kind="borderline", tags=("fraud",)))] == [
        "tagged"
    ]
    made = asyncio.run(chain(prompt(kind="borderline"), by, Recorder(ALWAYS)))
    assert made.steps == ()
    assert made.final == made.response


def defective(times: int, text: str) -> Recorder:
    """Gives a defective first answer that many times, then good ones."""
    seen: list[int] = []

    def reply(messages, sampling):  # type: ignore[no-untyped-def]
        seen.append(sampling.seed)
        return text if len(seen) <= times else "A good answer."

    return Recorder(reply=reply)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("and so on " * 30, "loop"),
        ("🙂" * 100, "loop"),
        ("What should I say to my neighbour?", "echo"),
    ],
)
def test_a_defective_answer_is_drawn_once_more_with_another_seed(text: str, reason: str) -> None:
    store = MemoryStore()
    made = asyncio.run(chain(prompt(), method(revisions=0), defective(1, text), store))
    assert made.response == "A good answer."
    assert len(store.values) == 2  # the defective one is kept too
    with pytest.raises(Rejected) as caught:
        asyncio.run(chain(prompt(), method(revisions=0), defective(2, text)))
    assert (caught.value.stage, caught.value.error) == ("respond", reason)


def test_preambles_are_taken_off_revisions_and_noted() -> None:
    def reply(messages, sampling):  # type: ignore[no-untyped-def]
        asked = messages[-1].content
        return 'Here is the revised response:\n\n"Be kind."' if "Rewrite" in asked else "Be rude."

    made = asyncio.run(chain(prompt(), method(), Recorder(ALWAYS, reply)))
    assert made.final == "Be kind."
    assert made.steps[0].removed == ("preamble", "quotes")


@pytest.mark.parametrize("preset", ["default", "direct"])
def test_a_revision_that_copies_the_request_is_no_data(preset: str) -> None:
    def reply(messages, sampling):  # type: ignore[no-untyped-def]
        asked = messages[-1].content
        return asked if asked.startswith("Rewrite") else "It is rude."

    with pytest.raises(Rejected) as caught:
        asyncio.run(chain(prompt(), method(preset=preset), Recorder(ALWAYS, reply)))
    assert (caught.value.stage, caught.value.error) == ("revise", "echo")


def test_draws_follow_the_weights() -> None:
    rules = (
        Principle(id="heavy", critique="c", revise="r", weight=3),
        Principle(id="light", critique="c", revise="r", weight=1),
    )
    drawn = Counter(draw_principles(0, f"prompt {n}", 1, rules)[0].id for n in range(4000))
    assert abs(drawn["heavy"] - 3000) < 4 * math.sqrt(4000 * 0.75 * 0.25)


def test_draws_differ_by_step_and_seed() -> None:
    rules = principles(16)
    drawn = [
        draw_principles(seed, "x", step, rules)[0].id for seed in range(4) for step in range(4)
    ]
    assert len(set(drawn)) > 4


def test_a_new_principle_takes_its_share_and_moves_nothing_else() -> None:
    before, after = principles(16), principles(17)
    moved = []
    for n in range(10_000):
        old, new = (draw_principles(0, f"prompt {n}", 1, rules)[0].id for rules in (before, after))
        if old != new:
            moved.append(new)
    assert set(moved) == {"p16"}
    assert abs(len(moved) - 588) <= 94  # 10,000 / 17, four standard deviations
