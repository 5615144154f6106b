"""Which hosts take a domain's mail, by DNS (RFC 5321 §5.1, null MX of RFC 7505)."""

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from itertools import groupby
from random import SystemRandom
from typing import Final

from leasebox.infra.lookups import LookupFailed, Resolver
from leasebox.sending.relay import Host, NoRoute, Route, Tls

SMTP_PORT: Final = 25
MAX_HOSTS: Final = 8
"""Addresses tried for one mail; with some dead ones among them a try still ends within minutes."""

_RANDOM: Final = SystemRandom()
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Shuffle = Callable[[list[str]], None]


class ByMx:
    """Routes by MX, dialling only addresses that `allowed` lets pass: a sender chooses the domain, and so the address.

    ours: names of this instance; a domain whose best MX we are ourselves is a loop.
    """

    def __init__(
        self,
        resolver: Resolver,
        ours: Sequence[str],
        allowed: Callable[[Address], bool],
        *,
        port: int = SMTP_PORT,
        shuffle: Shuffle = _RANDOM.shuffle,
    ) -> None:
        self._resolver = resolver
        self._ours = frozenset(name.lower() for name in ours)
        self._allowed = allowed
        self._port = port
        self._shuffle = shuffle

    async def route(self, destination: str) -> Route:
        """Where mail for a domain (lower case, A-labels) or an address literal goes now. Raises NoRoute."""
        places = await asyncio.to_thread(self._places, destination)
        hosts = [Host(name, str(address), self._port, Tls.MAY) for name, address in places if self._allowed(address)]
        if not hosts:
            # Not 5.4.4, which would say that the address is wrong: the operator may allow it tomorrow.
            raise NoRoute(550, f"5.7.1 Mail for {destination} would go to a private address, which is not allowed")
        return Route(destination, tuple(hosts[:MAX_HOSTS]))

    def _places(self, destination: str) -> list[tuple[str, Address]]:
        if destination.startswith("["):
            return [(destination, _literal(destination))]
        try:
            records = self._resolver.mx(destination)
        except LookupFailed as failed:
            raise NoRoute(451, f"4.4.3 DNS does not say where mail for {destination} goes") from failed
        return self._addresses(destination, ordered(destination, records, self._ours, self._shuffle))

    def _addresses(self, destination: str, names: Sequence[str]) -> list[tuple[str, Address]]:
        found: list[tuple[str, Address]] = []
        silent = False
        for name in names[:MAX_HOSTS]:
            # IPv4 first: few that send have a name for their IPv6 address, and many that receive ask for one.
            for ask in (self._resolver.a, self._resolver.aaaa):
                try:
                    texts = list(ask(name))
                except LookupFailed:
                    silent = True
                    continue
                self._shuffle(texts)
                found += [(name, ipaddress.ip_address(text)) for text in texts]
        if not found and silent:
            raise NoRoute(451, f"4.4.3 DNS gives no address for the mail servers of {destination}")
        if not found:
            raise NoRoute(550, f"5.1.2 {destination} has no mail server: neither MX nor address")
        return found


def ordered(destination: str, records: Sequence[tuple[int, str]], ours: frozenset[str], shuffle: Shuffle) -> list[str]:
    """Names of hosts in the order to be tried; without MX it is the domain itself. Raises NoRoute."""
    mx = sorted({(preference, name.lower().rstrip(".")) for preference, name in records})
    if not mx:
        mx = [(0, destination)]
    if {name for _, name in mx} == {""}:
        raise NoRoute(556, f"5.1.10 {destination} takes no mail (null MX)")
    # What is not better than ourselves would send the mail back to us.
    best_own = min((preference for preference, name in mx if name in ours), default=None)
    names: list[str] = []
    for preference, equals in groupby(mx, key=lambda one: one[0]):
        if best_own is not None and preference >= best_own:
            break
        alike = [name for _, name in equals if name]
        shuffle(alike)
        names += alike
    if not names:
        raise NoRoute(550, f"5.4.6 Mail for {destination} would come back to this instance")
    return names


def _literal(destination: str) -> Address:
    text = destination.strip("[]")
    return ipaddress.ip_address(text[5:] if text[:5].lower() == "ipv6:" else text)
