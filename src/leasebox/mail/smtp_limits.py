"""How much of this machine mail coming in may take: time, connections, memory."""

import ipaddress
from collections import Counter
from dataclasses import dataclass
from enum import Enum

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server. Times in seconds, memory in octets; `per_client` 0 means no bound.

    command_s: to finish one command. stall_s: without an octet of content. mail_s: from one stored mail (or the
    start) to the next. proxy_s: for the PROXY header. handshake_s: for TLS. rate_s: for the rate port to answer.
    linger_s: to let a client read our last words. memory_octets: of all mail that is not stored yet, together.
    """

    connections: int = 2_000
    per_client: int = 30
    memory_octets: int = 268_435_456
    command_s: float = 60.0
    stall_s: float = 120.0
    mail_s: float = 600.0
    proxy_s: float = 5.0
    handshake_s: float = 20.0
    rate_s: float = 2.0
    linger_s: float = 2.0


class Entry(Enum):
    """What the gate says to a new connection."""

    ADMITTED = 1
    CLIENT_FULL = 2
    SERVER_FULL = 3


class Gate:
    """Counts open connections, in all and per client."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._clients: Counter[str] = Counter()
        self._open = 0

    def enter(self) -> Entry:
        """Count a connection whose client is not known yet; refused ones are not counted."""
        if self._open >= self._limits.connections:
            return Entry.SERVER_FULL
        self._open += 1
        return Entry.ADMITTED

    def name(self, client: str) -> Entry:
        """Count an entered connection as this client's; refused ones stay entered only."""
        if 0 < self._limits.per_client <= self._clients[client]:
            return Entry.CLIENT_FULL
        self._clients[client] += 1
        return Entry.ADMITTED

    def unname(self, client: str) -> None:
        """Undo one `name`."""
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]

    def leave(self) -> None:
        """Undo one `enter`."""
        self._open -= 1


class Memory:
    """Octets of mail in flight, over all connections."""

    def __init__(self, limit_octets: int) -> None:
        self._limit = limit_octets
        self.held = 0

    def change(self, octets: int) -> None:
        """Take (or, below zero, give back) octets; it has happened already, so it is never refused."""
        self.held += octets

    @property
    def full(self) -> bool:
        """Whether more is held than may be."""
        return self.held > self._limit


def client_address(text: str) -> IPAddress:
    """A peer's address; IPv4 within IPv6 is IPv4, a zone is dropped. Raises ValueError if it is none."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def client_key(address: IPAddress) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64, which is one subscriber's (RFC 6177)."""
    if address.version == 4:
        return str(address)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def is_within(address: IPAddress, networks: tuple[IPNetwork, ...]) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)
