"""Personal data in texts: what is found, what is left alone, and that the work stays linear."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.personal import PersonalSpan, is_card, is_iban, personal_spans

BODY = "aB3dE7gH1jK2mN4pQ6rS8tU0vW5xY9zA2bC4d"  # 37 letters and digits of no one's key


def found(text: str) -> list[tuple[str, str]]:
    return [(text[span.start : span.end], span.kind) for span in personal_spans(text)]


@pytest.mark.parametrize(
    ("text", "piece", "kind"),
    [
        ("Write to anna.berg+tea@posteo.de.", "anna.berg+tea@posteo.de", "e-mail address"),
        ("邮箱是li.wei@mail.cn，请写信。", "li.wei@mail.cn", "e-mail address"),
        ("邮箱是li.wei@mail.cn是的", "li.wei@mail.cn", "e-mail address"),
        ("Почта: иван@почта.рф!", "иван@почта.рф", "e-mail address"),
        ("\ud800 émile@café.fr", "émile@café.fr", "e-mail address"),
        ("Call +49 30 901820 now", "+49 30 901820", "phone number"),
        ("tel:+1 (212) 736-5000.", "+1 (212) 736-5000", "phone number"),
        ("＋８１ 3 3224 9999", "＋８１ 3 3224 9999", "phone number"),
        ("card 4111 1111 1111 1111 12/26", "4111 1111 1111 1111", "payment card"),
        ("5500-0000-0000-0004", "5500-0000-0000-0004", "payment card"),
        ("amex 378282246310005", "378282246310005", "payment card"),
        ("amex 3782 822463 10005 ok", "3782 822463 10005", "payment card"),
        ("请打给+8613812345678吧", "+8613812345678", "phone number"),
        ("账号DE89370400440532013000是我的", "DE89370400440532013000", "IBAN"),
        ("密钥AKIAQWERTYUIOPASDFGH是它", "AKIAQWERTYUIOPASDFGH", "API key"),
        ("To DE89 3704 0044 0532 0130 00 BIC", "DE89 3704 0044 0532 0130 00", "IBAN"),
        ("GB82WEST12345698765432.", "GB82WEST12345698765432", "IBAN"),
        ("NO93 8601 1117 947", "NO93 8601 1117 947", "IBAN"),
        (f"export KEY=sk-{BODY}", f"sk-{BODY}", "API key"),
        (f"ghp_{BODY[:36]}", f"ghp_{BODY[:36]}", "API key"),
        (f"hf_{BODY[:34]}", f"hf_{BODY[:34]}", "API key"),
        ("AKIAQWERTYUIOPASDFGH", "AKIAQWERTYUIOPASDFGH", "API key"),
        ("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----", "API key"),
    ],
)
def test_what_is_found(text: str, piece: str, kind: str) -> None:
    assert found(text) == [(piece, kind)]


@pytest.mark.parametrize(
    "text",
    [
        "a@example.com b@mail.example.org c@shop.example d@x.test e@localhost f@g",  # for examples
        "the @ sign, @handle, 5@3, a@.de",
        "030 901820, 110, 2+4915112345678, +1 22",  # no country, no plan
        "4111 1111 1111 1112, 4111 1111 1111",  # Luhn, length
        "978-3-16-148410-0",  # an ISBN
        "GB82WEST12345698765433 DE89 3704 0044 XX11222233334444",  # mod 97, length, country
        "sk-xxxxxxxxxxxxxxxxxxxxxxxx sk-your-key-goes-in-here-1 AKIAIOSFODNN7EXAMPLE sk-short",
        "On 12.05.2024 we sold 1,000,000 at 3.50.",
        "",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_spans_are_in_order_and_do_not_overlap() -> None:
    text = "a@b.de, +49 30 901820, a@b.de and DE89370400440532013000"
    kinds = ["e-mail address", "phone number", "e-mail address", "IBAN"]
    assert [kind for _, kind in found(text)] == kinds
    assert personal_spans("a@b.de")[0] == PersonalSpan(0, 6, "e-mail address")


@given(st.integers(0, 10**15 - 1), st.integers(0, 15), st.integers(1, 9))
def test_one_wrong_digit_of_a_card_is_noticed(number: int, place: int, more: int) -> None:
    stem = f"4{number:015d}"[:15]
    cards = [stem + str(check) for check in range(10) if is_card(stem + str(check))]
    assert len(cards) == 1  # one check digit is right
    (card,) = cards
    changed = (int(card[place]) + more) % 10
    assert place == 0 or not is_card(card[:place] + str(changed) + card[place + 1 :])


@given(st.text("0123456789", min_size=18, max_size=18), st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_of_an_iban_is_noticed(account: str, place: int, more: int) -> None:
    rest = int(f"{account}131400") % 97  # D is 13, E is 14
    iban = f"DE{98 - rest:02d}{account}"
    assert is_iban(iban)
    changed = (int(account[place]) + more) % 10
    assert not is_iban(f"{iban[:4]}{account[:place]}{changed}{account[place + 1 :]}")
    assert found(f"to {iban}.") == [(iban, "IBAN")]


@given(st.text(st.characters(), max_size=100) | st.text("a@.+49 -1AKIDE\n", max_size=80))
@settings(deadline=None)
def test_no_text_is_too_odd_and_the_same_is_found_twice(text: str) -> None:
    spans = personal_spans(text)
    assert spans == personal_spans(text)
    ends = [0, *(span.end for span in spans)]
    assert all(end <= span.start < span.end for end, span in zip(ends, spans, strict=False))


@pytest.mark.parametrize(
    "unit",
    ["a", "a.", "a@", "a@b.", "+1 ", "+", "1", "1 ", "123 ", "4111-", "AB12 ", "A", "sk-", "-"],
)
def test_the_work_is_linear(unit: str) -> None:
    """Ten times the text takes ten times the work; the square would take a hundred times."""

    def work(size: int) -> float:
        text, times = (unit * size)[:size], []
        for _ in range(2):
            start = time.process_time()
            personal_spans(text)
            times.append(time.process_time() - start)
        return min(times)

    work(1000)  # what is loaded once is loaded
    assert work(100_000) < 40 * max(work(10_000), 0.005)
