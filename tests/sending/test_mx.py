"""Which hosts take a domain's mail."""

import ipaddress
import random

import pytest

from leasebox.infra.fetch_guard import judge
from leasebox.sending.mx import MAX_HOSTS, ByMx, ordered
from leasebox.sending.relay import NoRoute, Tls
from leasebox.sending.transport_reply import reply
from tests.fakes.dns import FakeDns

OURS = ("mx.here.example", "here.example")


def keep(names: list[str]) -> None:
    """As DNS gave them."""


def by_mx(zone: dict[str, object], silent: tuple[str, ...] = (), allow: tuple[str, ...] = ()) -> ByMx:
    networks = tuple(map(ipaddress.ip_network, allow))
    dns = FakeDns(zone, silent)  # type: ignore[arg-type]
    return ByMx(dns, OURS, lambda address: judge(address, networks) is None, shuffle=keep)


async def hosts(router: ByMx, destination: str = "there.example") -> list[tuple[str, str]]:
    return [(host.name, host.address) for host in (await router.route(destination)).hosts]


async def refusal(router: ByMx, destination: str = "there.example") -> tuple[int | None, str]:
    with pytest.raises(NoRoute) as nowhere:
        await router.route(destination)
    return nowhere.value.reply.code, nowhere.value.reply.text


async def test_hosts_come_by_preference_each_with_all_its_addresses() -> None:
    router = by_mx(
        {
            "mx there.example": [(20, "b.there.example"), (10, "a.there.example")],
            "a a.there.example": ["9.9.9.1", "9.9.9.2"],
            "aaaa a.there.example": ["2620:fe::1"],
            "a b.there.example": ["9.9.9.3"],
        }
    )
    assert await hosts(router) == [
        ("a.there.example", "9.9.9.1"),
        ("a.there.example", "9.9.9.2"),
        ("a.there.example", "2620:fe::1"),
        ("b.there.example", "9.9.9.3"),
    ]
    route = await router.route("there.example")
    assert route.key == "there.example"
    assert {(host.port, host.tls) for host in route.hosts} == {(25, Tls.MAY)}


async def test_without_mx_it_is_the_domain_itself() -> None:
    assert await hosts(by_mx({"a there.example": ["9.9.9.1"]})) == [("there.example", "9.9.9.1")]


async def test_equals_are_shuffled_and_only_equals() -> None:
    records = [(10, f"a{n}.example") for n in range(6)] + [(20, f"b{n}.example") for n in range(6)]
    orders = {tuple(ordered("x.example", records, frozenset(), random.Random(seed).shuffle)) for seed in range(30)}
    assert len(orders) > 20
    assert all({name[0] for name in order[:6]} == {"a"} for order in orders)


async def test_null_mx_is_a_refusal_for_good() -> None:
    for host in (".", ""):
        assert await refusal(by_mx({"mx there.example": [(0, host)]})) == (
            556,
            "5.1.10 there.example takes no mail (null MX)",
        )


async def test_a_null_mx_beside_others_is_ignored() -> None:
    zone: dict[str, object] = {"mx there.example": [(0, "."), (10, "a.example")], "a a.example": ["9.9.9.1"]}
    assert await hosts(by_mx(zone)) == [("a.example", "9.9.9.1")]


async def test_a_domain_that_does_not_exist_fails_at_once() -> None:
    assert await refusal(by_mx({})) == (550, "5.1.2 there.example has no mail server: neither MX nor address")


async def test_silence_of_dns_is_worth_a_retry() -> None:
    zone: dict[str, object] = {"mx there.example": [(10, "a.example")]}
    assert (await refusal(by_mx(zone, ("there.example",))))[0] == 451
    assert (await refusal(by_mx(zone, ("a.example",))))[0] == 451
    zone["mx there.example"] = [(10, "a.example"), (20, "b.example")]
    zone["a b.example"] = ["9.9.9.1"]
    assert await hosts(by_mx(zone, ("a.example",))) == [("b.example", "9.9.9.1")]


async def test_mail_does_not_come_back_to_ourselves() -> None:
    zone: dict[str, object] = {
        "mx there.example": [(10, "a.example"), (20, "MX.here.example."), (20, "b.example"), (30, "c.example")],
        "a a.example": ["9.9.9.1"],
        "a b.example": ["9.9.9.2"],
        "a c.example": ["9.9.9.3"],
    }
    assert await hosts(by_mx(zone)) == [("a.example", "9.9.9.1")]
    zone["mx there.example"] = [(10, "mx.here.example"), (20, "c.example")]
    assert (await refusal(by_mx(zone)))[1].startswith("5.4.6 ")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1", "fe80::1", "fd00::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "255.255.255.255"],
)  # fmt: skip
async def test_a_private_address_is_never_dialled(address: str) -> None:
    kind = "aaaa" if ":" in address else "a"
    zone: dict[str, object] = {"mx there.example": [(10, "a.example")], f"{kind} a.example": [address]}
    code, text = await refusal(by_mx(zone))
    assert (code, text) == (550, "5.7.1 Mail for there.example would go to a private address, which is not allowed")
    assert not reply("route", code, text).is_hard_bounce, "the address may be good; it is we who do not dial it"
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    assert (await refusal(by_mx({}), literal))[0] == 550


async def test_the_operator_may_allow_networks_and_public_ones_are_left() -> None:
    zone: dict[str, object] = {
        "mx there.example": [(10, "a.example")],
        "a a.example": ["10.1.2.3", "127.0.0.1", "9.9.9.9"],
    }
    assert await hosts(by_mx(zone)) == [("a.example", "9.9.9.9")]
    assert await hosts(by_mx(zone, allow=("10.0.0.0/8",))) == [("a.example", "10.1.2.3"), ("a.example", "9.9.9.9")]


async def test_address_literals_need_no_dns() -> None:
    router = by_mx({}, ("*",))
    assert await hosts(router, "[9.9.9.9]") == [("[9.9.9.9]", "9.9.9.9")]
    assert await hosts(router, "[IPv6:2620:fe::fe]") == [("[IPv6:2620:fe::fe]", "2620:fe::fe")]


async def test_no_more_than_a_few_are_tried() -> None:
    zone: dict[str, object] = {"mx there.example": [(n, f"h{n}.example") for n in range(50)]}
    zone |= {f"a h{n}.example": [f"9.9.{n}.{m}" for m in range(20)] for n in range(50)}
    assert len(await hosts(by_mx(zone))) == MAX_HOSTS
