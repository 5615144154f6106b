"""The counts that keep one client, or all of them, from taking the machine."""

import ipaddress

import pytest

from leasebox.mail.smtp_limits import Entry, Gate, Limits, Memory, client_address, client_key, is_within


def test_defaults_are_those_of_the_contract() -> None:
    limits = Limits()
    assert (limits.per_client, limits.command_s, limits.stall_s, limits.mail_s) == (30, 60, 120, 600)
    assert limits.memory_octets == 256 * 1024 * 1024


def test_gate_counts_all() -> None:
    gate = Gate(Limits(connections=2))
    assert [gate.enter(), gate.enter(), gate.enter()] == [Entry.ADMITTED, Entry.ADMITTED, Entry.SERVER_FULL]
    gate.leave()
    assert gate.enter() is Entry.ADMITTED


def test_gate_counts_each_client() -> None:
    gate = Gate(Limits(per_client=2))
    assert [gate.name("a"), gate.name("a"), gate.name("a")] == [Entry.ADMITTED, Entry.ADMITTED, Entry.CLIENT_FULL]
    assert gate.name("b") is Entry.ADMITTED
    gate.unname("a")
    assert [gate.name("a"), gate.name("a")] == [Entry.ADMITTED, Entry.CLIENT_FULL]


def test_zero_turns_the_bound_per_client_off() -> None:
    gate = Gate(Limits(per_client=0))
    assert {gate.name("a") for _ in range(100)} == {Entry.ADMITTED}


def test_memory_is_full_above_its_limit() -> None:
    memory = Memory(10)
    seen = []
    for octets in (10, 1, -11):
        memory.change(octets)
        seen.append((memory.held, memory.full))
    assert seen == [(10, False), (11, True), (0, False)]


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_one_client_is_one_key(peer: str, key: str) -> None:
    assert client_key(client_address(peer)) == key


def test_trusted_networks() -> None:
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))
    inside = [is_within(client_address(peer), networks) for peer in ("10.1.2.3", "::ffff:10.1.2.3", "::1")]
    outside = [is_within(client_address(peer), networks) for peer in ("11.1.2.3", "::2", "192.0.2.7")]
    assert (inside, outside) == ([True] * 3, [False] * 3)
