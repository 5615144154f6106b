"""What is metered and what it costs: a TOML price book read into frozen values, and the routes that meters stand on.

    [meters."mailbox.lease"]
    free = 5               # units per tenant and window at no price
    window = "hour"        # "hour" or "day", in UTC, starting on the hour or at midnight
    price = "0.001000"     # USDC for each unit beyond, as text: a TOML float could not be exact

A meter that the file does not name keeps its default; a file can therefore be one table long.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from leasebox.values.money import MalformedMoney, MoneyOutOfRange, Usdc
from leasebox.values.paths import Route

MOST_FREE_UNITS = 2**31 - 1
MOST_UNIT_PRICE = Usdc.parse("1000000")  # leaves room for 9 million units in one amount
NEW_TENANT_CREDIT_LIMIT = Usdc.parse("0.050000")
"""What a new tenant may run up on the month's invoice before topping up; unbound tenants get nothing."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIELDS = ("free", "window", "price")


class Meter(StrEnum):
    """One kind of use. `message.send` counts recipients, the others calls."""

    MAILBOX_LEASE = "mailbox.lease"
    MESSAGE_READ = "message.read"
    MESSAGE_SEND = "message.send"
    WEBHOOK_CREATE = "webhook.create"


class Window(StrEnum):
    """The span that an allowance counts in: fixed, aligned to UTC, the same for everybody.

    Fixed and not rolling, because one counter row per window is exact in one guarded statement, and because
    `resets_at` is then a time that an agent can wait for.
    """

    HOUR = "hour"
    DAY = "day"

    @property
    def span(self) -> timedelta:
        return timedelta(hours=1) if self is Window.HOUR else timedelta(days=1)

    def start(self, at: datetime) -> datetime:
        """The beginning (inclusive) of the window that holds an aware time."""
        return at.astimezone(UTC) - (at - _EPOCH) % self.span

    def resets_at(self, at: datetime) -> datetime:
        """The end (exclusive) of the window that holds an aware time."""
        return self.start(at) + self.span


@dataclass(frozen=True, slots=True)
class MeterPrice:
    """A meter's allowance and unit price. A change of any of them is a new version."""

    meter: Meter
    free: int
    window: Window
    price: Usdc

    def digest(self) -> bytes:
        """SHA-256 over the values in a fixed order: equal digests, same version."""
        fields = (self.meter, str(self.free), self.window, str(self.price.micros))
        return hashlib.sha256("\n".join(("leasebox-price/1", *fields)).encode()).digest()


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Every meter's price, each meter once."""

    prices: Mapping[Meter, MeterPrice] = field(hash=False)

    def of(self, meter: Meter) -> MeterPrice:
        return self.prices[meter]

    def digest(self) -> bytes:
        """SHA-256 over all prices in the order of their meters' names, however the file was laid out."""
        parts = (self.prices[meter].digest() for meter in sorted(self.prices))
        return hashlib.sha256(b"leasebox-prices/1" + b"".join(parts)).digest()


@dataclass(frozen=True, slots=True)
class PriceFault:
    """One thing wrong with a price book: where (dotted path in the file), and what would be right."""

    path: str
    message: str


DEFAULT_PRICES = PriceBook(
    MappingProxyType(
        {
            price.meter: price
            for price in (
                MeterPrice(Meter.MAILBOX_LEASE, 5, Window.HOUR, Usdc(1_000)),
                MeterPrice(Meter.MESSAGE_READ, 1_000, Window.DAY, Usdc(100)),
                MeterPrice(Meter.MESSAGE_SEND, 20, Window.DAY, Usdc(1_000)),
                MeterPrice(Meter.WEBHOOK_CREATE, 5, Window.DAY, Usdc(1_000)),
            )
        }
    )
)

METERED_ROUTES: Mapping[Route, Meter] = MappingProxyType(
    {
        Route("POST", "/v2/mailboxes/leases"): Meter.MAILBOX_LEASE,
        Route("GET", "/v2/messages"): Meter.MESSAGE_READ,
        Route("GET", "/v2/messages/wait"): Meter.MESSAGE_READ,
        Route("POST", "/v2/messages/send"): Meter.MESSAGE_SEND,
        Route("POST", "/v2/webhooks"): Meter.WEBHOOK_CREATE,
    }
)
"""The payable routes (contract §6). A route that is neither here nor spelled like a template costs nothing and cannot
be quoted."""

