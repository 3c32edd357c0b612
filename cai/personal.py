"""Personal data and secrets in a text: where they stand and what they are.

Found is what can be told by its form or its checksum. Names, street addresses and dates of birth
cannot, so a text without a finding is not proof that nobody is named in it.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

PersonalKind = Literal["e-mail address", "phone number", "payment card", "IBAN", "API key"]

# Domains that belong to nobody, for examples (RFC 2606 and 6761): not personal.
_RESERVED_NAMES = ("example.com", "example.org", "example.net")
_RESERVED_ENDINGS = ("example", "test", "invalid", "localhost")

# Every pattern is bounded or ends where the next begins, so the work is linear in the text.
_LOCAL = re.compile(r"[A-Za-z0-9À-ɏ][A-Za-z0-9À-ɏ._%+-]*\Z")
_LOCAL_OF_ANY_SCRIPT = re.compile(r"[^\W_][\w.%+-]*\Z")
_DOMAIN = re.compile(
    r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+(?:[A-Za-z]{2,24}|[^\W\d_A-Za-z]{2,24})(?![A-Za-z0-9_])"
)
_PHONE = re.compile(r"[+＋] ?\(?\d(?:[ ().\-/‐‑–]{0,3}\d){6,16}(?!\d)")
_NATIONAL_PHONE = re.compile(r"\(?\d(?:[ ().\-/‐‑–]{0,3}\d){6,16}(?!\d)")
_DIGITS = re.compile(r"[0-9]+(?:[ -][0-9]+)*")
_IBAN = re.compile(r"(?<![A-Za-z0-9_À-ɏ])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,40}")
_KEY = re.compile(
    r"(?<![A-Za-z0-9_])(?:sk-[A-Za-z0-9_-]{20,200}"  # OpenAI, Anthropic and others
    r"|gh[opsur]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9_])|AIza[A-Za-z0-9_-]{35}"
    r"|hf_[A-Za-z0-9]{30,64}|npm_[A-Za-z0-9]{36}|xox[abeprs]-[A-Za-z0-9-]{20,200})"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"
)
# Digits of an IBAN by country, of the registry's edition 99.
_REGISTRY = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 "
    "DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 "
    "IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 "
    "MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 "
    "SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
_IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _REGISTRY.split()}


class PersonalSpan(NamedTuple):
    """Where personal data stands in a text, in characters, and of what kind it is."""

    start: int
    end: int
    kind: PersonalKind


def personal_spans(text: str, region: str | None = None) -> tuple[PersonalSpan, ...]:
    """The personal data in a text, in the order in which they stand; no two of them overlap.

    E-mail addresses, unless their domain is one for examples (example.com, .example, .test: RFC
    2606, 6761); phone numbers in international form (`+` and a country) that the numbering plan of
    the country allows; payment cards (a brand's first digits and length, Luhn's digit); IBANs (the
    country's length, mod 97 of ISO 13616); API keys with a well-known beginning, unless they are
    plainly stand-ins. Numbers that merely look like an example, such as a test card, are found:
    their form does not tell that nobody owns them. The work is linear in the text's length.

    Args:
        text: What is looked through.
        region: A country (`DE`) whose phone numbers are found without `+` too; other numbers that
            happen to be valid there are then found with them.
    """
    found = [*_keys(text), *_emails(text), *_ibans(text), *_phones(text), *_cards(text)]
    if region is not None:
        found += _phones(text, region)
    # Where two overlap the earlier in this list wins: its form tells more.
    taken: list[PersonalSpan] = []
    last = 0
    ranked = sorted(enumerate(found), key=lambda item: (item[1].start, item[0]))
    for _, span in ranked:
        if span.start >= last:
            taken.append(span)
            last = span.end
    return tuple(taken)


def _emails(text: str) -> Iterator[PersonalSpan]:
    for at in re.finditer("@", text):
        place = at.start()
        before = text[max(0, place - 64) : place]
        local = _LOCAL.search(before) or _LOCAL_OF_ANY_SCRIPT.search(before)
        domain = _DOMAIN.match(text, at.end(), at.end() + 255)
        if local and domain and not _reserved(domain[0].lower()):
            yield PersonalSpan(place - len(local[0]), domain.end(), "e-mail address")


def _reserved(domain: str) -> bool:
    return domain.rpartition(".")[2] in _RESERVED_ENDINGS or any(
        domain == name or domain.endswith(f".{name}") for name in _RESERVED_NAMES
    )


def is_region(code: str) -> bool:
    """Whether phone numbers of a country are known, by its code of two capitals."""
    import phonenumbers

    return code in phonenumbers.SUPPORTED_REGIONS


def _phones(text: str, region: str | None = None) -> Iterator[PersonalSpan]:
    pattern = _PHONE if region is None else _NATIONAL_PHONE
    for match in pattern.finditer(text):
        start = match.start()
        if start and (_joins(text[start - 1]) or text[start - 1] == "+"):
            continue  # a sum, or a part of a longer sign
        length = _phone_length(match[0], region)
        if length:
            yield PersonalSpan(start, start + length, "phone number")


def _joins(sign: str) -> bool:
    """Whether a sign beside a number makes both one: a digit or a letter that has a case.

    Chinese, Japanese and Thai are written without spaces, and a number ends at their letters.
    """
    return sign.isdigit() or sign.lower() != sign.upper()


@functools.lru_cache(maxsize=4096)
def _phone_length(candidate: str, region: str | None = None) -> int:
    """How much of a candidate is a phone number; digits that follow one may be something else."""
    import phonenumbers

    ends = [i for i in range(len(candidate), 6, -1) if candidate[i - 1].isdigit()]
    whole = (i for i in ends if i == len(candidate) or not candidate[i].isdigit())
    for end in itertools.islice(whole, 6):
        try:
            number = phonenumbers.parse(candidate[:end], region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return end
    return 0


def _cards(text: str) -> Iterator[PersonalSpan]:
    for match in _DIGITS.finditer(text):
        groups: list[tuple[int, int]] = []
        position = match.start()
        for group in match[0].replace("-", " ").split(" "):
            groups.append((position, position + len(group)))
            position += len(group) + 1
        yield from _cards_of(text, groups)


def _cards_of(text: str, groups: list[tuple[int, int]]) -> Iterator[PersonalSpan]:
    """The cards among groups of digits: whole groups, and none of them shorter than three."""
    first = 0
    while first < len(groups):
        digits, number = "", first
        while number < len(groups):
            group = text[slice(*groups[number])]
            if len(group) < 3 or len(digits) + len(group) > 19:
                break
            digits += group
            if len(digits) >= 13 and is_card(digits):
                yield PersonalSpan(groups[first][0], groups[number][1], "payment card")
                first = number
                break
            number += 1
        first += 1


def is_card(digits: str) -> bool:
    """Whether a number is one of a payment card: first digits, length and Luhn's check digit."""
    brand = (
        (digits[:1] == "4" and len(digits) in (16, 19))  # Visa; of 13 digits are most EAN codes
        or (digits[:2] in ("34", "37") and len(digits) == 15)  # American Express
        or (digits[:2] in ("36", "38") and len(digits) == 14)  # Diners Club
        or (digits[:2] in ("51", "52", "53", "54", "55") and len(digits) == 16)  # Mastercard
        or ("2221" <= digits[:4] <= "2720" and len(digits) == 16)
        or ((digits[:4] == "6011" or digits[:2] == "65") and len(digits) == 16)  # Discover
        or ("3528" <= digits[:4] <= "3589" and len(digits) == 16)  # JCB
        or (digits[:2] == "62" and 16 <= len(digits) <= 19)  # UnionPay
    )
    if not brand:
        return False
    doubled = [2 * int(d) if i % 2 else int(d) for i, d in enumerate(reversed(digits))]
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


def _ibans(text: str) -> Iterator[PersonalSpan]:
    for match in _IBAN.finditer(text):
        start, end = match.span()
        length = _IBAN_LENGTHS.get(text[start : start + 2], 0)
        signs = [i for i in range(start, end) if text[i] != " "][:length]
        if len(signs) != length or not length:
            continue
        last = signs[-1] + 1
        whole = last == len(text) or not _joins(text[last])
        if whole and is_iban("".join(text[i] for i in signs)):
            yield PersonalSpan(start, last, "IBAN")


def is_iban(signs: str) -> bool:
    """Whether the check digits of an IBAN without spaces are right (ISO 13616: mod 97 is 1)."""
    turned = signs[4:] + signs[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def _keys(text: str) -> Iterator[PersonalSpan]:
    for match in _KEY.finditer(text):
        key = match[0]
        stand_in = "example" in key.lower() or "your" in key.lower() or len(set(key[-16:])) <= 3
        if not stand_in or key.startswith("-----"):
            yield PersonalSpan(*match.span(), "API key")
