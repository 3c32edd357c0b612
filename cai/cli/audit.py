"""`cai audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cai.cli.console import console, plain
from cai.cli.options import folder_of
from cai.errors import CaiError

if TYPE_CHECKING:
    from cai.publish.audit.files import Changes

SHOWN = 10  # files


def audit(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A run folder, the folder of cai train, or hf:owner/name[@revision][:config].",
        ),
    ],
    out: Annotated[Path, folder_of("Folder of the audit.", "none; it has to be given")],
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare the files with the audit in --out; write nothing."),
    ] = False,
) -> None:
    """Each published row is traced to principles, prompt, source, licence and models.

    It comes in Markdown and in JSON, with a line for each row, a bill of materials, the checks,
    gates and findings, and a digest of every file. Texts are not copied.
    """
    from cai.checks.of_run import checks_of_run
    from cai.publish.audit import document as auditing

    if verify:
        _print_changes(auditing.verify(source, out), out)
        return
    written = auditing.audit(source, out, checks_of_run)
    rows = sum(n for part in written.document["parts"] for n in part.get("rows", {}).values())
    files = sum(len(part["files"]) for part in written.document["parts"])
    console.print(plain(f"{rows:,} rows traced, {files:,} files with their digests"))
    console.print(plain(f"Audit: {written.folder}, sha256 {written.digest}"), soft_wrap=True)


def _print_changes(changes: Changes, out: Path) -> None:
    if not changes.any:
        console.print(plain(f"All {changes.files:,} files are as the audit says.", "green"))
        return
    lines = []
    for word, names in (
        ("changed", changes.changed),
        ("gone", changes.missing),
        ("new", changes.new),
    ):
        lines += [f"{word}: {name}" for name in names[:SHOWN]]
        lines += [f"{word}: {len(names) - SHOWN:,} more"] if len(names) > SHOWN else []
    raise CaiError(
        f"{out}: {changes.files:,} files are as the audit says, others are not\n"
        + "\n".join(lines),
        "Write the audit again if this is meant: cai audit without --verify.",
    )
