"""Several processes train as one does, through the command line and to a model that loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from cai.engines.local.architecture import load_whole
from cai.train.callbacks import read_metrics
from cai.train.config import resolve_training
from cai.train.record import read_record
from cai.train.run import train
from tests.engines.conftest import TEXTS
from tests.train import failing, sharded_driver
from tests.train.families import save_family

ROOT = Path(__file__).parents[2]
WORDS = TEXTS[0].split()


def launch(*command: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """A command in two processes that speak over gloo, on the CPU."""
    torchrun = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *torchrun, *command],
        env=environment,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_family("llama", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 rows for each method, a batch and a bit, with answers of 1 to 60 words."""
    folder = tmp_path_factory.mktemp("rows")
    lines: dict[str, list[dict[str, Any]]] = {"sft": [], "dpo": []}
    for n in range(13):
        prompt, answer = f"Question {n}, please?", " ".join(WORDS * 5)[: 4 + 16 * (n * 7 % 13)]
        lines["sft"].append({"prompt": prompt, "completion": answer})
        label = 0.55 + n / 40
        pair = {"chosen": answer, "rejected": "No.", "chosen_probability": label}
        lines["dpo"].append({"prompt": prompt, **pair})
    for name, rows in lines.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


OF_PAIRS: dict[int | None, dict[str, Any]] = {
    4: {"loss": "soft", "precompute_reference": True},
    None: {"loss": "geometric", "nll_weight": 0.5, "precompute_reference": False},
}


def given(method: str, lora: int | None, base: Path, data: Path, out: Path) -> dict[str, Any]:
    return {
        "data": str(data / f"{method}.jsonl"),
        "model": str(base),
        "out": str(out),
        "lora": lora,
        "batch_size": 8,
        "micro_batch_size": 2,
        "epochs": 2,
        "save_every": 1,
        "learning_rate": 1e-3,
        "max_length": 256,
        "device": "cpu",
    } | (OF_PAIRS[lora] if method == "dpo" else {})


def words(method: str, options: dict[str, Any]) -> list[str]:
    """The settings as arguments of the command line."""
    flags = ["--model", options["model"], "--out", options["out"]]
    for key, value in options.items():
        if key not in ("data", "model", "out"):
            flags += ["--set", f"{key}={'null' if value is None else value}"]
    return ["train", method, options["data"], *flags]


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_metrics(folder / "metrics.jsonl") if "loss" in line]


def weights(folder: Path) -> torch.Tensor:
    found = load_file(folder / "model.safetensors")
    return torch.cat([found[name].flatten() for name in sorted(found)])


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("lora", [4, None])
def test_two_processes_train_as_one(
    method: Any, lora: int | None, base: Path, data: Path, tmp_path: Path
) -> None:
    """Sums over tokens and pairs are of all processes, though their rows differ in length."""
    options = given(method, lora, base, data, tmp_path / "two")
    if (method, lora) == ("sft", None):  # one of them fails first; then the run is gone on with
        failed = launch(failing.__file__, *words(method, options))
        assert failed.returncode != 0
        assert "Error (process 1 of 2): the second process has failed\nTry again." in failed.stderr
        assert "CaiError" not in failed.stderr
        assert not (tmp_path / "two" / "config.json").exists()
        assert read_record(tmp_path / "two")["state"] == "training"
    resume = ["--resume"] if (tmp_path / "two").exists() else []
    two = launch("-m", "cai.cli", *words(method, options), *resume)
    assert two.returncode == 0, two.stderr
    assert "Traceback" not in two.stderr
    assert two.stdout.count("Model: ") == 1

    options["out"] = str(tmp_path / "one")
    one = train(resolve_training(method, options))
    both = tmp_path / "two"
    assert read_record(both)["state"] == "done"
    assert losses(both) == pytest.approx(losses(one), abs=1e-5)
    assert len(losses(both)) == 4
    learnt = weights(one) - weights(base)
    assert (weights(both) - weights(one)).norm() < 1e-3 * learnt.norm()
    assert not (both / ".data").exists()
    model = load_whole(both, dtype="float32")
    assert torch.isfinite(model(input_ids=torch.tensor([[11, 12, 13]])).logits).all()


def test_a_model_that_is_shared_out_is_saved_whole(base: Path, tmp_path: Path) -> None:
    """What `--launch fsdp2` has at its end: each process holds a part of each weight."""
    done = launch(sharded_driver.__file__, str(base), str(tmp_path))
    assert done.returncode == 0, done.stderr
    full = sharded_driver.moved(load_whole(base, dtype="float32")).state_dict()
    saved = load_file(tmp_path / "full" / "model.safetensors")
    assert saved.keys() == full.keys()
    assert all(torch.equal(saved[name], full[name]) for name in full)
    assert not torch.equal(weights(tmp_path / "full"), weights(base))

    adapted = sharded_driver.moved(sharded_driver.with_adapter(base))
    learnt = {
        n.replace(".default", ""): p for n, p in adapted.named_parameters() if p.requires_grad
    }
    written = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert written.keys() == learnt.keys()
    assert all(torch.equal(written[name], learnt[name]) for name in learnt)
    whole = adapted.merge_and_unload().state_dict()
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    assert all((merged[name] - whole[name]).abs().max() < 1e-6 for name in whole)
