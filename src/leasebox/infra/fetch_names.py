"""Names to addresses for outgoing HTTP: asynchronous, so that a name server that is silent holds up nobody else."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Protocol

import dns.asyncresolver
import dns.exception
import dns.resolver
from dns.nameserver import Do53Nameserver

from leasebox.infra.fetch_guard import Address
from leasebox.infra.lookups import LookupFailed

CACHE_NAMES: Final = 4096
CACHE_S: Final = 60.0
"""Answers are kept for their TTL, at most this long."""
CACHE_FAILED_S: Final = 5.0
MOST_ADDRESSES: Final = 16
_HERE: Final = (IPv4Address("127.0.0.1"), IPv6Address("::1"))


class Names(Protocol):
    """Looks host names up. Raises LookupFailed, also for a name that has no address."""

    async def addresses(self, name: str) -> tuple[Address, ...]: ...


class DnsNames:
    """Asks the machine's name servers, or these (host, port); None: asks nobody, and only `localhost` has an address.

    Questions that are asked at once become one; answers are kept for a short time.
    """

    def __init__(
        self,
        nameservers: tuple[tuple[str, int], ...] | None = (),
        *,
        timeout_s: float = 4.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stub = None if nameservers is None else _stub(nameservers)
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._cache: OrderedDict[str, tuple[float, tuple[Address, ...]]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[tuple[Address, ...]]] = {}

    async def addresses(self, name: str) -> tuple[Address, ...]:
        """All addresses of a name, IPv4 first. Raises LookupFailed."""
        if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 §6.3
            return _HERE
        until, found = self._cache.get(name, (0.0, ()))
        if until <= self._monotonic():
            asking = self._asking.get(name)
            if asking is None:
                asking = self._asking[name] = asyncio.create_task(self._ask(name))
                asking.add_done_callback(lambda _: self._asking.pop(name, None))
            found = await asyncio.shield(asking)
        if not found:
            raise LookupFailed(name)
        return found

    async def _ask(self, name: str) -> tuple[Address, ...]:
        answers = await asyncio.gather(self._records(name, "A"), self._records(name, "AAAA"))
        found = tuple(address for _, addresses in answers for address in addresses)[:MOST_ADDRESSES]
        keep_s = min(keep_s for keep_s, _ in answers) if found else CACHE_FAILED_S
        self._cache[name] = (self._monotonic() + keep_s, found)
        self._cache.move_to_end(name)
        while len(self._cache) > CACHE_NAMES:
            self._cache.popitem(last=False)
        return found

    async def _records(self, name: str, kind: str) -> tuple[float, list[Address]]:
        """Seconds to keep the answer, and the answer: empty when there is none, whatever the cause."""
        if self._stub is None:
            return CACHE_S, []
        try:
            # A bare word may be a neighbour's name, completed as the machine does.
            answer = await self._stub.resolve(
                name, kind, lifetime=self._timeout_s, search="." not in name, raise_on_no_answer=False
            )
        except (dns.exception.DNSException, OSError, UnicodeError):
            return CACHE_S, []
        if answer.rrset is None:
            return CACHE_S, []
        return min(float(answer.rrset.ttl), CACHE_S), [ip_address(record.address) for record in answer]


def _stub(nameservers: tuple[tuple[str, int], ...]) -> dns.asyncresolver.Resolver | None:
    """dnspython's resolver, or None on a machine that names no servers."""
    try:
        stub = dns.asyncresolver.Resolver(configure=not nameservers)
    except dns.resolver.NoResolverConfiguration:
        return None
    if nameservers:
        stub.nameservers = [Do53Nameserver(host, port) for host, port in nameservers]
    return stub
