"""Is a mail from whom it says: SPF, DKIM and DMARC as RFC 8601 words, within a bound of time whatever the DNS does.

It runs after the mail was accepted and decides nothing; it only tells agents what was proved.
"""

import asyncio
import ipaddress
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

import msgspec

from leasebox.infra.lookups import LookupFailed, Resolver
from leasebox.mail.address_list import domain_of, read_addresses
from leasebox.mail.headers import scan
from leasebox.mail.mime_bounds import HEADER_BYTES, Defects

CAP_S: Final = 5.0
"""No lookup is begun later than this after a check began."""
WAIT_S: Final = 1.5
"""How long a parse waits for its check."""
LOOKUPS: Final = 60
"""Names that one mail may make us look up."""
THREADS: Final = 4
WAITING: Final = 64
"""Checks under way or waiting for a thread; more are answered `temperror` at once."""

# Nobody publishes SPF for these: they are our own machines, a proxy, a test. (`is_private` would take in the
# documentation networks too.)
_LOCAL: Final = tuple(
    ipaddress.ip_network(text)
    for text in "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 100.64.0.0/10 0.0.0.0/8 "
    "::/127 fc00::/7 fe80::/10".split(" ")
)
_DOMAIN: Final = re.compile(r"(?=.{4,253}\Z)[a-z0-9_][a-z0-9_-]{0,62}(?:\.[a-z0-9_-]{1,63})+\Z")
_SIGNATURE: Final = re.compile(rb"(?:\A|\n)dkim-signature[ \t]*:", re.IGNORECASE)


class SenderAuth(msgspec.Struct, frozen=True):
    """RFC 8601 §2.7 result words: pass, fail, none, neutral, softfail, temperror, permerror, policy."""

    spf: str
    dkim: str
    dmarc: str


UNTESTED: Final = SenderAuth("none", "none", "none")
UNANSWERED: Final = SenderAuth("temperror", "temperror", "temperror")


