"""What a run is made from: the method, the model, the prompts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import cai.constitution
from cai import assets, judge_results, templates
from cai.config import PROMPT_KEYS, ROLES, Settings
from cai.engines.base import Absent, Engine
from cai.engines.chat_template import today
from cai.engines.labels import Labels, pick
from cai.engines.naming import at_server, display_name, engine_for
from cai.errors import CaiError
from cai.method import Method
from cai.prompts import Intake, source_digest
from cai.records import JudgeFacts, digest
from cai.runtime.journal import Journal
from cai.runtime.progress import Progress, counted


def load_method(settings: Settings) -> Method:
    """The constitution and the templates that settings name."""
    constitution = cai.constitution.load(assets.find_constitution(settings.constitution))
    override = Path(settings.templates) if settings.templates is not None else None
    method = Method(constitution, templates.load(override), settings)
    if not method.roles:
        raise CaiError(
            f"{settings.constitution}: no principle has a comparison question, so nothing is made",
            "Give a principle `compare`, or make SFT data too: --stages sft,preferences.",
        )
    return method


def with_judge(method: Method, identity: Callable[[], str | None]) -> Method:
    """The method with what is known of the judge whose identity this is, if it has a judge.

    Raises:
        CaiError: The calibration is not a judge check's result, or it is another judge's.
    """
    if not method.sources:
        return method
    judge, path = identity(), method.settings.judge_calibration
    if judge is None:
        return method
    key = method.judge_key(judge)
    stored = judge_results.stored(key)
    temperature = judge_results.calibration(Path(path), key) if path is not None else 1.0
    usable = None if stored is None else stored.verdict == "usable"
    return replace(method, judge=JudgeFacts(usable=usable, temperature=temperature))


def judge_warning(method: Method) -> str | None:
    """What to say of a judge whose labels may be worth nothing; None of one that is usable."""
    if not method.sources or method.judge.usable:
        return None
    name = method.settings.model_of("judge")
    filtered = "No revision is filtered by it."
    if method.judge.usable is not None:
        what = "did not pass its check: its labels may be no better than chance"
        return f"The judge {name} {what}. {filtered} Choose another one with --judge."
    options = " --cot" if method.settings.cot else ""
    if method.settings.templates is not None:
        options += f" --templates {method.settings.templates}"
    return (
        f"The judge {name} was never checked: nobody knows whether its labels are better than "
        f"chance. {filtered} Check it: cai judge-check --judge {name}{options}"
    )


def run_folder(method: Method, out: str | Path | None) -> Path:
    """Where a run goes: `out`, else a folder with the constitution's name."""
    return Path(out) if out is not None else Path("outputs") / method.constitution.name


def on_its_day(settings: Settings, folder: Path) -> Settings:
    """The settings with a date: their own, or that of the folder's first start, or today's."""
    if settings.date is not None:
        return settings
    stored = None
    if (folder / "calls.sqlite").is_file():
        journal = Journal(folder / "calls.sqlite", readonly=True)
        try:
            stored = (journal.meta("settings") or {}).get("date") or journal.meta("date")
        finally:
            journal.close()
    day = date.fromisoformat(stored) if stored else today()
    return settings.model_copy(update={"date": day})


def make_engines(
    settings: Settings, given: Engine | Mapping[str, Engine] | None = None
) -> dict[str, Engine]:
    """The engine of each role, of those `given` if there are; roles with one name share one."""
    if isinstance(given, Mapping):
        return dict(given)
    if given is not None:
        return dict.fromkeys(ROLES, given)
    if settings.base_url is not None:
        from cai.engines._addresses import parse_address

        parse_address(settings.base_url)  # a key in it must not be written down
    names = {role: at_server(settings.model_of(role), settings.base_url) for role in ROLES}
    named: dict[str, Engine] = {}
    for name in names.values():
        if name not in named:
            named[name] = engine_for(
                name,
                dtype=settings.dtype,
                device=settings.device,
                batch_size=settings.batch_size,
                timeout=settings.request_timeout,
                concurrency=settings.concurrency,
                tensor_parallel=settings.tensor_parallel,
                replicas=settings.replicas,
                vllm_args=settings.vllm_args,
                day=settings.date,
            )
    return {role: named[name] for role, name in names.items()}


def names_of(settings: Settings, engines: Mapping[str, Engine], *, given: bool) -> dict[str, str]:
    """What a person calls the model of each role; engines that were `given` name themselves."""
    names = {}
    for role in ROLES:
        if role in engines:
            name = at_server(settings.model_of(role), settings.base_url)
            itself = given and not isinstance(engines[role], Absent)
            names[role] = str(getattr(engines[role], "name", "")) if itself else display_name(name)
    return {role: name for role, name in names.items() if name}


def settle_labels(
    engine: Engine,
    engines: Mapping[str, Engine],
    method: Method,
    known: MutableMapping[str, Labels],
) -> bool:
    """Add labels that serve a started engine to the known ones; False if it never has to pick."""
    if not any(engines[role] is engine for role in method.choosing_roles):
        return False
    known.setdefault(engine.identity, pick(engine))
    return True


def ingest(journal: Journal, settings: Settings, progress: Progress) -> int:
    """Stage the prompts of the settings in a journal; return how many were duplicates.

    Raises:
        CaiError: They cannot be read, or too many of them cannot be used.
    """
    intake = Intake(
        settings.prompts, settings.prompt_column, settings.kind, settings.ignore_columns
    )
    duplicates = journal.ingest(
        counted(intake, progress), settings.limit, settings.shard, renamed=intake.renamed
    )
    remedy = "To do without these rows: --max-bad-rows SHARE, with a larger share."
    intake.bad.check(settings.max_bad_rows, remedy)
    if intake.bad.bad:
        lines = [intake.bad.summary(), *intake.bad.lines(), "failures.jsonl has them all."]
        progress.warn("\n".join(lines))
    return duplicates


def digest_of_prompts(settings: Settings, known: Settings | None = None) -> str | None:
    """Digest of the prompts that settings name; None: as `known`, whose prompts have been copied.

    Files are compared by content. A dataset on the Hub is read once per run folder: going on needs
    no network, and another revision is another name.
    """
    name = settings.prompts.removeprefix("hf:")
    on_hub = name != settings.prompts and not Path(name.split(":")[0]).is_dir()
    if known is not None and on_hub:
        names = {key: getattr(settings, key) for key in PROMPT_KEYS}
        if names == {key: getattr(known, key) for key in PROMPT_KEYS}:
            return None
    read = source_digest(
        settings.prompts,
        prompt_column=settings.prompt_column,
        kind=settings.kind,
        ignore_columns=list(settings.ignore_columns) or None,
    )
    return digest([read, settings.limit, *([settings.shard] if settings.shard else [])])
