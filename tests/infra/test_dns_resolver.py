"""The resolver over real packets, held to the same table as the fake; and what it does when nobody answers."""

from collections.abc import Iterator

import pytest

from leasebox.infra import dns_resolver
from leasebox.infra.dns_resolver import DnsResolver
from leasebox.infra.lookups import LookupFailed, Record, Resolver
from tests.fakes.dns import FakeDns
from tests.fakes.zone_server import ZoneServer

ZONE: dict[str, list[Record]] = {
    "txt acme.example": [b"v=spf1 -all", b"joined"],
    "a acme.example": ["192.0.2.1", "192.0.2.2"],
    "aaaa acme.example": ["2001:db8::1"],
    "mx acme.example": [(10, "mx.acme.example")],
    "ptr 1.2.0.192.in-addr.arpa": ["mx.acme.example"],
}
WIRE = {
    "txt acme.example": ['"v=spf1 -all"', '"joi" "ned"'],
    "a acme.example": ["192.0.2.1", "192.0.2.2"],
    "aaaa acme.example": ["2001:db8::1"],
    "mx acme.example": ["10 mx.acme.example."],
    "ptr 1.2.0.192.in-addr.arpa": ["mx.acme.example."],
}


@pytest.fixture
def server() -> Iterator[ZoneServer]:
    with ZoneServer(WIRE, broken=["silent.example"]) as running:
        yield running


class Watch:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def resolver_to(server: ZoneServer, watch: Watch) -> DnsResolver:
    return DnsResolver(nameservers=(("127.0.0.1", server.port),), timeout_s=0.25, monotonic=watch)


@pytest.fixture(params=["real", "fake"])
def either(request: pytest.FixtureRequest, server: ZoneServer) -> Resolver:
    return resolver_to(server, Watch()) if request.param == "real" else FakeDns(ZONE, ["silent.example"])


def test_records_are_found(either: Resolver) -> None:
    assert sorted(either.txt("acme.example")) == [b"joined", b"v=spf1 -all"]
    assert sorted(either.a("ACME.example.")) == ["192.0.2.1", "192.0.2.2"]
    assert either.aaaa("acme.example") == ("2001:db8::1",)
    assert either.mx("acme.example") == ((10, "mx.acme.example"),)
    assert either.ptr("1.2.0.192.in-addr.arpa") == ("mx.acme.example",)


def test_what_is_not_there_is_empty(either: Resolver) -> None:
    assert either.txt("nowhere.example") == ()
    assert either.ptr("acme.example") == ()


def test_no_answer_is_a_failure(either: Resolver) -> None:
    with pytest.raises(LookupFailed):
        either.txt("silent.example")


def test_an_answer_too_long_for_udp_is_fetched_over_tcp(server: ZoneServer) -> None:
    texts = [f"{number:03}" + "x" * 200 for number in range(20)]
    server.publish({"txt long.example": [f'"{text}"' for text in texts]})
    assert sorted(resolver_to(server, Watch()).txt("long.example")) == [text.encode() for text in texts]


def test_answers_are_kept_for_their_time(server: ZoneServer) -> None:
    watch = Watch()
    resolver = resolver_to(server, watch)
    for _ in range(3):
        assert resolver.a("acme.example")
        assert resolver.a("nowhere.example") == ()
    assert server.questions == 2
    watch.now += 61
    assert resolver.a("acme.example")
    assert server.questions == 3


def test_the_cache_is_bounded(server: ZoneServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_resolver, "CACHE_NAMES", 2)
    resolver = resolver_to(server, Watch())
    for name in ("a.example", "b.example", "c.example"):
        resolver.a(name)
    assert len(resolver._cache) == 2


def test_a_dead_resolver_is_left_alone_for_a_minute(server: ZoneServer) -> None:
    watch = Watch()
    resolver = resolver_to(server, watch)
    server.mute = True
    for _ in range(5):
        with pytest.raises(LookupFailed):
            resolver.a("acme.example")
    asked = server.questions
    assert asked <= 4  # dnspython asks more than once within a timeout
    server.mute = False
    watch.now += dns_resolver.SILENT_S + 1
    assert resolver.a("acme.example")
    assert server.questions == asked + 1


def test_who_asks_for_strangers_domains_may_go_on_after_any_silence(server: ZoneServer) -> None:
    resolver = DnsResolver(nameservers=(("127.0.0.1", server.port),), timeout_s=0.25, silent_after=1000)
    server.mute = True
    for _ in range(4):
        with pytest.raises(LookupFailed):
            resolver.a("acme.example")
    server.mute = False
    assert resolver.a("acme.example")


@pytest.mark.parametrize("name", ["a..example", "a" * 64 + ".example", "x." * 200 + "example"])
def test_names_that_are_none_fail(server: ZoneServer, name: str) -> None:
    with pytest.raises(LookupFailed):
        resolver_to(server, Watch()).a(name)
    assert server.questions == 0


def test_a_machine_without_servers_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_resolver, "_stub", lambda _: None)
    with pytest.raises(LookupFailed):
        DnsResolver().txt("acme.example")