def check(
    raw: bytes,
    client_ip: str,
    helo: str,
    mail_from: str,
    resolver: Resolver | None,
    *,
    at: datetime | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> SenderAuth:
    """Judge a mail. Blocks for as long as `resolver` does, within CAP_S and LOOKUPS; never raises.

    `mail_from` is the envelope sender, "" for the null one. `at`: when it was received, for signatures that expire.
    Without a resolver, or without anything to look up, the answer is `none` at once.
    """
    if resolver is None:
        return UNTESTED
    case = _Case(raw, client_ip, helo, mail_from, at)
    case.judge(_Budget(resolver, monotonic))
    return case.result()


class SenderCheck:
    """Runs checks beside the event loop. No parse waits longer than `wait_s`; what is unknown then is `temperror`."""

    def __init__(self, resolver: Resolver | None, *, wait_s: float = WAIT_S) -> None:
        self._resolver = resolver
        self._wait_s = wait_s
        self._under_way = 0
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sender-auth")

    async def check(
        self, raw: bytes, client_ip: str, helo: str, mail_from: str, *, at: datetime | None = None
    ) -> SenderAuth:
        """As the function `check`, within `wait_s` seconds."""
        if self._resolver is None:
            return UNTESTED
        if self._under_way >= WAITING:
            return UNANSWERED
        case = _Case(raw, client_ip, helo, mail_from, at)
        if not case.needs_dns:
            return UNTESTED
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, case.judge, _Budget(self._resolver, time.monotonic)
        )
        self._under_way += 1
        work.add_done_callback(self._done)
        await asyncio.wait([work], timeout=self._wait_s)
        return case.result()

    def close(self) -> None:
        """Begin no further check; those under way end by themselves within CAP_S."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _done(self, work: "asyncio.Future[None]") -> None:
        self._under_way -= 1
        if not work.cancelled():
            work.exception()


class _Budget:
    """A resolver that gives up when its time or its lookups are spent, and asks nothing twice."""

    def __init__(self, resolver: Resolver, monotonic: Callable[[], float]) -> None:
        self._resolver = resolver
        self._monotonic = monotonic
        self._deadline = monotonic() + CAP_S
        self._left = LOOKUPS
        self._texts: dict[str, tuple[bytes, ...]] = {}

    def txt(self, name: str) -> tuple[bytes, ...]:
        if name not in self._texts:
            self._spend()
            self._texts[name] = self._resolver.txt(name)
        return self._texts[name]

    def a(self, name: str) -> tuple[str, ...]:
        self._spend()
        return self._resolver.a(name)

    def aaaa(self, name: str) -> tuple[str, ...]:
        self._spend()
        return self._resolver.aaaa(name)

    def mx(self, name: str) -> tuple[tuple[int, str], ...]:
        self._spend()
        return self._resolver.mx(name)

    def ptr(self, name: str) -> tuple[str, ...]:
        self._spend()
        return self._resolver.ptr(name)

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0 or self._monotonic() > self._deadline:
            raise LookupFailed("lookups or time are spent")


class _Case:
    """One mail under judgement; its words are `temperror` until they are known, so it may be read at any moment."""

    def __init__(self, raw: bytes, client_ip: str, helo: str, mail_from: str, at: datetime | None) -> None:
        self._raw = raw
        self._client = _public_address(client_ip)
        self._helo = helo[:255]
        self._mail_from = mail_from[:320]
        self._at = at
        self._signed = _SIGNATURE.search(raw, 0, HEADER_BYTES) is not None
        self._spf = "temperror" if self._client else "none"
        self._dkim = "temperror" if self._signed else "none"
        self._dmarc = "temperror"

    @property
    def needs_dns(self) -> bool:
        """False for a mail from our own network that nobody signed: nothing could be proved."""
        return bool(self._client) or self._signed

    def result(self) -> SenderAuth:
        return SenderAuth(self._spf, self._dkim, self._dmarc) if self.needs_dns else UNTESTED

    def judge(self, resolver: Resolver) -> None:
        if not self.needs_dns:
            return
        # Imported here because they bring 11 MB that a machine without mail from outside never needs.
        from leasebox.mail import dkim, dmarc, spf_policy  # noqa: PLC0415

        verdicts: tuple[dkim.Verdict, ...] = ()
        if self._client:
            self._spf = spf_policy.check_spf(self._client, self._mail_from, self._helo, resolver)
        if self._signed:
            verdicts = dkim.verify(self._raw, resolver, self._at)
            self._dkim = dkim.summary(verdicts)
        author = self._author()
        if author is None:
            self._dmarc = "permerror"
            return
        spf_domain = spf_policy.spf_domain(self._mail_from, self._helo) if self._spf == "pass" else ""
        signers = tuple(verdict.domain for verdict in verdicts if verdict.result == "pass")
        self._dmarc = self._settled(dmarc.judge(author, dmarc.Authenticated(signers, spf_domain), resolver))

    def _settled(self, word: str) -> str:
        """A failure that a missing answer may have caused is no failure yet; one that SPF never saw is none."""
        if word == "fail" and "temperror" in (self._spf, self._dkim):
            return "temperror"
        return "none" if word == "fail" and not self._client else word

    def _author(self) -> str | None:
        """The one domain of the From field (RFC 9989 §4.2.1), or None where there is none or there are several."""
        defects = Defects()
        fields, _ = scan(self._raw, 0, min(len(self._raw), HEADER_BYTES), HEADER_BYTES, defects)
        values = fields.every("from")
        if len(values) != 1:
            return None
        domains = {_ascii_domain(domain_of(one.address)) for one in read_addresses(values[0], "", defects)}
        domain = domains.pop() if len(domains) == 1 else ""
        return domain if _DOMAIN.match(domain) else None


def _public_address(text: str) -> str:
    """`text` as a plain address that SPF can judge, or ""."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return "" if any(address in network for network in _LOCAL) else str(address)


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return domain[:253].encode("idna").decode("ascii").lower()
    except UnicodeError:
        return ""
