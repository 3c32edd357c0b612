"""Canonical JSON (RFC 8785): one byte string per value, the same in every language."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

SAFE = 2**53 - 1  # integers above it are not the same number everywhere


def canonical(value: Any) -> bytes:
    """A JSON value in UTF-8: keys in the order of UTF-16, numbers as ECMAScript writes them.

    Raises:
        ValueError: A number that JSON has not got or that is not exact, half of a surrogate pair.
    """
    return _text(value).encode()


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) > SAFE:
            raise ValueError(f"{value}: not exact as a number of JSON")
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(name)}:{_text(value[name])}" for name in names) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    raise ValueError(f"{type(value).__name__}: not a value of JSON")


def _number(value: float) -> str:
    """ECMA-262, Number::toString: the shortest digits, an exponent from 1e21 and below 1e-6."""
    if not math.isfinite(value):
        raise ValueError(f"{value}: not a number of JSON")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    # The number is 0.digits times 10 to this power.
    point = len(whole.lstrip("0")) or len(part.lstrip("0")) - len(part)
    point += int(exponent or 0)
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        body = digits[:point].ljust(point, "0") + ("." + digits[point:] if digits[point:] else "")
    elif -6 < point <= 0:
        body = "0." + "0" * -point + digits
    else:
        more = "." + digits[1:] if digits[1:] else ""
        body = f"{digits[0]}{more}e{point - 1:+d}"
    return sign + body
