"""A constitution's examples as unit tests: do a critic and a judge see what their author saw?

Examples of rules are checked by the program that checks the rule; no model is asked about them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cai.assessment import assess
from cai.checks.asking import ask_all
from cai.config import Role, Settings, settings_of
from cai.constitution.records import Case, Constitution, Principle
from cai.constitution.rules import broken
from cai.engines.base import Engine
from cai.errors import CaiError
from cai.feedback import judge
from cai.method import Method, load_method
from cai.records import Comparison, Prompt, Record, digest, user
from cai.revision import verdict_of
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.progress import Progress

_ROUNDING = 1e-9  # a critic that picks by place alone has p_change 0.5 but for the last bits


class CriticExample(Record):
    """Whether the critic's verdict on an example is its author's: p_change on the right side."""

    principle: str
    example: int
    expected: str
    p_change: float | None
    error: str | None = None

    @property
    def passed(self) -> bool:
        if self.p_change is None:
            return False
        lean = self.p_change - 0.5
        return (lean if self.expected == "violates" else -lean) > _ROUNDING


class AssessmentExample(Record):
    """Whether the critic's assessment of an example, without a critique, is its author's."""

    principle: str
    example: int
    expected: str
    p_violates: float | None
    consistent: bool | None
    error: str | None = None

    @property
    def passed(self) -> bool:
        if self.p_violates is None or not self.consistent:
            return False
        return (self.p_violates > 0.5) == (self.expected == "violates")


class JudgeExample(Record):
    """Whether the judge prefers an example's revision to its response, in both orders."""

    principle: str
    example: int
    p_revision: float | None
    consistent: bool | None
    error: str | None = None

    @property
    def passed(self) -> bool:
        return bool(self.consistent) and self.p_revision is not None and self.p_revision > 0.5


class RuleExample(Record):
    """Whether the check of a rule finds something in an example exactly where it should."""

    principle: str
    example: int
    expected: str
    finding: str | None

    @property
    def passed(self) -> bool:
        return (self.finding is not None) == (self.expected == "violates")


Example = CriticExample | AssessmentExample | JudgeExample | RuleExample


class ExampleReport(Record):
    """The tests of a constitution, in the order of its principles."""

    constitution: str
    digest: str
    models: dict[str, str]
    critic: tuple[CriticExample, ...] = ()
    assessments: tuple[AssessmentExample, ...] = ()
    judge: tuple[JudgeExample, ...] = ()
    rules: tuple[RuleExample, ...] = ()

    @property
    def tests(self) -> tuple[Example, ...]:
        return (*self.critic, *self.assessments, *self.judge, *self.rules)

    @property
    def passed(self) -> int:
        return sum(test.passed for test in self.tests)

    @property
    def total(self) -> int:
        return len(self.tests)


def check_examples(
    settings: Settings | Mapping[str, Any] | None = None,
    *,
    principles: Sequence[str] = (),
    out: str | Path | None = None,
    retry_failed: bool = False,
    progress: Progress | None = None,
    engine: Engine | Mapping[str, Engine] | None = None,
    **given: Any,
) -> ExampleReport:
    """Run the examples of a constitution's principles against a critic and a judge.

    Args:
        settings: `Settings` or their values.
        principles: Test these principles only; all by default.
        out: The folder of the calls; `outputs/constitution-test/<name>` by default.
        retry_failed: Ask again where a model could not answer.
        progress: Shows how far the job is.
        engine: Models that are there already: one for both roles, or one by role.
        **given: Single settings, which win over `settings`.

    Raises:
        CaiError: Bad settings, an unknown principle, no example, or a model that does not answer.
    """
    method = load_method(settings_of(settings, given))
    constitution = method.constitution
    chosen = _chosen(constitution, principles)
    rules, tests = tuple(_rule_tests(chosen)), _tests(chosen)
    report = ExampleReport(
        constitution=constitution.name, digest=constitution.digest, models={}, rules=rules
    )
    if not tests:
        return report
    folder = Path(out or Path("outputs") / "constitution-test" / constitution.name)
    asked = ask_all(
        method,
        tuple(dict.fromkeys(test.role for _, test in tests)),
        tests,
        partial(_run, method),
        folder=folder,
        phase="testing",
        engine=engine,
        retry_failed=retry_failed,
        progress=progress,
    )
    results = asked.results
    return report.model_copy(
        update={
            "models": {role: engine.identity for role, engine in asked.engines.items()},
            "critic": tuple(r for r in results if isinstance(r, CriticExample)),
            "assessments": tuple(r for r in results if isinstance(r, AssessmentExample)),
            "judge": tuple(r for r in results if isinstance(r, JudgeExample)),
        }
    )


