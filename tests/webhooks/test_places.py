"""Places: what one tenant may hold shrinks with what is free, so that some is left for whoever comes next. Pure."""

from datetime import UTC, datetime

import msgspec
import pytest

from leasebox.values.ids import DeliveryId, EventId, TenantId, WebhookId
from leasebox.webhooks.model import MOST_ENDPOINTS, Claimed
from leasebox.webhooks.places import PLACES, QUICK_PLACES, Places, Room

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def claimed(tenant_id: TenantId, hook: WebhookId | None = None, **more: bool) -> Claimed:
    flags = {"is_slow": False, "has_more": False, "is_cut": False, **more}
    ids = (DeliveryId.new(AT), tenant_id, hook or WebhookId.new(AT), EventId.new(AT))
    return Claimed(*ids, "message.received", 1, 0, "https://hooks.example/", None, None, {}, AT, AT, (), **flags)


def tenants(count: int) -> list[TenantId]:
    return [TenantId.new(AT) for _ in range(count)]


def room_of(places: Places, tenant_id: TenantId) -> Room:
    offer = places.offer()
    room = offer.rooms.get(tenant_id, offer.usual)
    return Room(min(room.quick, offer.room.quick), min(room.slow, offer.room.slow))


def greedy(places: Places, many: list[TenantId], kind: str) -> None:
    """Each in turn takes all that it gets of a kind, until nobody gets any more."""
    is_slow = kind == "slow"
    while any(getattr(room_of(places, each), kind) > 0 for each in many):
        for each in many:
            if getattr(room_of(places, each), kind) > 0:
                places.take(claimed(each, is_slow=is_slow))


def test_one_alone_may_have_all_its_endpoints_slow_and_go_on() -> None:
    places, (one, other) = Places(), tenants(2)
    greedy(places, [one], "slow")
    assert sum(places.offer().busy.values()) >= MOST_ENDPOINTS
    assert room_of(places, one).quick >= 8, "its own quick endpoints go on"
    assert room_of(places, other) == places.offer().usual
    assert places.offer().room.quick == QUICK_PLACES
    assert places.is_full(one)
    assert not places.is_full(other)


@pytest.mark.parametrize("count", [1, 2, 8, 16])
def test_however_many_take_all_they_can_some_is_left_for_the_next(count: int) -> None:
    for kind in ("quick", "slow"):
        places, (late, *many) = Places(), tenants(count + 1)
        greedy(places, many, kind)
        assert getattr(room_of(places, late), kind) >= 1
        assert sum(places.offer().busy.values()) < PLACES


@pytest.mark.parametrize("count", [1, 2, 8, 50])
def test_nor_do_those_take_all_whose_endpoints_turn_slow(count: int) -> None:
    places, (late, *many) = Places(), tenants(count + 1)
    for _ in range(40):
        for each in many:
            for _ in range(room_of(places, each).quick):
                one = claimed(each)
                places.take(one)
                places.lasts(one)
    assert room_of(places, late).quick >= 1
    assert sum(places.offer().busy.values()) <= PLACES


def test_a_place_is_given_back_as_what_it_has_become() -> None:
    places, (one,), hook = Places(), tenants(1), WebhookId.new(AT)
    fresh = places.offer()
    tries = [claimed(one, hook), claimed(one, hook, is_slow=True), claimed(one, hook)]
    for each in tries:
        places.take(each)
    assert places.offer().busy == {hook: 3}
    for each in tries[:2]:
        places.lasts(each)
        places.lasts(each)
    offer = places.offer()
    assert (offer.room.quick, offer.room.slow) == (QUICK_PLACES - 1, PLACES - QUICK_PLACES - 2)
    for each in tries:
        places.free(each)
    assert msgspec.structs.asdict(places.offer()) == msgspec.structs.asdict(fresh)
    assert (fresh.rooms, fresh.busy) == ({}, {})


def test_room_is_bounded() -> None:
    assert Room(3, 90).at_most(64) == Room(3, 64)
