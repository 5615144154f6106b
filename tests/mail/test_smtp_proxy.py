"""The PROXY protocol, both versions: read whole, in pieces, and refused when it is none."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.mail.smtp_proxy import SIGNATURE, NoHeader, Proxied, read_proxy

V4 = bytes([192, 0, 2, 9, 192, 0, 2, 1]) + struct.pack("!HH", 40_000, 25)
V6 = bytes.fromhex("20010db8000000000000000000000009" + "20010db8" + "00" * 12) + struct.pack("!HH", 40_000, 25)


def _v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(block)) + block


WHOLE = [
    (b"PROXY TCP4 192.0.2.9 192.0.2.1 40000 25\r\n", "192.0.2.9"),
    (b"PROXY TCP6 2001:db8::9 2001:db8::1 40000 25\r\n", "2001:db8::9"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff 1 2 3\r\n", None),
    (_v2(0x21, 0x11, V4), "192.0.2.9"),
    (_v2(0x21, 0x21, V6), "2001:db8::9"),
    (_v2(0x21, 0x11, V4 + b"\x03\x00\x04abcd"), "192.0.2.9"),
    (_v2(0x20, 0x00, b""), None),
    (_v2(0x20, 0x11, V4), None),
    (_v2(0x21, 0x31, bytes(216)), None),
]


@pytest.mark.parametrize(("header", "client_ip"), WHOLE)
def test_whole_header(header: bytes, client_ip: str | None) -> None:
    assert read_proxy(header + b"EHLO x\r\n") == Proxied(client_ip, len(header))


@pytest.mark.parametrize("header", [header for header, _ in WHOLE])
def test_header_in_pieces(header: bytes) -> None:
    assert {read_proxy(header[:end]) for end in range(len(header))} == {NoHeader.INCOMPLETE}


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO x\r\n",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"proxy TCP4 192.0.2.9 192.0.2.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1 65536\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 -1 25\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1  25\r\n",
        b"PROXY TCP4 2001:db8::9 192.0.2.1 1 25\r\n",
        b"PROXY TCP6 192.0.2.9 192.0.2.1 1 25\r\n",
        b"PROXY TCP4 0300.0.2.9 192.0.2.1 1 25\r\n",
        b"PROXY TCP4 localhost 192.0.2.1 1 25\r\n",
        b"PROXY TCP4 \xd9\xa1.0.2.9 192.0.2.1 1 25\r\n",
        b"PROXY UDP4 192.0.2.9 192.0.2.1 1 25\r\n",
        b"PROXY TCP4 192.0.2.9 192.0.2.1 1 25\n" + b"x" * 100,
        b"PROXY UNKNOWN " + b"x" * 100,
        _v2(0x11, 0x11, V4),
        _v2(0x22, 0x11, V4),
        _v2(0x21, 0x11, V4[:-1]),
        _v2(0x21, 0x21, V4),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_malformed(octets: bytes) -> None:
    assert read_proxy(octets) is NoHeader.MALFORMED


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=300))
def test_it_is_total(head: bytes, octets: bytes) -> None:
    found = read_proxy(head + octets)
    assert isinstance(found, NoHeader) or 0 < found.octets <= len(head + octets)
