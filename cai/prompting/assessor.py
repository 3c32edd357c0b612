"""Which principles prompts call for, said by an assessor: a yes or no each, in both orders.

The assessor reads the conversation as quoted text, the principle last: what the questions about a
prompt share is read once. Rules are about the form of an answer, and nobody is asked about them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from cai import templates
from cai.checks.asking import ask_all
from cai.checks.critic_results import critic_key, critic_usable
from cai.config import Settings
from cai.constitution.records import Constitution, Principle
from cai.engines.base import Engine
from cai.engines.labels import DEFAULT, Labels
from cai.engines.naming import display_name
from cai.errors import CaiError
from cai.method import Method
from cai.prompting.words import worded
from cai.quoting import conversation, fence
from cai.records import Prompt, user
from cai.roles import expect, make_engines, on_its_day
from cai.runtime import servers
from cai.runtime.calls import Rejected, RowCalls
from cai.runtime.folder import has_journal, reading
from cai.runtime.progress import Progress
from cai.templates import COVERAGE, Templates

T = TypeVar("T")
R = TypeVar("R")
_CHARACTERS = 4  # of a token, about


class Opinion(NamedTuple):
    """What the assessor says of a prompt, by the ids of the principles it was asked about.

    Attributes:
        met: Those that the prompt calls for, by both orders of the options.
        unsure: Those of which the orders disagree.
        error: Why there is no opinion.
    """

    met: frozenset[str] = frozenset()
    unsure: frozenset[str] = frozenset()
    error: str | None = None


class Critic(NamedTuple):
    """The model that is to assess, and by which method."""

    name: str
    engine: Engine
    method: Method

    @property
    def told(self) -> str:
        """What is said of one that was not found usable."""
        return f"the critic {self.name} was not found usable (cai check critic)"

    def ask(
        self,
        items: Sequence[tuple[str, T]],
        one: Callable[[T, RowCalls], Awaitable[R]],
        *,
        folder: Path,
        progress: Progress,
        retry_failed: bool,
    ) -> list[R]:
        """The result of `one` for each item (an id and a value); its calls are kept.

        Raises:
            CaiError: The folder is in use, or the critic does not answer.
        """
        return ask_all(
            self.method,
            ("critic",),
            items,
            one,
            folder=folder,
            phase="assessing",
            engine=self.engine,
            retry_failed=retry_failed,
            progress=progress,
        ).results


def critic_of(
    settings: Settings, constitution: Constitution, folder: Path, engine: Engine | None = None
) -> Critic:
    """The critic that settings name, on the day of the folder of its calls.

    Raises:
        CaiError: There is no such model.
    """
    override = Path(settings.templates) if settings.templates else None
    dated = on_its_day(settings, folder)
    method = Method(constitution, templates.load(override), dated)
    critic = make_engines(dated, engine)["critic"]
    return Critic(display_name(settings.model_of("critic")), critic, method)


def found_usable(critic: Critic, folder: Path, progress: Progress) -> bool:
    """Whether the last check of a critic found its assessments usable.

    The check is kept under the critic's identity, which of a server only asking tells.

    Raises:
        CaiError: A server does not answer, or what is stored of the check is damaged.
    """
    engines = {"critic": critic.engine}
    expect(engines, critic.method)
    if has_journal(folder):
        with reading(folder, "") as journal:
            servers.recall(engines, [journal])
    identity = servers.settle(engines, progress.warn, lambda _: False)["critic"]
    return bool(critic_usable(critic_key("assessment", critic.method, identity)))


def asked_about(constitution: Constitution, prompt: Prompt) -> list[Principle]:
    """The principles in words that apply to a prompt."""
    return [p for p in constitution.principles if p.check is None and p.applies(prompt)]


def opinions(
    prompts: Sequence[Prompt],
    critic: Critic,
    *,
    folder: Path,
    progress: Progress,
    retry_failed: bool = False,
) -> list[Opinion]:
    """What a critic says of each prompt; its calls are kept, and none is made twice.

    Raises:
        CaiError: The folder is in use, or the critic does not answer.
    """
    method, words = critic.method, _words(critic.method.settings)

    async def one(prompt: Prompt, calls: RowCalls) -> Opinion:
        principles = asked_about(method.constitution, prompt)
        if not principles:
            return Opinion()
        labels = await calls.labels("assess")
        asked = [q for p in principles for q in _questions(p, words, labels)]
        read, least = [user(_read(prompt, words))], method.settings.min_label_mass
        try:
            scores = await calls.choose("assess", read, asked, labels, least=least)
        except Rejected as reason:
            return Opinion(error=f"{reason.error}: {reason.message}")
        yes = [score.probabilities[0] > 0.5 for score in scores]
        pairs = list(zip(principles, yes[::2], yes[1::2], strict=True))
        return Opinion(
            frozenset(p.id for p, first, swapped in pairs if first and not swapped),
            frozenset(p.id for p, first, swapped in pairs if first == swapped),
        )

    items = [(prompt.id, prompt) for prompt in prompts]
    found = critic.ask(items, one, folder=folder, progress=progress, retry_failed=retry_failed)
    if found and all(opinion.error is not None for opinion in found):
        message = f"the critic {critic.name} says nothing of any prompt ({found[0].error})"
        raise CaiError(message, "Choose another --critic, or try again with --retry-failed.")
    return found


def takes(
    prompts: Sequence[Prompt], constitution: Constitution, settings: Settings
) -> tuple[int, int]:
    """The calls that opinions of all prompts take, and about how many tokens are read."""
    words = _words(settings)
    sizes = {
        p.id: [len(q) for q in _questions(p, words, DEFAULT)]
        for p in constitution.principles
        if p.check is None
    }
    calls = characters = 0
    for prompt in prompts:
        read = len(_read(prompt, words))
        for principle in asked_about(constitution, prompt):
            calls += len(sizes[principle.id])
            characters += sum(read + size for size in sizes[principle.id])
    return calls, characters // _CHARACTERS


def _words(settings: Settings) -> Templates:
    override = Path(settings.templates) if settings.templates else None
    return templates.load(override, ("quote", *COVERAGE))


def _read(prompt: Prompt, words: Templates) -> str:
    """What stands before the principle: the conversation, quoted."""
    texts = [message.content for message in prompt.messages]
    mark = fence(texts[-1:], texts[:-1])
    quotation = conversation(words, prompt.messages, mark)
    return words.render("coverage", conversation=quotation, mark=mark)


def _questions(principle: Principle, words: Templates, labels: Labels) -> tuple[str, str]:
    """The question with "it calls for it" as the first option, and with the options swapped."""
    first, swapped = words.both_orders(
        "coverage_question",
        (words.render("called_for"), words.render("not_called_for")),
        labels.names,
        principle=worded(principle),
        why=principle.why,
    )
    return f"\n\n{first}", f"\n\n{swapped}"