METERED_TEMPLATES: Mapping[Route, Meter] = MappingProxyType(
    {
        Route("POST", f"/v2/messages/{{message_id}}/{manner}"): Meter.MESSAGE_SEND
        for manner in ("reply", "reply-all", "forward")
    }
)
"""Payable routes with an id in their path. A proof is for the path with the id in it, so it pays for one message's."""


def meter_of(route: Route) -> Meter | None:
    """What a route is metered by, if anything."""
    if route in METERED_ROUTES:
        return METERED_ROUTES[route]
    matching = (meter for template, meter in METERED_TEMPLATES.items() if _spelled_like(route, template))
    return next(matching, None)


def metered_routes(meter: Meter | str) -> list[Route]:
    """The routes of a meter as the API's description spells them."""
    return [route for routes in (METERED_ROUTES, METERED_TEMPLATES) for route in routes if routes[route] == meter]


def load(toml_text: str) -> PriceBook | tuple[PriceFault, ...]:
    """Read a price book; or every fault in it at once, in the order of the file. Never raises."""
    try:
        document = tomllib.loads(toml_text)
    except (tomllib.TOMLDecodeError, RecursionError) as broken:
        return (PriceFault("", f"not TOML: {broken}"),)
    faults = [PriceFault(key, "unknown; the only table is [meters]") for key in document if key != "meters"]
    tables = document.get("meters", {})
    if not isinstance(tables, dict):
        return (*faults, PriceFault("meters", 'a table of meters, like [meters."mailbox.lease"]'))
    prices = dict(DEFAULT_PRICES.prices)
    for name, table in tables.items():
        price = _meter_price(name, table, faults)
        if price is not None:
            prices[price.meter] = price
    return tuple(faults) if faults else PriceBook(MappingProxyType(prices))


def _spelled_like(route: Route, template: Route) -> bool:
    parts, pattern = route.path.split("/"), template.path.split("/")
    return (
        route.method == template.method
        and len(parts) == len(pattern)
        and all(wanted.startswith("{") or part == wanted for part, wanted in zip(parts, pattern, strict=True))
    )


def _meter_price(name: str, table: Any, faults: list[PriceFault]) -> MeterPrice | None:
    """One meter's table; None, with its faults added, if anything in it is wrong."""
    path = f'meters."{name}"'
    if name not in set(Meter):
        hint = ' (write the name in quotes: [meters."mailbox.lease"])' if isinstance(table, dict) else ""
        faults.append(PriceFault(path, f"unknown meter; there are {', '.join(Meter)}{hint}"))
        return None
    if not isinstance(table, dict):
        faults.append(PriceFault(path, "a table with free, window and price"))
        return None
    before = len(faults)
    faults += [PriceFault(f"{path}.{key}", "unknown; there are free, window, price") for key in table.keys() - _FIELDS]
    free, window, price = (
        _free(table.get("free"), path, faults),
        _window(table.get("window"), path, faults),
        _price(table.get("price"), path, faults),
    )
    if len(faults) > before or free is None or window is None or price is None:
        return None
    return MeterPrice(Meter(name), free, window, price)


def _free(value: object, path: str, faults: list[PriceFault]) -> int | None:
    if type(value) is int and 0 <= value <= MOST_FREE_UNITS:
        return value
    faults.append(PriceFault(f"{path}.free", f"a whole number from 0 to {MOST_FREE_UNITS}"))
    return None


def _window(value: object, path: str, faults: list[PriceFault]) -> Window | None:
    if isinstance(value, str) and value in set(Window):
        return Window(value)
    faults.append(PriceFault(f"{path}.window", 'either "hour" or "day"'))
    return None


def _price(value: object, path: str, faults: list[PriceFault]) -> Usdc | None:
    try:
        price = Usdc.parse(value) if isinstance(value, str) else None
    except (MalformedMoney, MoneyOutOfRange):
        price = None
    if price is not None and price <= MOST_UNIT_PRICE:
        return price
    faults.append(PriceFault(f"{path}.price", f'text in USDC like "0.001000", at most {MOST_UNIT_PRICE}'))
    return None
