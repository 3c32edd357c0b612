"""One self-contained HTML file of a run, of two runs, of a training, or of an evaluation."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from cai.errors import CaiError
from cai.evaluate.scorecard import EVALUATION
from cai.files import JOURNAL, replacing
from cai.report.assets import environment
from cai.report.blocks import LIMIT, element, encoded, packed, unpacked
from cai.report.compare import compare_content
from cai.report.content import Content
from cai.report.evaluation import evaluation_content
from cai.report.finished import run_content
from cai.report.training import TRAINING, training_content
from cai.report.unfinished import unfinished_content

PAGE = "report.html"
_BLOCKS = "<!--blocks-->"


def write_report(
    run_folder: str | Path,
    *,
    other: str | Path | None = None,
    out: str | Path | None = None,
    chains: bool = True,
    limit: int = LIMIT,
) -> Path:
    """Write the page of a folder and return where it is.

    Args:
        run_folder: A run, finished or not, a training, or an evaluation.
        other: A later run: the page then shows what is different in it.
        out: The file; `report.html` in the folder by default, of two runs `report-<other>.html`.
        chains: Whether first answers, critiques and all else that is not published are in it.
        limit: Bytes that the rows may take; a sample of them is written where they take more.

    Raises:
        CaiError: The folder is neither, a file in it is damaged, or the page cannot be written.
    """
    folder = Path(run_folder)
    path = Path(out) if out is not None else folder / _name(other)
    content = _content(folder, Path(other) if other is not None else None, chains)
    try:
        # The rows come first: what counts them stands above them.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as rows:
            said = content.write_rows(rows, limit)
            with replacing(path) as file:
                _write(file, content, said, rows)
    except OSError as error:
        raise CaiError(
            f"{path}: {error.strerror or error}", "Choose another file with --out."
        ) from None
    return path


def shows_chains(page: Path) -> bool:
    """Whether a page was written with its chains; also where it does not say so."""
    html = page.read_text(encoding="utf-8", errors="replace")
    _, _, rest = html.partition(element("meta", "").removesuffix("</script>\n"))
    try:
        meta = json.loads(unpacked(rest.partition("<")[0]))
        return bool(meta.get("chains", True))
    except (ValueError, AttributeError):
        return True


def _name(other: str | Path | None) -> str:
    return PAGE if other is None else f"report-{Path(other).resolve().name}.html"


def _content(folder: Path, other: Path | None, chains: bool) -> Content:
    if not folder.is_dir():
        raise CaiError(f"{folder}: no such folder", "Give the folder of cai generate or cai train.")
    if other is not None:
        if not chains:
            raise CaiError("a comparison shows chains", "Leave --no-chains out, or the second run.")
        return compare_content(folder, other)
    if (folder / TRAINING).is_file():
        return training_content(folder)
    if (folder / EVALUATION).is_file():
        return evaluation_content(folder)
    if (folder / "manifest.json").is_file():
        return run_content(folder, chains=chains)
    if (folder / JOURNAL).is_file():
        return unfinished_content(folder, chains=chains)
    raise CaiError(
        f"{folder}: no run, no training and no evaluation",
        "Give the folder of cai generate, cai train or cai evaluate.",
    )


def _write(file: IO[str], content: Content, said: Mapping[str, Any], rows: IO[str]) -> None:
    meta = {**content.meta, **said}
    template = environment().get_template("page.html.jinja")
    html = template.render(**content.values(), meta=meta)
    before, _, after = _plain(html).partition(_BLOCKS)
    file.write(before)
    file.write(element("meta", packed(encoded(meta))))
    rows.seek(0)
    shutil.copyfileobj(rows, file, 1 << 20)
    file.write(after)


def _plain(html: str) -> str:
    """Text that UTF-8 can hold."""
    return html.encode("utf-8", "replace").decode()
