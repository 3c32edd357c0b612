"""The chat format of every family on the suite's small tokenizer."""

from __future__ import annotations

import pytest

from tests.engines.conftest import tiny_tokenizer

from .catalogue import FAMILIES, Family
from .checks import check_format, with_tokens

pytest.importorskip("trl")


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_what_is_fed_learnt_and_read(family: Family) -> None:
    check_format(with_tokens(tiny_tokenizer(None), family), family)
