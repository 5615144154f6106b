"""Each kind of setting: what it takes, what it refuses, and that hostile text is only ever refused."""

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox import config_text as text_of
from leasebox.admin.model import Role
from leasebox.config import DOCUMENTED, Setting
from leasebox.config_text import Address, AdminWallet, Resolver
from leasebox.values.rate import Rate
from leasebox.values.secret import Secret

Reader = Callable[[str], Any]
WALLET = "0x" + "aB" * 20


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (text_of.directory, "/srv/box", Path("/srv/box")),
        (text_of.address, "127.0.0.1:0", Address("127.0.0.1", 0)),
        (text_of.address, "LocalHost:65535", Address("localhost", 65535)),
        (text_of.address, "[::1]:25", Address("::1", 25)),
        (text_of.address, "[0:0:0:0:0:0:0:1]:25", Address("::1", 25)),
        (text_of.public_url, "https://Mail.Example.com/", "https://mail.example.com"),
        (text_of.public_url, "http://[::1]:8080", "http://[::1]:8080"),
        (text_of.domains, "A.example, b.example.,a.example", ("a.example", "b.example")),
        (text_of.domains, "xn--bcher-kva.example", ("xn--bcher-kva.example",)),
        (text_of.host_name, "MX.Example.com.", "mx.example.com"),
        (text_of.spf, "v=spf1 include:s.example ~all", "v=spf1 include:s.example ~all"),
        (text_of.admin_wallets, f"{WALLET}, {WALLET.lower()}", (AdminWallet(WALLET.lower(), Role.OWNER),)),
        (
            text_of.admin_wallets,
            f"{WALLET}:auditor,0x{'1' * 40}:viewer,0x{'2' * 40}:owner",
            (
                AdminWallet(WALLET.lower(), Role.AUDITOR),
                AdminWallet("0x" + "1" * 40, Role.VIEWER),
                AdminWallet("0x" + "2" * 40, Role.OWNER),
            ),
        ),
        (
            text_of.networks,
            "10.0.0.0/8, 192.0.2.7,fd00::/8",
            tuple(map(ip_network, ("10.0.0.0/8", "192.0.2.7", "fd00::/8"))),
        ),
        (text_of.rate, "60/min", Rate(60, 60)),
        (text_of.rate, "20/h", Rate(20, 3600)),
        (text_of.rate, "120/s", Rate(120, 1)),
        (text_of.rate, "5/d", Rate(5, 86400)),
        (text_of.rate, "0", Rate(0, 1)),
        (text_of.resolver, "system", Resolver("system")),
        (text_of.resolver, "off", Resolver("off")),
        (text_of.resolver, "192.0.2.1", Resolver("servers", (Address("192.0.2.1", 53),))),
        (
            text_of.resolver,
            "192.0.2.1:5353, [::1]:54",
            Resolver("servers", (Address("192.0.2.1", 5353), Address("::1", 54))),
        ),
        (text_of.whole(1, 64), "64", 64),
        (text_of.word("json", "text"), "JSON", "json"),
        (text_of.relay, "smtp://u:p%40@h.example:587", Secret("smtp://u:p%40@h.example:587")),
        (text_of.relay, "smtps://h.example", Secret("smtps://h.example")),
        (text_of.relay, "smtp://u:p@h.example?tls=off", Secret("smtp://u:p@h.example?tls=off")),
        (text_of.database_url, "postgres://u:p@h/d", Secret("postgresql://u:p@h/d")),
        (text_of.database_url, "postgresql+asyncpg://u:p@h/d", Secret("postgresql://u:p@h/d")),
        (
            text_of.database_url,
            "postgresql://u:p@/d?host=/run/pg&port=5432",
            Secret("postgresql://u:p@/d?host=/run/pg&port=5432"),
        ),
        (text_of.redis_url, "unix:///run/valkey?password=x", Secret("unix:///run/valkey?password=x")),
        (text_of.redis_url, "rediss://:p@h:6380/2", Secret("rediss://:p@h:6380/2")),
        (text_of.master_key, "k" * 32, Secret("k" * 32)),
    ],
)
def test_takes(reader: Reader, text: str, value: object) -> None:
    assert reader(text) == value


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (text_of.directory, "box"),
        (text_of.readable, "/nowhere/at/all"),
        (text_of.readable, "/"),
        (text_of.prices, __file__),
        (text_of.programs, "/"),
        (text_of.address, "8080"),
        (text_of.address, ":8080"),
        (text_of.address, "h:65536"),
        (text_of.address, "::1:25"),
        (text_of.address, "[::g]:25"),
        (text_of.address, "h:25\n"),
        (text_of.public_url, "mail.example.com"),
        (text_of.public_url, "https://u@h"),
        (text_of.public_url, "https://h/path"),
        (text_of.public_url, "https://h:0"),
        (text_of.public_url, "https://h:x"),
        (text_of.public_url, "https://[::1"),
        (text_of.domains, ","),
        (text_of.domains, "-a.example"),
        (text_of.domains, "a..example"),
        (text_of.domains, "bücher.example"),
        (text_of.domains, "a_b.example"),
        (text_of.domains, "a" * 64 + ".example"),
        (text_of.domains, ".".join(["a" * 49] * 6)),
        (text_of.host_name, "localhost"),
        (text_of.host_name, "192.0.2.1"),
        (text_of.host_name, "mx_1.example.com"),
        (text_of.host_name, "mx.example.com:25"),
        (text_of.spf, "include:s.example"),
        (text_of.spf, "v=spf1"),
        (text_of.spf, 'v=spf1 "~all"'),
        (text_of.spf, "v=spf1  ~all"),
        (text_of.spf, "v=spf1 " + "a" * 250),
        (text_of.admin_wallets, "0x12"),
        (text_of.admin_wallets, WALLET + ",x"),
        (text_of.admin_wallets, WALLET + ":king"),
        (text_of.admin_wallets, WALLET + ":"),
        (text_of.admin_wallets, WALLET + ":owner:viewer"),
        (text_of.admin_wallets, f"{WALLET}, {WALLET}:viewer"),
        (text_of.networks, "10.0.0.1/8"),
        (text_of.networks, "example.com"),
        (text_of.rate, "60"),
        (text_of.rate, "0/min"),
        (text_of.rate, "-1/s"),
        (text_of.rate, "60/minute"),
        (text_of.rate, "٦٠/min"),
        (text_of.rate, "1" * 20 + "/s"),
        (text_of.resolver, "dns.example"),
        (text_of.resolver, "on"),
        (text_of.whole(1, 64), "65"),
        (text_of.whole(1, 64), "1.0"),
        (text_of.whole(1, 64), "²"),
        (text_of.word("json", "text"), "xml"),
        (text_of.rpc_url, "ipc:///x"),
        (text_of.relay, "smtp://"),
        (text_of.relay, "smtp://h/x"),
        (text_of.relay, "smtp://h?tls=maybe"),
        (text_of.relay, "smtp://h?verify=off"),
        (text_of.relay, "smtps://h?tls=off"),
        (text_of.database_url, "mysql://h/d"),
        (text_of.database_url, "postgresql://"),
        (text_of.database_url, "postgresql:///d"),
        (text_of.database_url, "postgresql://h:x/d"),
        (text_of.redis_url, "http://h"),
        (text_of.master_key, "k" * 31),
    ],
)
def test_refuses(reader: Reader, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        reader(text)


@pytest.mark.parametrize("setting", DOCUMENTED, ids=lambda setting: setting.name)
@given(text=st.text(min_size=1, max_size=80).map(str.strip).filter(lambda text: text and "\0" not in text))
def test_any_text_is_a_value_or_a_refusal_in_one_line(setting: Setting, text: str) -> None:
    assert len(refusal(setting.read, text).splitlines()) <= 1


def refusal(reader: Reader, text: str) -> str:
    try:
        reader(text)
    except ValueError as fault:
        return str(fault) or "two\nlines"
    return ""
