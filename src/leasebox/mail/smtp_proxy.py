"""The PROXY protocol, versions 1 and 2: for whom a proxy says it speaks (haproxy.org, proxy-protocol.txt)."""

import ipaddress
import struct
from dataclasses import dataclass
from enum import Enum

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1_OCTETS = 107
V2_OCTETS = 16 + 2_048
_V2_HEAD = struct.Struct("!12sBBH")
_V2_ADDRESS_OCTETS = {0x11: 4, 0x21: 16}


@dataclass(frozen=True, slots=True)
class Proxied:
    """A whole header of `octets` length. `client_ip` is None if the proxy speaks for itself (LOCAL, UNKNOWN)."""

    client_ip: str | None
    octets: int


class NoHeader(Enum):
    """What came is no header (MALFORMED), or not yet one (INCOMPLETE)."""

    INCOMPLETE = 1
    MALFORMED = 2


def read_proxy(octets: bytes) -> Proxied | NoHeader:
    """Read the header that `octets` begin with. Pure and total; reads at most 2,064 octets."""
    if octets[: len(SIGNATURE)] == SIGNATURE[: len(octets)]:
        return _read_v2(octets)
    if octets[:6] == b"PROXY "[: len(octets)]:
        return _read_v1(octets[:V1_OCTETS])
    return NoHeader.MALFORMED


def _read_v1(octets: bytes) -> Proxied | NoHeader:
    end = octets.find(b"\r\n")
    if end < 0:
        return NoHeader.MALFORMED if len(octets) >= V1_OCTETS else NoHeader.INCOMPLETE
    words = octets[:end].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return Proxied(None, end + 2)
    if len(words) != 6 or words[1] not in {"TCP4", "TCP6"} or not all(map(_is_port, words[4:])):
        return NoHeader.MALFORMED
    try:
        client = ipaddress.ip_address(words[2])
        server = ipaddress.ip_address(words[3])
    except ValueError:
        return NoHeader.MALFORMED
    version = 4 if words[1] == "TCP4" else 6
    if client.version != version or server.version != version:
        return NoHeader.MALFORMED
    return Proxied(str(client), end + 2)


def _is_port(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= 5 and int(text) < 65_536


def _read_v2(octets: bytes) -> Proxied | NoHeader:
    if len(octets) < _V2_HEAD.size:
        return NoHeader.INCOMPLETE
    _, command, family, length = _V2_HEAD.unpack_from(octets)
    end = _V2_HEAD.size + length
    if command not in {0x20, 0x21} or end > V2_OCTETS:
        return NoHeader.MALFORMED
    if len(octets) < end:
        return NoHeader.INCOMPLETE
    size = _V2_ADDRESS_OCTETS.get(family)
    if command == 0x20 or size is None:
        return Proxied(None, end)
    # Source and destination address, then two ports.
    if length < 2 * size + 4:
        return NoHeader.MALFORMED
    return Proxied(str(ipaddress.ip_address(octets[_V2_HEAD.size : _V2_HEAD.size + size])), end)
