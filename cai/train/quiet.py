"""What libraries write while a model is trained, kept from the terminal."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and notes of libraries: what they say that matters is said in our words."""
    import datasets

    from cai.engines.local.quiet import quiet_libraries

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    with quiet_libraries(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)")
        warnings.filterwarnings("ignore", message=".*pin_memory.*")
        # On a mixture of experts; the pattern is for parameters, and peft looks at modules alone.
        warnings.filterwarnings("ignore", message=r".*(rank|alpha)_pattern keys", module="peft")
        try:
            yield
        finally:
            if shown:
                datasets.enable_progress_bars()
