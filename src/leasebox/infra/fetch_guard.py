"""Where we may dial on behalf of somebody else: public unicast addresses, and what the operator allows besides.

Judged is the address that is dialled, after all ways of writing it. The tables are IANA's special-purpose registries
(RFC 6890 and successors) as of 2026; `ipaddress.is_global` says something else in each Python.
"""

from collections.abc import Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Refused(StrEnum):
    """What kind of address it is that must not be dialled."""

    UNSPECIFIED = "unspecified"
    LOOPBACK = "loopback"
    PRIVATE = "private"
    SHARED = "shared"
    LINK_LOCAL = "link_local"
    METADATA = "metadata"
    MULTICAST = "multicast"
    DOCUMENTATION = "documentation"
    BENCHMARKING = "benchmarking"
    TRANSITION = "transition"
    RESERVED = "reserved"


# The first that fits names the kind.
_V4: tuple[tuple[str, Refused], ...] = (
    ("169.254.169.254/32", Refused.METADATA),  # most clouds
    ("169.254.170.2/32", Refused.METADATA),  # AWS ECS
    ("100.100.100.200/32", Refused.METADATA),  # Alibaba
    ("192.0.0.192/32", Refused.METADATA),  # Oracle
    ("168.63.129.16/32", Refused.METADATA),  # Azure's, a public address that answers inside only
    ("0.0.0.0/8", Refused.UNSPECIFIED),
    ("10.0.0.0/8", Refused.PRIVATE),
    ("100.64.0.0/10", Refused.SHARED),  # RFC 6598, carrier-grade NAT
    ("127.0.0.0/8", Refused.LOOPBACK),
    ("169.254.0.0/16", Refused.LINK_LOCAL),
    ("172.16.0.0/12", Refused.PRIVATE),
    ("192.0.0.0/24", Refused.RESERVED),
    ("192.0.2.0/24", Refused.DOCUMENTATION),
    ("192.31.196.0/24", Refused.RESERVED),  # AS112
    ("192.52.193.0/24", Refused.TRANSITION),  # AMT
    ("192.88.99.0/24", Refused.TRANSITION),  # 6to4 relays
    ("192.168.0.0/16", Refused.PRIVATE),
    ("192.175.48.0/24", Refused.RESERVED),  # AS112
    ("198.18.0.0/15", Refused.BENCHMARKING),
    ("198.51.100.0/24", Refused.DOCUMENTATION),
    ("203.0.113.0/24", Refused.DOCUMENTATION),
    ("224.0.0.0/4", Refused.MULTICAST),
    ("240.0.0.0/4", Refused.RESERVED),
)
_V6: tuple[tuple[str, Refused], ...] = (
    ("::/128", Refused.UNSPECIFIED),
    ("::1/128", Refused.LOOPBACK),
    ("fd00:ec2::254/128", Refused.METADATA),  # AWS
    ("fd20:ce::254/128", Refused.METADATA),  # Google
    ("fc00::/7", Refused.PRIVATE),
    ("fec0::/10", Refused.PRIVATE),  # site-local, deprecated
    ("fe80::/10", Refused.LINK_LOCAL),
    ("ff00::/8", Refused.MULTICAST),
    ("2001::/32", Refused.TRANSITION),  # Teredo
    ("2001:2::/48", Refused.BENCHMARKING),
    ("2001:db8::/32", Refused.DOCUMENTATION),
    ("2001::/23", Refused.RESERVED),  # protocol assignments, ORCHID
    ("2002::/16", Refused.TRANSITION),  # 6to4
    ("3fff::/20", Refused.DOCUMENTATION),
    ("64:ff9b:1::/48", Refused.TRANSITION),  # NAT64 into the operator's own network (RFC 8215)
    ("64:ff9b::/96", Refused.TRANSITION),  # NAT64 of an address that is refused itself (RFC 6052 §3.1)
    ("100::/64", Refused.RESERVED),  # discard-only
    ("5f00::/16", Refused.RESERVED),  # segment routing
)
_PARSED = {
    4: tuple((ip_network(text), kind) for text, kind in _V4),
    6: tuple((ip_network(text), kind) for text, kind in _V6),
}
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL = IPv6Network("2000::/3")


def judge(address: Address, allow: Sequence[Network] = ()) -> Refused | None:
    """Why an address must not be dialled; None: it may be, since it is public or in one of the networks `allow`.

    An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as itself; 6to4 and Teredo are refused whatever they
    carry, as are IPv6 addresses outside 2000::/3 (RFC 4291 §2.4).
    """
    address = plain(address)
    if any(address.version == network.version and address in network for network in allow):
        return None
    if isinstance(address, IPv6Address) and address in _NAT64 and judge(_carried(address)) is None:
        return None
    found = next((kind for network, kind in _PARSED[address.version] if address in network), None)
    if found is None and isinstance(address, IPv6Address) and address not in _GLOBAL:
        return Refused.RESERVED
    return found


def plain(address: Address) -> Address:
    """The IPv4 address behind a mapped one (`::ffff:…`, RFC 4291 §2.5.5.2), and no zone: what a socket would dial."""
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)
    return address


def _carried(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)
