"""How a dataset is loaded and trained on, and how it is cited."""

from __future__ import annotations

from collections.abc import Sequence

CITATION = """## Citation

```bibtex
@article{bai2022constitutional,
  title = {Constitutional AI: Harmlessness from AI Feedback},
  author = {Bai, Yuntao and Kadavath, Saurav and Kundu, Sandipan and Askell, Amanda and others},
  journal = {arXiv preprint arXiv:2212.08073},
  year = {2022}
}
```"""


def how_to_use(repo: str, configs: Sequence[str]) -> str:
    """How to load the data and train on it, in five lines each."""
    parts = ["## How to use it"]
    if "preferences" in configs:
        parts.append(_python(repo, "preferences", "DPO"))
    elif "sft" in configs:
        parts.append(_python(repo, "sft", "SFT"))
    if repo != ".":
        shell = [f"cai train sft hf:{repo}:sft"] if "sft" in configs else []
        shell += [f"cai train dpo hf:{repo}:preferences"] if "preferences" in configs else []
        if shell:
            parts.append("\n".join(["```bash", *shell, "```"]))
    return "\n\n".join(parts)


def _python(repo: str, config: str, method: str) -> str:
    return f"""```python
from datasets import load_dataset
from trl import {method}Trainer

data = load_dataset("{repo}", "{config}", split="train")
{method}Trainer("HuggingFaceTB/SmolLM2-135M-Instruct", train_dataset=data).train()
```"""
