"""Names to addresses, asked of a real DNS server on loopback."""

import asyncio
import time
from ipaddress import ip_address

import pytest

from leasebox.infra.fetch_names import CACHE_FAILED_S, CACHE_NAMES, CACHE_S, DnsNames
from leasebox.infra.lookups import LookupFailed
from tests.fakes.name_server import NameServer, name_server

ZONE = {
    ("both.example", "A"): ["192.0.2.1", "192.0.2.2"],
    ("both.example", "AAAA"): ["2001:db8::1"],
    ("six.example", "AAAA"): ["2001:db8::6"],
}


def zone(name: str, kind: str, times: int) -> list[str]:
    del times
    return ZONE.get((name, kind), [])


def names(server: NameServer, **more: object) -> DnsNames:
    return DnsNames((("127.0.0.1", server.port),), **more)  # type: ignore[arg-type]


async def test_all_addresses_of_a_name_are_found_ipv4_first() -> None:
    async with name_server(zone) as server:
        found = await names(server).addresses("both.example")
        assert {str(each) for each in found[:2]} == {"192.0.2.1", "192.0.2.2"}, "in whatever order they came"
        assert str(found[2]) == "2001:db8::1"
        assert await names(server).addresses("six.example") == (ip_address("2001:db8::6"),)


async def test_a_name_without_addresses_is_a_failure() -> None:
    async with name_server(zone) as server:
        with pytest.raises(LookupFailed):
            await names(server).addresses("nothing.example")


async def test_silence_is_a_failure_in_time_and_holds_up_no_other_name() -> None:
    async with name_server(lambda name, kind, times: None if name == "silent.example" else zone(name, kind, times)) as (
        server
    ):
        asked, began = names(server, timeout_s=2.0), time.monotonic()
        silent = asyncio.create_task(asked.addresses("silent.example"))
        assert await asked.addresses("both.example")
        assert time.monotonic() - began < 1.9
        with pytest.raises(LookupFailed):
            await silent
        assert time.monotonic() - began < 8


async def test_one_kind_of_record_is_enough() -> None:
    async with name_server(lambda _, kind, __: ["192.0.2.9"] if kind == "A" else None) as server:
        found = await names(server, timeout_s=0.3).addresses("half.example")
        assert found == (ip_address("192.0.2.9"),)


async def test_answers_are_kept_for_their_ttl_and_no_longer_than_a_minute() -> None:
    now = 0.0
    async with name_server(lambda _, kind, times: [f"192.0.2.{times + 1}"] if kind == "A" else [], ttl=3600) as server:
        asked = names(server, monotonic=lambda: now)
        assert str((await asked.addresses("long.example"))[0]) == "192.0.2.1"
        now = CACHE_S - 1
        assert str((await asked.addresses("long.example"))[0]) == "192.0.2.1"
        now = CACHE_S + 1
        assert str((await asked.addresses("long.example"))[0]) == "192.0.2.2"


async def test_a_ttl_of_nothing_is_asked_for_each_time_and_failures_are_remembered_briefly() -> None:
    now = 100.0
    async with name_server(lambda name, kind, times: ["192.0.2.1"] if (name, kind) == ("a.example", "A") else []) as (
        server
    ):
        asked = names(server, monotonic=lambda: now)
        await asked.addresses("a.example")
        await asked.addresses("a.example")
        assert server.asked["A a.example"] == 2
        for _ in range(2):
            with pytest.raises(LookupFailed):
                await asked.addresses("b.example")
        assert server.asked["A b.example"] == 1
        now += CACHE_FAILED_S + 1
        with pytest.raises(LookupFailed):
            await asked.addresses("b.example")
        assert server.asked["A b.example"] == 2


async def test_many_who_ask_at_once_ask_once() -> None:
    async with name_server(zone) as server:
        asked = names(server)
        found = await asyncio.gather(*(asked.addresses("both.example") for _ in range(50)))
        assert len(set(found)) == 1
        assert server.asked["A both.example"] == 1


async def test_who_gives_up_does_not_take_the_answer_from_others() -> None:
    async with name_server(zone) as server:
        asked = names(server)
        first, second = (asyncio.create_task(asked.addresses("both.example")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert len(await second) == 3


async def test_the_cache_is_bounded() -> None:
    async with name_server(lambda _, kind, __: ["192.0.2.1"] if kind == "A" else [], ttl=60) as server:
        asked = names(server)
        asked._cache.update({f"{number}.example": (1e12, ()) for number in range(CACHE_NAMES)})
        await asked.addresses("one-more.example")
        assert len(asked._cache) == CACHE_NAMES


async def test_localhost_is_here_and_with_dns_off_nothing_else_is() -> None:
    asked = DnsNames(None)
    for name in ("localhost", "app.localhost"):
        assert [str(each) for each in await asked.addresses(name)] == ["127.0.0.1", "::1"]
    with pytest.raises(LookupFailed):
        await asked.addresses("both.example")
