"""The relay's URL, and the ways without one."""

import pytest

from leasebox.sending.relay import ByRelay, NoRoute, Nowhere, Tls, relay_route
from leasebox.values.secret import Secret


@pytest.mark.parametrize(
    ("url", "port", "tls", "implicit", "login"),
    [
        ("smtp://relay.example", 587, Tls.MAY, False, None),
        ("smtp://relay.example:25", 25, Tls.MAY, False, None),
        ("smtp://relay.example:25?tls=off", 25, Tls.OFF, False, None),
        ("smtp://me:pa%40ss@relay.example", 587, Tls.VERIFIED, False, ("me", "pa@ss")),
        ("smtp://me%40x.example:p@relay.example/?tls=require", 587, Tls.MUST, False, ("me@x.example", "p")),
        ("smtp://me:p@relay.example?tls=off", 587, Tls.OFF, False, ("me", "p")),
        ("smtps://me:p@relay.example", 465, Tls.VERIFIED, True, ("me", "p")),
        ("smtps://relay.example:4650?tls=require", 4650, Tls.MUST, True, None),
        ("smtp://[::1]:2525", 2525, Tls.MAY, False, None),
    ],
)
def test_what_a_url_says(url: str, port: int, tls: Tls, implicit: bool, login: tuple[str, str] | None) -> None:
    route = relay_route(Secret(url))
    [host] = route.hosts
    assert (host.port, host.tls, host.implicit) == (port, tls, implicit)
    assert (route.login and (route.login.user, route.login.password.reveal())) == login


@pytest.mark.parametrize(
    "url",
    [
        "http://relay.example",
        "smtp://",
        "smtp://h:0",
        "smtp://u:c4n4ry@h?tls=maybe",
        "smtp://u:c4n4ry@h?tls=off&tls=verify",
        "smtp://u:c4n4ry@h?x=1",
        "smtps://u:c4n4ry@h?tls=off",
        "smtps://u:c4n4ry@h?tls=opportunistic",
        "smtp://u:c4n4ry@h:99999",
    ],
)
def test_what_is_no_relay(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        relay_route(Secret(url))
    assert "c4n4ry" not in str(refused.value)


async def test_all_go_the_same_way_by_a_relay() -> None:
    route = relay_route(Secret("smtp://relay.example"))
    router = ByRelay(route)
    assert await router.route("a.example") is await router.route("b.example") is route
    assert "c4n4ry" not in repr(relay_route(Secret("smtp://u:c4n4ry@relay.example")))


async def test_without_relay_and_dns_there_is_no_way_for_now() -> None:
    with pytest.raises(NoRoute) as nowhere:
        await Nowhere().route("a.example")
    assert (nowhere.value.reply.code, "LEASEBOX_RELAY" in nowhere.value.reply.text) == (450, True)
