"""Which addresses are dialled: a table of all kinds that are not, their neighbours, and the operator's exceptions."""

from ipaddress import ip_address, ip_network

import pytest

from leasebox.infra.fetch_guard import judge, plain

REFUSED = """
0.0.0.0 unspecified
0.1.2.3 unspecified
10.0.0.0 private
10.255.255.255 private
100.64.0.0 shared
100.127.255.255 shared
100.100.100.200 metadata
127.0.0.1 loopback
127.255.255.254 loopback
168.63.129.16 metadata
169.254.0.1 link_local
169.254.169.254 metadata
169.254.170.2 metadata
169.254.255.255 link_local
172.16.0.0 private
172.31.255.255 private
192.0.0.1 reserved
192.0.0.192 metadata
192.0.2.55 documentation
192.31.196.1 reserved
192.52.193.1 transition
192.88.99.1 transition
192.168.0.1 private
192.168.255.255 private
192.175.48.1 reserved
198.18.0.1 benchmarking
198.19.255.255 benchmarking
198.51.100.7 documentation
203.0.113.9 documentation
224.0.0.1 multicast
239.255.255.255 multicast
240.0.0.1 reserved
255.255.255.255 reserved
:: unspecified
::1 loopback
::127.0.0.1 reserved
::8.8.8.8 reserved
::ffff:0.0.0.0 unspecified
::ffff:10.1.2.3 private
::ffff:127.0.0.1 loopback
::ffff:169.254.169.254 metadata
::ffff:192.168.1.1 private
::ffff:0:127.0.0.1 reserved
64:ff9b::7f00:1 transition
64:ff9b::a00:1 transition
64:ff9b::a9fe:a9fe transition
64:ff9b:0:0:0:1:808:808 reserved
64:ff9b:1::7f00:1 transition
64:ff9b:1::808:808 transition
100::1 reserved
2001::1 transition
2001:0:7f00:1:: transition
2001:2::1 benchmarking
2001:10::1 reserved
2001:20::1 reserved
2001:db8::1 documentation
2002:7f00:1::1 transition
2002:808:808::1 transition
3fff::1 documentation
4000::1 reserved
5f00::1 reserved
fc00::1 private
fd00:ec2::254 metadata
fd12:3456:789a::1 private
fd20:ce::254 metadata
fe80::1 link_local
fe80::1%eth0 link_local
febf::1 link_local
fec0::1 private
ff02::1 multicast
ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff multicast
"""
PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
172.15.255.255 172.32.0.0 192.0.1.0 192.0.3.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
::ffff:8.8.8.8 64:ff9b::808:808 2001:200::1 2003::1 2400:cb00::1 2606:4700::1111 2a00:1450::1 3ffe::1
"""


@pytest.mark.parametrize("line", REFUSED.split("\n")[1:-1])
def test_what_is_not_public_is_refused_by_its_kind(line: str) -> None:
    text, kind = line.split()
    assert judge(ip_address(text)) == kind


@pytest.mark.parametrize("text", PUBLIC.split())
def test_what_is_public_may_be_dialled(text: str) -> None:
    assert judge(ip_address(text)) is None


@pytest.mark.parametrize(
    ("text", "allowed", "may"),
    [
        ("127.0.0.1", "127.0.0.0/8", True),
        ("::ffff:127.0.0.1", "127.0.0.0/8", True),
        ("127.0.0.1", "10.0.0.0/8", False),
        ("10.20.30.40", "10.20.0.0/16", True),
        ("10.21.30.40", "10.20.0.0/16", False),
        ("169.254.169.254", "169.254.169.254/32", True),
        ("64:ff9b::7f00:1", "127.0.0.0/8", False),
        ("64:ff9b::7f00:1", "64:ff9b::/96", True),
        ("::1", "127.0.0.0/8", False),
        ("::1", "::1/128", True),
        ("fd12::1", "fd00::/8", True),
        ("8.8.8.8", "127.0.0.0/8", True),
    ],
)
def test_the_operator_may_allow_networks(text: str, allowed: str, may: object) -> None:
    assert (judge(ip_address(text), (ip_network(allowed),)) is None) is may


def test_mapped_addresses_and_zones_are_made_plain() -> None:
    assert str(plain(ip_address("::ffff:1.2.3.4"))) == "1.2.3.4"
    assert str(plain(ip_address("fe80::1%eth0"))) == "fe80::1"
