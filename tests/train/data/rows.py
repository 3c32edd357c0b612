"""Rows to train on, and an encoder of words to count them by."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cai.engines.local.chat import Chat
from cai.train.config import resolve_training
from cai.train.data.load import TrainData, load_rows
from cai.train.encoding import Encoder

Load = Callable[..., TrainData]
MAIN = [{"prompt": f"m{n}", "completion": "a"} for n in range(10)]


def turns(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def pair(n: int, p: float = 0.8, **more: Any) -> dict[str, Any]:
    return {
        "id": f"row-{n}",
        "prompt": turns("user", f"Question {n}?"),
        "chosen": turns("assistant", f"Good answer {n}."),
        "rejected": turns("assistant", f"Bad answer {n}."),
        "chosen_probability": p,
        "pair_source": "sampled",
        **more,
    }


def demonstration(n: int, **more: Any) -> dict[str, Any]:
    answer = {"completion": turns("assistant", f"Answer {n}.")}
    return {"id": f"row-{n}", "prompt": turns("user", f"Question {n}?"), **answer, **more}


def write(folder: Path, name: str, **splits: list[dict[str, Any]]) -> str:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / name / f"{split}.parquet")
    return str(folder)


# A turn is its role, its words and `<end>`; the answer's role is asked.
WORDS = (
    "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' <end> ' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)


_known: dict[str, int] = {}  # words of all tests, so that an id is always the same word


def words(template: str = WORDS) -> Encoder:
    """An encoder of words, to count by; it knows those of the files in the working folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    texts = " ".join(path.read_text(errors="ignore") for path in Path().glob("*.jsonl"))
    roles = ("user", "assistant", "system")
    found = ["?", "<end>", *roles, "q", "a", *re.findall(r"[\w:.!,]+", texts)]
    for word in found:
        _known.setdefault(word, len(_known))
    core = Tokenizer(models.WordLevel(dict(_known), unk_token="?"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="?", eos_token="<end>", chat_template=template
    )
    return Encoder(Chat(tokenizer), "<end>")


def counted(
    rows: list[dict[str, Any]], template: str = WORDS, method: Any = "sft", **given: Any
) -> TrainData:
    """The rows of a file, by words, in the working folder."""
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = resolve_training(method, {"data": "rows.jsonl", "max_too_long": 1.0, **given})
    return load_rows(settings, words(template), Path("cache"))


def spoken(ids: list[int]) -> str:
    names = {index: word for word, index in _known.items()}
    return " ".join(names[i] for i in ids)


def learnt(row: dict[str, Any]) -> str:
    """The words of a row of demonstrations that are learnt."""
    pairs = zip(row["input_ids"], row["completion_mask"], strict=True)
    return spoken([token for token, mask in pairs if mask])


def asked(row: dict[str, Any]) -> str:
    """The words of a row's prompt."""
    if "prompt_ids" in row:
        return spoken(row["prompt_ids"])
    return spoken(row["input_ids"][: row["completion_mask"].index(1)])


def prompts(found: TrainData) -> list[str]:
    """The last user's words of each row."""
    return [asked(row).split(" user ")[-1].removeprefix("user ").removesuffix(" <end> assistant")
            for row in found.train]  # fmt: skip


def helpful(count: int, name: str = "helpful.jsonl", start: int = 0) -> str:
    rows = [{"prompt": f"h{n}", "completion": "gladly"} for n in range(start, start + count)]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name
