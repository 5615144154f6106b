"""Who holds the places that tries take, and how many more each tenant may have. Pure.

Places are of two kinds. A try at an endpoint that answers quickly, or is new, takes a quick place; when it has lasted
QUICK_S, it gives that back and counts as slow. At an endpoint that is known to be slow it counts as slow at once.
What one tenant may hold shrinks with what is free: however many tenants take all they can, some is left for the next.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from leasebox.values.ids import DeliveryId, TenantId, WebhookId
from leasebox.webhooks.model import Claimed

QUICK_S = 1.0
"""Seconds after which a try no longer holds a place that quick ones need."""
QUICK_PLACES, PLACES = 320, 1024
# What one tenant holds is at most this part of what is left free: a third of the quick places, a sixth of the slow
# ones, an eighth of all. So one alone has 80 quick ones, or 100 slow ones: one for each endpoint. Of dozens that come
# at once and take all they can, each leaves some to the next, and more as their tries end.
_QUICK_PART, _SLOW_PART, _PART = 3, 6, 8


class Room(msgspec.Struct, frozen=True):
    """How many tries may begin, at endpoints that are quick and at slow ones."""

    quick: int
    slow: int

    def at_most(self, most: int) -> "Room":
        """No more than this of each kind."""
        return Room(min(self.quick, most), min(self.slow, most))


class Offer(msgspec.Struct, frozen=True):
    """What may be claimed: room in all; usual: of a tenant that holds no place; rooms: of those that do.

    busy: tries under way by endpoint.
    """

    room: Room
    usual: Room
    rooms: Mapping[TenantId, Room]
    busy: Mapping[WebhookId, int]


class Places:
    """The places of one process."""

    def __init__(self) -> None:
        self._busy: Counter[WebhookId] = Counter()
        self._quick: Counter[TenantId] = Counter()
        self._slow: Counter[TenantId] = Counter()
        self._slow_tries: set[tuple[DeliveryId, int]] = set()

    def take(self, one: Claimed) -> None:
        """A try begins."""
        self._busy[one.webhook_id] += 1
        if one.is_slow:
            self._slow_tries.add(_try(one))
        self._kind(one)[one.tenant_id] += 1

    def lasts(self, one: Claimed) -> None:
        """A try has lasted QUICK_S."""
        if _try(one) not in self._slow_tries:
            _less(self._quick, one.tenant_id)
            self._slow_tries.add(_try(one))
            self._slow[one.tenant_id] += 1

    def free(self, one: Claimed) -> None:
        """A try has ended, and its outcome is written down."""
        _less(self._busy, one.webhook_id)
        _less(self._kind(one), one.tenant_id)
        self._slow_tries.discard(_try(one))

    def is_full(self, tenant_id: TenantId) -> bool:
        """Whether some of what is due to a tenant may have to wait for places of its own."""
        room = self._room_of(tenant_id)
        return not room.quick or not room.slow

    def offer(self) -> Offer:
        """What may begin now."""
        tenants = self._quick.keys() | self._slow.keys()
        rooms = {each: self._room_of(each) for each in tenants}
        return Offer(self._free(), self._room_of(None), rooms, self._busy)

    def _free(self) -> Room:
        quick, slow = self._quick.total(), self._slow.total()
        free = PLACES - quick - slow
        return Room(max(0, min(QUICK_PLACES - quick, free)), max(0, min(PLACES - QUICK_PLACES - slow, free)))

    def _room_of(self, tenant_id: TenantId | None) -> Room:
        """None: of one that holds nothing."""
        quick = 0 if tenant_id is None else self._quick[tenant_id]
        slow = 0 if tenant_id is None else self._slow[tenant_id]
        free, all_free = self._free(), PLACES - self._quick.total() - self._slow.total()
        more = min(_more(free.quick, quick, _QUICK_PART), _more(all_free, quick + slow, _PART))
        return Room(more, _more(free.slow, slow, _SLOW_PART))

    def _kind(self, one: Claimed) -> "Counter[TenantId]":
        return self._slow if _try(one) in self._slow_tries else self._quick


def _try(one: Claimed) -> tuple[DeliveryId, int]:
    return one.delivery_id, one.attempt


def _more(free: int, held: int, part: int) -> int:
    """How many more may be taken so that what is held is at most a part of what is free then; the first always may."""
    return max((free - part * held) // (part + 1), 0 if held else 1)


def _less(counts: "Counter[Any]", key: object) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