class _Case(NamedTuple):
    way: Literal["critic", "assessment", "judge"]
    principle: Principle
    number: int
    case: Case

    @property
    def role(self) -> Role:
        return "judge" if self.way == "judge" else "critic"

    @property
    def name(self) -> str:
        case = digest([self.case.prompt, self.case.response])[:8]
        return f"{self.way} {self.principle.id} {self.number} {case}"


def _chosen(constitution: Constitution, principles: Sequence[str]) -> list[Principle]:
    """The principles with these ids; all where none is named. At least one has examples."""
    unknown = set(principles) - {p.id for p in constitution.principles}
    if unknown:
        raise CaiError(
            f"{min(unknown)}: no principle of {constitution.name} has this id",
            f"The ids are: {', '.join(p.id for p in constitution.principles)}.",
        )
    chosen = [p for p in constitution.principles if not principles or p.id in principles]
    if not any(_tests([p]) or any(_rule_tests([p])) for p in chosen):
        raise CaiError(
            f"{constitution.name}: no principle has examples to test",
            "Give principles `examples` with a prompt, a response and a verdict.",
        )
    return chosen


def _rule_tests(principles: Sequence[Principle]) -> Iterator[RuleExample]:
    for principle in principles:
        if principle.check is not None:
            for number, case in enumerate(principle.examples, 1):
                yield RuleExample(
                    principle=principle.id,
                    example=number,
                    expected=case.verdict,
                    finding=broken(principle, case.response),
                )


def _tests(principles: Sequence[Principle]) -> list[tuple[str, _Case]]:
    """What models are to be asked, each with a name of its own."""
    tests: list[_Case] = []
    for principle in principles:
        if principle.check is not None:
            continue
        for number, case in enumerate(principle.examples, 1):
            if principle.revises:
                tests.append(_Case("critic", principle, number, case))
            if principle.assessable:
                tests.append(_Case("assessment", principle, number, case))
            if principle.compare is not None and case.revision is not None:
                tests.append(_Case("judge", principle, number, case))
    return [(test.name, test) for test in tests]


async def _run(method: Method, test: _Case, calls: RowCalls) -> Example:
    if test.way == "critic":
        return await _critic_test(test, method, calls)
    if test.way == "assessment":
        return await _assessment_test(test, method, calls)
    return await _judge_test(test, method, calls)


async def _assessment_test(test: _Case, method: Method, calls: RowCalls) -> AssessmentExample:
    case, outcome = test.case, dict[str, Any](p_violates=None, consistent=None)
    try:
        (found,) = await assess(_prompt(test), case.response, [test.principle], method, calls)
        outcome |= {"p_violates": found.p_violates, "consistent": found.consistent}
    except Rejected as reason:
        outcome["error"] = f"{reason.error}: {reason.message}"
    return AssessmentExample(
        principle=test.principle.id, example=test.number, expected=case.verdict, **outcome
    )


def _prompt(test: _Case) -> Prompt:
    return Prompt(id=test.name, messages=(user(test.case.prompt),), kind="red-team")


async def _critic_test(test: _Case, method: Method, calls: RowCalls) -> CriticExample:
    case, outcome = test.case, dict[str, Any](p_change=None)
    try:
        verdict = await verdict_of(test.principle, _prompt(test), case.response, method, calls)
        outcome["p_change"] = verdict.p_change
    except Rejected as reason:
        outcome["error"] = f"{reason.error}: {reason.message}"
    return CriticExample(
        principle=test.principle.id, example=test.number, expected=case.verdict, **outcome
    )


async def _judge_test(test: _Case, method: Method, calls: RowCalls) -> JudgeExample:
    case, outcome = test.case, dict[str, Any](p_revision=None, consistent=None)
    comparison = Comparison(
        prompt=_prompt(test),
        response_a=case.response,
        response_b=case.revision or "",
    )
    try:
        label = await judge(comparison, [test.principle], method, calls)
        outcome |= {"p_revision": label.swap().p_a, "consistent": label.consistent}
    except Rejected as reason:
        outcome["error"] = f"{reason.error}: {reason.message}"
    return JudgeExample(principle=test.principle.id, example=test.number, **outcome)
