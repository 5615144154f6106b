"""Pauses between tries."""

from datetime import UTC, datetime, timedelta

import pytest

from leasebox.sending.backoff import PAUSES, SPREAD, next_try

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
FAR = AT + timedelta(days=30)


@pytest.mark.parametrize(
    ("tries", "minutes"),
    [
        (1, 1),
        (2, 5),
        (3, 15),
        (4, 30),
        (5, 60),
        (6, 120),
        (7, 240),
        (8, 480),
        (9, 960),
        (10, 1440),
        (11, 1440),
        (99, 1440),
    ],
)
def test_pauses_grow_to_a_day(tries: int, minutes: int) -> None:
    assert next_try(tries, AT, FAR, lambda: 0.0) == AT + timedelta(minutes=minutes)


def test_chance_only_stretches_a_pause() -> None:
    longest = next_try(1, AT, FAR, lambda: 0.999)
    assert longest is not None
    assert AT + PAUSES[0] < longest < AT + PAUSES[0] * (1 + SPREAD)


def test_the_last_try_is_made_when_the_time_is_over() -> None:
    end = AT + timedelta(minutes=3)
    assert next_try(2, AT, end, lambda: 0.0) == end
    assert next_try(3, end, end, lambda: 0.0) is None
    assert next_try(3, end + timedelta(hours=1), end, lambda: 0.0) is None


def test_a_mail_that_nobody_takes_is_tried_for_two_days() -> None:
    at, end, tries = AT, AT + timedelta(days=2), 0
    while (due := next_try(tries + 1, at, end, lambda: 0.0)) is not None:
        at, tries = due, tries + 1
    assert (at, tries) == (end, 10)
