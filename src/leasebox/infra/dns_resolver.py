"""Asking the DNS what sender authentication needs: short timeouts, a small cache, and silence once nobody answers."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Final

import dns.exception
import dns.rdatatype
import dns.resolver
from dns.nameserver import Do53Nameserver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from leasebox.infra.lookups import LookupFailed, Record

Nameservers = tuple[str | tuple[str, int], ...]
CACHE_NAMES: Final = 4096
CACHE_S: Final = 300.0
"""Answers are kept for their TTL, at most this long."""
CACHE_EMPTY_S: Final = 60.0
SILENT_TIMEOUTS: Final = 2
"""Timeouts in a row, with no answer between them, after which we believe that no resolver is there (`silent_after`)."""
SILENT_S: Final = 60.0
"""How long we then answer LookupFailed without asking."""


class DnsResolver:
    """A `Resolver` over the machine's name servers, or over `nameservers` where given (an address, or it and a port).

    Safe to use from threads.
    """

    def __init__(
        self,
        *,
        nameservers: Nameservers = (),
        timeout_s: float = 1.0,
        silent_after: int = SILENT_TIMEOUTS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s = timeout_s
        self._silent_after = silent_after
        self._monotonic = monotonic
        self._lock = Lock()
        self._cache: OrderedDict[tuple[str, dns.rdatatype.RdataType], tuple[float, tuple[Record, ...]]] = OrderedDict()
        self._timeouts = 0
        self._silent_until = 0.0
        self._stub = _stub(nameservers)

    def txt(self, name: str) -> tuple[bytes, ...]:
        return tuple(one for one in self._records(name, dns.rdatatype.TXT) if isinstance(one, bytes))

    def a(self, name: str) -> tuple[str, ...]:
        return tuple(one for one in self._records(name, dns.rdatatype.A) if isinstance(one, str))

    def aaaa(self, name: str) -> tuple[str, ...]:
        return tuple(one for one in self._records(name, dns.rdatatype.AAAA) if isinstance(one, str))

    def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        return tuple(one for one in self._records(name, dns.rdatatype.MX) if isinstance(one, tuple))

    def ptr(self, name: str) -> tuple[str, ...]:
        return tuple(one for one in self._records(name, dns.rdatatype.PTR) if isinstance(one, str))

    def _records(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[Record, ...]:
        key = (name.lower().rstrip("."), kind)
        now = self._monotonic()
        with self._lock:
            kept = self._cache.get(key)
            if kept is not None and kept[0] > now:
                return kept[1]
            if now < self._silent_until or self._stub is None:
                raise LookupFailed("no resolver answers")
        keep_s, records = self._ask(key[0], kind)
        with self._lock:
            self._timeouts = 0
            self._cache[key] = (self._monotonic() + keep_s, records)
            self._cache.move_to_end(key)
            while len(self._cache) > CACHE_NAMES:
                self._cache.popitem(last=False)
        return records

    def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[float, tuple[Record, ...]]:
        assert self._stub is not None
        try:
            answer = self._stub.resolve(name, kind, lifetime=self._timeout_s, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return CACHE_EMPTY_S, ()
        except dns.exception.Timeout as late:
            self._note_timeout()
            raise LookupFailed(f"{name}: timeout") from late
        except (dns.exception.DNSException, OSError, UnicodeError) as broken:
            raise LookupFailed(f"{name}: {type(broken).__name__}") from broken
        return min(float(answer.rrset.ttl if answer.rrset else 0), CACHE_S), tuple(_plain(one) for one in answer)

    def _note_timeout(self) -> None:
        with self._lock:
            self._timeouts += 1
            if self._timeouts >= self._silent_after:
                # One timeout more after the pause is enough to be silent again.
                self._timeouts = self._silent_after - 1
                self._silent_until = self._monotonic() + SILENT_S


def _stub(nameservers: Nameservers) -> dns.resolver.Resolver | None:
    """dnspython's resolver, or None on a machine that names no servers."""
    try:
        stub = dns.resolver.Resolver(configure=not nameservers)
    except dns.resolver.NoResolverConfiguration:
        return None
    if nameservers:
        stub.nameservers = [each if isinstance(each, str) else Do53Nameserver(*each) for each in nameservers]
    return stub


def _plain(record: object) -> Record:
    if isinstance(record, TXT):
        return b"".join(record.strings)
    if isinstance(record, MX):
        return record.preference, record.exchange.to_text(omit_final_dot=True)
    if isinstance(record, PTR):
        return str(record.target.to_text(omit_final_dot=True))
    if isinstance(record, A | AAAA):
        return str(record.address)
    return b""
