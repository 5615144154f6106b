"""The price book: defaults of the contract, a file's faults all at once, windows, versions."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.billing.prices import (
    DEFAULT_PRICES,
    METERED_ROUTES,
    METERED_TEMPLATES,
    NEW_TENANT_CREDIT_LIMIT,
    Meter,
    MeterPrice,
    PriceBook,
    Window,
    load,
    meter_of,
    metered_routes,
)
from leasebox.values.money import Usdc
from leasebox.values.paths import Route, normalize

README = Path(__file__).parents[2] / "README.md"
WHOLE = """
[meters."mailbox.lease"]
free = 5
window = "hour"
price = "0.001000"
[meters."message.read"]
free = 1000
window = "day"
price = "0.0001"
[meters."message.send"]
free = 20
window = "day"
price = "0.001"
[meters."webhook.create"]
free = 5
window = "day"
price = "0.001"
"""
LEASE = '[meters."mailbox.lease"]\n'


def _year(number: int) -> datetime:
    return datetime(number, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # hypothesis bounds are naive


def _paths(toml_text: str) -> list[str]:
    found = load(toml_text)
    return [] if isinstance(found, PriceBook) else [fault.path for fault in found]


@pytest.mark.parametrize(
    ("meter", "free", "window", "price"),
    [
        (Meter.MAILBOX_LEASE, 5, Window.HOUR, "0.001000"),
        (Meter.MESSAGE_READ, 1_000, Window.DAY, "0.000100"),
        (Meter.MESSAGE_SEND, 20, Window.DAY, "0.001000"),
        (Meter.WEBHOOK_CREATE, 5, Window.DAY, "0.001000"),
    ],
)
def test_the_defaults_are_the_contracts(meter: Meter, free: int, window: Window, price: str) -> None:
    assert DEFAULT_PRICES.of(meter) == MeterPrice(meter, free, window, Usdc.parse(price))
    assert str(NEW_TENANT_CREDIT_LIMIT) == "0.050000"


@pytest.mark.parametrize("text", ["", "# nothing\n", "[meters]\n", WHOLE])
def test_a_file_that_changes_nothing_is_the_default(text: str) -> None:
    assert load(text) == DEFAULT_PRICES


def test_a_file_may_name_one_meter() -> None:
    book = load(LEASE + 'free = 0\nwindow = "day"\nprice = "12.5"')
    assert isinstance(book, PriceBook)
    assert book.of(Meter.MAILBOX_LEASE) == MeterPrice(Meter.MAILBOX_LEASE, 0, Window.DAY, Usdc(12_500_000))
    assert book.of(Meter.MESSAGE_READ) == DEFAULT_PRICES.of(Meter.MESSAGE_READ)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[meters", ""),
        ("a = 1\na = 2", ""),
        ("x = " + "[" * 10_000, ""),
        ("tax = 1", "tax"),
        ("meters = 5", "meters"),
        ("[[meters]]", "meters"),
        ('meters."mailbox.lease" = 5', 'meters."mailbox.lease"'),
        ("[meters.mailbox.lease]", 'meters."mailbox"'),
        ('[meters."mailbox.peek"]', 'meters."mailbox.peek"'),
        (LEASE + 'free = 5\nwindow = "hour"\nprice = "1"\ncap = 2', 'meters."mailbox.lease".cap'),
        *(
            (LEASE + f'free = {free}\nwindow = "hour"\nprice = "1"', 'meters."mailbox.lease".free')
            for free in ("-1", "5.0", '"5"', "true", "2147483648", "[]")
        ),
        *(
            (LEASE + f'free = 5\nwindow = {window}\nprice = "1"', 'meters."mailbox.lease".window')
            for window in ('"Hour"', '"week"', "60", '""', "[]", "{}")
        ),
        *(
            (LEASE + f'free = 5\nwindow = "hour"\nprice = {price}', 'meters."mailbox.lease".price')
            for price in (
                "0.001",
                "1",
                '"-1"',
                '"1e-3"',
                '"0.0000001"',
                '""',
                '"1000000.000001"',
                f'"{"9" * 13}"',
                "[]",
            )
        ),
    ],
)
def test_a_fault_names_its_place(text: str, path: str) -> None:
    assert _paths(text) == [path]


@pytest.mark.parametrize("missing", ["free", "window", "price"])
def test_a_named_meter_is_given_whole(missing: str) -> None:
    lines = {"free": "free = 5", "window": 'window = "hour"', "price": 'price = "1"'}
    text = LEASE + "\n".join(line for name, line in lines.items() if name != missing)
    assert _paths(text) == [f'meters."mailbox.lease".{missing}']


def test_all_faults_come_together() -> None:
    text = (
        'tax = 1\n[meters."mailbox.lease"]\nfree = -1\nprice = 0.1\n[meters.foo]\n[meters."message.read"]\nwindow = 1\n'
    )
    lease, read = 'meters."mailbox.lease"', 'meters."message.read"'
    assert _paths(text) == [
        "tax",
        *(f"{lease}.{name}" for name in ("free", "window", "price")),
        'meters."foo"',
        *(f"{read}.{name}" for name in ("free", "window", "price")),
    ]


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert isinstance(load(text), PriceBook | tuple)


@pytest.mark.parametrize(
    "change",
    [
        'free = 6\nwindow = "hour"\nprice = "0.001"',
        'free = 5\nwindow = "day"\nprice = "0.001"',
        'free = 5\nwindow = "hour"\nprice = "0.001001"',
    ],
)
def test_any_change_is_another_version(change: str) -> None:
    book = load(LEASE + change)
    assert isinstance(book, PriceBook)
    assert book.digest() != DEFAULT_PRICES.digest()
    changed = [meter for meter in Meter if book.of(meter).digest() != DEFAULT_PRICES.of(meter).digest()]
    assert changed == [Meter.MAILBOX_LEASE]


def test_a_layout_is_no_version() -> None:
    """Pinned, because stored digests must be met again after every upgrade."""
    tables = WHOLE.strip().split("[meters.")
    turned = load("".join("[meters." + table + "\n" for table in reversed(tables[1:])))
    assert isinstance(turned, PriceBook)
    assert turned.digest() == DEFAULT_PRICES.digest()
    assert DEFAULT_PRICES.digest().hex() == "39beac2c750bad2388cbd023f66febc385f29563212ac36f5e166ad60a7c2239"


def test_rows_may_come_in_any_order() -> None:
    turned = PriceBook(dict(reversed(list(DEFAULT_PRICES.prices.items()))))
    assert turned.digest() == DEFAULT_PRICES.digest()


def test_a_book_is_not_edited() -> None:
    with pytest.raises(TypeError):
        DEFAULT_PRICES.prices[Meter.MESSAGE_READ] = DEFAULT_PRICES.of(Meter.MESSAGE_READ)  # type: ignore[index]


@pytest.mark.parametrize(
    ("window", "at", "start", "end"),
    [
        (Window.HOUR, "2026-11-20T10:02:24.123456+00:00", "2026-11-20T10:00:00", "2026-11-20T11:00:00"),
        (Window.HOUR, "2026-11-20T10:00:00+00:00", "2026-11-20T10:00:00", "2026-11-20T11:00:00"),
        (Window.HOUR, "2026-11-20T10:59:59.999999+00:00", "2026-11-20T10:00:00", "2026-11-20T11:00:00"),
        (Window.HOUR, "2026-11-20T10:15:00+05:30", "2026-11-20T04:00:00", "2026-11-20T05:00:00"),
        (Window.DAY, "2026-11-20T10:02:24+00:00", "2026-11-20T00:00:00", "2026-11-21T00:00:00"),
        (Window.DAY, "2026-11-20T23:30:00-02:00", "2026-11-21T00:00:00", "2026-11-22T00:00:00"),
        (Window.DAY, "2028-02-28T23:59:59+00:00", "2028-02-28T00:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_windows_stand_on_the_utc_grid(window: Window, at: str, start: str, end: str) -> None:
    moment = datetime.fromisoformat(at)
    assert window.start(moment).isoformat() == start + "+00:00"
    assert window.resets_at(moment).isoformat() == end + "+00:00"


@given(st.sampled_from(Window), st.datetimes(timezones=st.just(UTC), min_value=_year(1980), max_value=_year(2200)))
def test_a_window_holds_its_moment_and_ends_where_the_next_begins(window: Window, at: datetime) -> None:
    assert window.start(at) <= at < window.resets_at(at)
    assert window.start(window.resets_at(at)) == window.resets_at(at)
    assert window.resets_at(window.resets_at(at) - timedelta(microseconds=1)) == window.resets_at(at)


def test_the_payable_routes_are_routes() -> None:
    assert all(normalize(route.method, route.path) == route for route in METERED_ROUTES)
    assert set(METERED_ROUTES.values()) == set(Meter)
    assert METERED_ROUTES[Route("GET", "/v2/messages/wait")] is Meter.MESSAGE_READ
    assert Route("HEAD", "/v2/messages") not in METERED_ROUTES


REPLY = "/v2/messages/msg_01jc7rbt4zfz8v4q5d6g7h8j9k/reply"


@pytest.mark.parametrize(
    ("method", "path", "meter"),
    [
        ("POST", "/v2/messages/send", Meter.MESSAGE_SEND),
        ("POST", REPLY, Meter.MESSAGE_SEND),
        ("POST", f"{REPLY}-all", Meter.MESSAGE_SEND),
        ("POST", REPLY.replace("reply", "forward"), Meter.MESSAGE_SEND),
        ("GET", REPLY, None),
        ("POST", f"{REPLY}/reply", None),
        ("POST", "/v2/messages/reply", None),
        ("POST", REPLY.replace("/reply", "/raw"), None),
        ("POST", "/v2/mailboxes", None),
    ],
)
def test_a_path_with_an_id_in_it_is_metered_too(method: str, path: str, meter: Meter | None) -> None:
    assert meter_of(Route(method, path)) is meter


def test_the_routes_of_a_meter_are_told_as_templates() -> None:
    assert [route.path for route in metered_routes("message.send")] == [
        "/v2/messages/send",
        *(f"/v2/messages/{{message_id}}/{manner}" for manner in ("reply", "reply-all", "forward")),
    ]
    assert set(METERED_TEMPLATES.values()) == {Meter.MESSAGE_SEND}


def test_the_file_that_readme_shows_is_one() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    book = load(shown)
    assert isinstance(book, PriceBook)
    wanted = MeterPrice(Meter.MESSAGE_SEND, 50, Window.DAY, Usdc.parse("0.002"))
    assert book.prices == DEFAULT_PRICES.prices | {Meter.MESSAGE_SEND: wanted}
