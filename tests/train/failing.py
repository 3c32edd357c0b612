"""`cai train …` in which one process fails after its second step; for a launcher."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from cai.cli import main
from cai.errors import CaiError
from cai.train import run
from cai.train.ranks import rank


class Fails(TrainerCallback):  # type: ignore[misc]
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if rank() == 1 and state.global_step == 2:
            raise CaiError("the second process has failed", "Try again.")


make = run.make_trainer


def failing(*arguments: Any) -> Any:
    trainer = make(*arguments)
    trainer.add_callback(Fails())
    return trainer


if __name__ == "__main__":
    run.make_trainer = failing
    main()
