"""A run or a model to the Hub, as one commit."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cai.errors import CaiError
from cai.personal import is_region
from cai.publish.content import Choice, Content, Report, RepoType, content_of
from cai.publish.export_record import DRY_RUN, note_copy
from cai.publish.findings import KEY, Finding, findings, harmful_rejected
from cai.publish.history import Push, note, now
from cai.publish.refusals import refusals
from cai.publish.repository import Repository, Tell

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
_SHOWN = 10  # findings that are told one by one


class Order(NamedTuple):
    """How a push goes.

    Attributes:
        public: Whether a new repository is public; None: private.
        revision: The branch.
        tag: A name for the commit.
        message: The commit's.
        yes: Send to a public repository what may do harm.
        allow_personal: Send personal data that was found.
        region: A country (`DE`) whose phone numbers are looked for in national form too.
    """

    public: bool | None = None
    revision: str = "main"
    tag: str | None = None
    message: str | None = None
    yes: bool = False
    allow_personal: bool = False
    region: str | None = None


class Pushed(NamedTuple):
    """What came of a push.

    Attributes:
        commit: The commit that holds the content.
        url: Where it can be seen.
        sent: The files that were sent; none, where all were there already.
        removed: Files of an earlier push that are not in this one.
        public: Whether everybody can read it.
    """

    commit: str
    url: str
    sent: tuple[str, ...]
    removed: tuple[str, ...]
    public: bool


def push(
    source: str | Path,
    choice: Choice,
    order: Order | None = None,
    *,
    report: Report | None = None,
    tell: Tell = lambda words: None,
) -> Pushed:
    """Send a run or a trained model as one commit; the same content again makes none.

    Args:
        source: The folder of the run, or of the training.
        choice: What is sent, and where to.
        order: How.
        report: Writes the page of a run without its chains.
        tell: Takes what happens, in words.

    Raises:
        CaiError: There is something in it that must not go or wants a yes, or the Hub refuses.
    """
    order, source = order or Order(), Path(source)
    _check_names(choice)
    with tempfile.TemporaryDirectory(prefix="cai-push-") as folder:
        content = content_of(source, Path(folder), choice, report)
        check(content, order, tell)
        with refusals(choice.repo):
            pushed = _send(content, choice, order, tell)
        record = Push(
            time=now(),
            repo=choice.repo,
            type=content.type,
            revision=order.revision,
            commit=pushed.commit,
            digest=content.digest,
            include=choice.include,
            without=tuple(sorted(content.left_out)),
            tag=order.tag,
        )
    note(source, record)
    return pushed


def dry_run(
    source: str | Path,
    choice: Choice,
    folder: Path,
    order: Order | None = None,
    *,
    report: Report | None = None,
    tell: Tell = lambda words: None,
) -> Content:
    """Write what would be sent into a folder, and send nothing.

    Raises:
        CaiError: The folder is not empty, or there is something in it that must not go.
    """
    _check_names(choice)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CaiError(f"{folder}: not an empty folder", "Choose another --dry-run folder.")
    with tempfile.TemporaryDirectory(prefix="cai-push-") as place:
        content = content_of(Path(source), Path(place), choice, report)
        check(content, order or Order(), tell)
        if content.type == "dataset" and not note_copy(Path(source), folder, DRY_RUN):
            tell(f"{source} cannot be written to: cai forget will not find {folder}")
        shutil.copytree(place, folder, dirs_exist_ok=True)
    return content._replace(folder=folder)


def _check_names(choice: Choice) -> None:
    if not _REPO.fullmatch(choice.repo):
        raise CaiError(f"{choice.repo}: not the name of a repository", "Write owner/name.")
    if choice.licence is not None and not _LICENCE.fullmatch(choice.licence):
        raise CaiError(
            f"{choice.licence}: not the name of a licence",
            "Write the Hub's name of it, as mit, apache-2.0, cc-by-4.0 or other.",
        )


def check(content: Content, order: Order, tell: Tell) -> None:
    """Look for keys and personal data before anything is sent.

    Raises:
        CaiError: A key is in it, or personal data that nobody has allowed.
    """
    if order.region is not None and not is_region(order.region):
        raise CaiError(f"{order.region}: no country that is known", "Write its code: DE, US, JP.")
    all_findings = list(findings(content, order.region))
    keys = [finding for finding in all_findings if finding.kind == KEY]
    if keys:
        _tell_findings(keys, tell)
        raise CaiError(
            f"{len(keys)} places hold what looks like a key or token: nothing was sent",
            _without(keys) or "Take it out of the file; then change the key where it is used.",
        )
    if all_findings:
        _tell_findings(all_findings, tell)
        if not order.allow_personal:
            raise CaiError(
                f"{len(all_findings)} places hold personal data: nothing was sent",
                f"{_without(all_findings)} Or send them: --allow-personal.".strip(),
            )


def _tell_findings(all_findings: Sequence[Finding], tell: Tell) -> None:
    for finding in all_findings[:_SHOWN]:
        tell(finding.words)
    if len(all_findings) > _SHOWN:
        tell(f"… {len(all_findings) - _SHOWN:,} more")


def _without(all_findings: Sequence[Finding]) -> str:
    """The options that leave out the rows of findings."""
    prompts = list(dict.fromkeys(f.prompt for f in all_findings if f.prompt is not None))
    if not prompts:
        return ""
    options = " ".join(f"--without {name}" for name in prompts[:_SHOWN])
    more = f" (and {len(prompts) - _SHOWN:,} more)" if len(prompts) > _SHOWN else ""
    return f"Leave their rows out: {options}{more}."


def _send(content: Content, choice: Choice, order: Order, tell: Tell) -> Pushed:
    repository = Repository(choice.repo, content.type, order.revision, tell)
    _check_token(choice.repo)
    public = _visibility(repository, content, order)
    parent = repository.head()
    difference = repository.difference(content, repository.tree(parent))
    commit = parent
    if difference:
        message = order.message or _message(content.type)
        commit = repository.commit(content, difference, parent, message)
    if order.tag is not None:
        repository.tag(order.tag, commit)
    kind = "datasets/" if content.type == "dataset" else ""
    url = f"{repository.api.endpoint}/{kind}{choice.repo}/tree/{commit}"
    return Pushed(commit, url, difference.sent, difference.removed, public)


def _check_token(repo: str) -> None:
    from huggingface_hub import get_token

    if get_token() is None:
        raise CaiError(
            f"{repo}: no token of the Hub",
            "Sign in with `hf auth login`, or set HF_TOKEN to a token that may write.",
        )


def _visibility(repository: Repository, content: Content, order: Order) -> bool:
    """Make the repository if it is not there; whether it is public.

    Raises:
        CaiError: It is public and wants a yes, or is the opposite of what was asked for.
    """
    existing = repository.is_public()
    public = bool(order.public) if existing is None else existing
    if existing is not None and order.public not in (None, existing):
        is_, flag = ("public", "--private") if existing else ("private", "--public")
        raise CaiError(
            f"{repository.name}: the repository is {is_}, and {flag} is for new ones",
            f"Leave {flag} out, or change its visibility in its settings on the Hub.",
        )
    if public and not order.yes:
        _refuse_harm(repository.name, content)
    if existing is None:
        repository.create(public=public)
    return public


def _refuse_harm(repo: str, content: Content) -> None:
    risky, total = harmful_rejected(content)
    extras = [name for name in content.files if name.startswith(("traces/", "calls", "failures"))]
    if not risky and not extras:
        return
    parts = []
    if risky:
        parts.append(
            f"{risky:,} of {total:,} preferences come from prompts that may ask for harm, and "
            "their rejected texts are mostly first answers, which may give it"
        )
    if extras:
        parts.append(f"{', '.join(extras)} hold first answers and all that was left out")
    raise CaiError(
        f"{repo} is public: {'; '.join(parts)}",
        "Send them all the same: --yes. Or keep the repository private.",
    )


def _message(kind: RepoType) -> str:
    return "Data made with cai" if kind == "dataset" else "Model trained with cai"
