"""How a lane goes on: the schedule, the circuit, the end of patience. Pure."""

from datetime import UTC, datetime, timedelta

import pytest

from leasebox.infra.fetch import Fault, Reply
from leasebox.values.ids import DeliveryId, EventId, TenantId, WebhookId
from leasebox.webhooks.model import (
    CLAIM,
    SCHEDULE,
    Claimed,
    Lane,
    Tried,
    after_failure,
    after_success,
    is_out_of_patience,
    next_try,
    paced,
    tried,
)

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOOK = WebhookId.new(AT)


def claimed(step: int = 0) -> Claimed:
    ids = (DeliveryId.new(AT), TenantId.new(AT), HOOK, EventId.new(AT))
    return Claimed(
        *ids,
        "message.received",
        step + 1,
        step,
        "https://hooks.example/",
        None,
        None,
        {},
        AT,
        AT,
        (),
        is_slow=False,
        has_more=False,
        is_cut=False,
    )


def failed(step: int = 0, status: int | None = 500, wish: str | None = None) -> Tried:
    return Tried(claimed(step), AT, 5, status, None, wish)


def at(**later: float) -> datetime:
    return AT + timedelta(**later)


def test_each_step_waits_as_long_as_the_contract_says_and_after_the_last_there_is_none() -> None:
    waits = [next_try(failed(step), AT) for step in range(10)]
    assert waits == [*(AT + wait for wait in SCHEDULE[1:]), None]
    assert len(SCHEDULE) == 10
    assert sum(SCHEDULE, timedelta()) < timedelta(days=4)


@pytest.mark.parametrize(
    ("status", "wish", "seconds"),
    [
        (429, None, 5), (429, "", 5), (429, "10", 10), (503, "2", 5), (503, "86400", 86_400), (503, "86401", 86_400),
        (429, "9" * 60, 86_400), (500, "10", 5), (404, "10", 5), (429, "1e3", 5), (429, "１２０", 5),
        (429, "Fri, 20 Nov 2026 12:01:00 GMT", 60), (429, "Fri, 20 Nov 2026 11:00:00 GMT", 5),
        (429, "Fri, 20 Nov 2026 12:01:00 -0000", 60), (429, "Fri, 99 Nov 2026 12:01:00 GMT", 5),
        (None, "10", 5),
    ],
)  # fmt: skip
def test_a_receiver_may_ask_for_more_time_but_not_for_less(status: int | None, wish: str | None, seconds: int) -> None:
    assert next_try(failed(0, status, wish), AT) == at(seconds=seconds)


def test_nobody_asks_for_a_try_that_there_is_none_of() -> None:
    assert next_try(failed(9, 429, "60"), AT) is None


@pytest.mark.parametrize(
    ("status", "good", "gone"),
    [(200, True, False), (204, True, False), (299, True, False), (199, False, False), (300, False, False),
     (302, False, False), (410, False, True), (500, False, False)],
)  # fmt: skip
def test_what_a_status_means(status: int, good: object, gone: object) -> None:
    one = tried(claimed(), AT, Reply(status, None, None, 0.0126))
    assert (one.has_succeeded, one.is_gone, one.took_ms) == (good, gone, 13)


def test_a_fault_is_no_success() -> None:
    one = tried(claimed(), AT, Reply(None, Fault.TIMEOUT, None, 15.0))
    assert (one.has_succeeded, one.is_gone, one.error) == (False, False, "timeout")


def test_from_the_third_failure_on_the_lane_rests_ever_longer() -> None:
    lane, now, rests = Lane(HOOK), AT, []
    for _ in range(9):
        lane = after_failure(lane, now)
        rests.append(None if lane.resting_until is None else (lane.resting_until - now).total_seconds())
        now = (lane.resting_until or now) + timedelta(seconds=1)
    assert rests == [None, None, 5, 10, 20, 40, 60, 60, 60]


def test_failures_that_were_under_way_when_the_circuit_opened_open_it_no_further() -> None:
    lane = Lane(HOOK)
    for _ in range(16):
        lane = after_failure(lane, AT)
    assert (lane.failures, lane.resting_until) == (3, at(seconds=5))


def test_a_success_closes_the_circuit() -> None:
    lane = after_success(after_failure(after_failure(after_failure(Lane(HOOK), AT), AT), AT), at(seconds=6))
    assert lane == Lane(HOOK, succeeded_at=at(seconds=6))


def test_patience_ends_after_five_days_of_failures_that_hang_together() -> None:
    lane = Lane(HOOK)
    for hours in range(0, 119, 24):
        lane = after_failure(lane, at(hours=hours))
        assert not is_out_of_patience(lane, at(hours=hours))
    assert is_out_of_patience(after_failure(lane, at(hours=120)), at(hours=120))
    assert not is_out_of_patience(Lane(HOOK), at(days=100))


def test_a_failure_after_a_long_silence_begins_a_spell_of_its_own() -> None:
    lane = after_failure(after_failure(Lane(HOOK), AT), at(hours=30))
    assert lane.failing_since == AT
    again = after_failure(lane, at(days=9))
    assert again.failing_since == at(days=9)
    assert not is_out_of_patience(again, at(days=9))


def test_a_claim_outlives_the_longest_try() -> None:
    assert timedelta(seconds=20) <= CLAIM


def test_one_quick_answer_does_not_hide_that_an_endpoint_is_slow() -> None:
    lane, paces = Lane(HOOK), []
    for took_ms in (14_000, 5, 5, 5, 5, 900, 20):
        lane = paced(lane, after_success(lane, AT), took_ms)
        paces.append(lane.pace_ms)
    assert paces == [14_000, 7000, 3500, 1750, 875, 900, 450]
    assert lane.succeeded_at == AT
