"""Usdc: exact, closed to other numbers, bounded like the column that holds it."""

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.values.money import LEAST_MICROS, MOST_MICROS, ZERO, MalformedMoney, MoneyOutOfRange, Usdc

MICROS = st.integers(LEAST_MICROS, MOST_MICROS)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("0.0", 0),
        ("0.000000", 0),
        ("0.000001", 1),
        ("0.001000", 1_000),
        ("0.001", 1_000),
        ("0.1", 100_000),
        ("1", 1_000_000),
        ("12.5", 12_500_000),
        ("9223372036854.775807", MOST_MICROS),
    ],
)
def test_amounts_are_read(text: str, micros: int) -> None:
    assert Usdc.parse(text) == Usdc.parse_signed(text) == Usdc(micros)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", ".5", "5.", "00", "01", "0.0000001", "0.0010000", "1.2.3", "1,5", "1_000"),
        *("1e3", "1E-3", "0x1", "inf", "nan", "NaN", "+1", "--1", "1.-5", "$1"),
        *(" 1", "1 ", "1\n", "1\x00", "१", "１", "0.१"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    for read in (Usdc.parse, Usdc.parse_signed):
        with pytest.raises(MalformedMoney):
            read(text)


@pytest.mark.parametrize("text", ["-0", "-0.000000", "-", "- 1", "-01", "-.5", "-1.0000000", "--1", "-+1"])
def test_no_odd_negative_is_read(text: str) -> None:
    with pytest.raises(MalformedMoney):
        Usdc.parse_signed(text)


def test_a_sign_is_read_only_where_it_may_stand() -> None:
    assert Usdc.parse_signed("-0.001000") == Usdc(-1_000)
    with pytest.raises(MalformedMoney):
        Usdc.parse("-0.001000")


@pytest.mark.parametrize("text", ["9223372036854.775808", "9999999999999"])
def test_more_than_64_bits_is_out_of_range(text: str) -> None:
    with pytest.raises(MoneyOutOfRange):
        Usdc.parse(text)


def test_a_long_text_is_refused_not_counted() -> None:
    with pytest.raises(MalformedMoney):
        Usdc.parse("1" * 1_000_000)


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0.000000"), (1, "0.000001"), (1_000, "0.001000"), (-1, "-0.000001"), (-1_500_000, "-1.500000")],
)
def test_amounts_are_written_with_six_decimals(micros: int, text: str) -> None:
    assert str(Usdc(micros)) == text


@given(MICROS)
def test_what_is_written_is_read_back(micros: int) -> None:
    if micros != LEAST_MICROS:  # its magnitude has no positive twin to be read through
        assert Usdc.parse_signed(str(Usdc(micros))) == Usdc(micros)
    assert Decimal(str(Usdc(micros))) * 1_000_000 == micros


@given(MICROS, MICROS)
def test_sums_are_exact_or_refused(left: int, right: int) -> None:
    for verb in (operator.add, operator.sub):
        exact = verb(left, right)
        if LEAST_MICROS <= exact <= MOST_MICROS:
            assert verb(Usdc(left), Usdc(right)) == Usdc(exact)
        else:
            with pytest.raises(MoneyOutOfRange):
                verb(Usdc(left), Usdc(right))


@given(MICROS, MICROS)
def test_amounts_compare_like_their_micros(left: int, right: int) -> None:
    assert (Usdc(left) < Usdc(right), Usdc(left) >= Usdc(right)) == (left < right, left >= right)
    assert (Usdc(left) == Usdc(right)) == (left == right)


@pytest.mark.parametrize("verb", [operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge])
@pytest.mark.parametrize("other", [1, 0, 1.0, True, "1", None, Decimal(1)])
def test_no_other_number_mixes_in(verb: Callable[[Any, Any], Any], other: object) -> None:
    for left, right in ((Usdc(1), other), (other, Usdc(1))):
        with pytest.raises(TypeError):
            verb(left, right)


@pytest.mark.parametrize("micros", [1.0, True, "1", None, Decimal(1)])
def test_micros_are_whole(micros: Any) -> None:
    with pytest.raises(TypeError):
        Usdc(micros)


@pytest.mark.parametrize("times", [1.5, True, "2", None, Decimal(2), Usdc(2)])
def test_only_a_whole_number_multiplies(times: Any) -> None:
    for left, right in ((Usdc(3), times), (times, Usdc(3))):
        with pytest.raises(TypeError):
            operator.mul(left, right)


def test_it_multiplies_negates_totals_and_has_a_truth() -> None:
    assert Usdc(7) * 3 == 3 * Usdc(7) == Usdc(21)
    assert -Usdc(7) == Usdc(-7)
    assert Usdc.total([]) == ZERO
    assert Usdc.total([Usdc(MOST_MICROS), Usdc(1), Usdc(-5)]) == Usdc(MOST_MICROS - 4)
    assert (bool(ZERO), bool(Usdc(-1))) == (False, True)
    assert Usdc(1) != 1  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    "overflow",
    [lambda: Usdc(MOST_MICROS + 1), lambda: -Usdc(LEAST_MICROS), lambda: Usdc(2**40) * 2**40],
)
def test_the_bounds_hold(overflow: Callable[[], Usdc]) -> None:
    with pytest.raises(MoneyOutOfRange):
        overflow()


def test_an_amount_is_not_edited() -> None:
    with pytest.raises(AttributeError):
        Usdc(1).micros = 2  # type: ignore[misc]
