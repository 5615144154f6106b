"""Domains of one's own: brought along, published, verified."""

from collections.abc import Iterator
from datetime import datetime
from urllib.parse import quote

import msgspec

from leasebox.client.model import Page
from leasebox.client.transport import Call, Transport

_PATH = "/v2/domains"


class DnsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record to publish. state: found, missing, wrong or unknown; seen: what stood in the DNS instead, untrusted.

    required: verification waits for it; the others let mail from the domain be believed.
    """

    purpose: str
    type: str
    name: str
    value: str
    priority: int | None = None
    required: bool = False
    state: str = "unknown"
    seen: tuple[str, ...] = ()
    keep_until: datetime | None = None


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """A domain of yours. status: pending or verified; addresses are leased at verified ones only."""

    domain_id: str
    domain: str
    status: str
    reason: str | None = None
    records: tuple[DnsRecord, ...] = ()
    created_at: datetime | None = None
    checked_at: datetime | None = None
    verified_at: datetime | None = None
    missing_since: datetime | None = None


class Domains:
    """The verbs of domains; each raises what the client's own verbs raise."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def add(self, domain: str) -> Domain:
        """Bring a domain along; the answer names the records to publish."""
        return self._transport.ask(Call(method="POST", path=_PATH, body={"domain": domain}), Domain)

    def __iter__(self) -> Iterator[Domain]:
        """Your domains, newest first, page after page."""
        query: dict[str, str | int] = {"limit": 100}
        while True:
            page = self._transport.ask(Call(method="GET", path=_PATH, query=query), Page[Domain])
            yield from page.items
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def get(self, domain_id: str) -> Domain:
        """One domain, with what the last check found."""
        return self._transport.ask(Call(method="GET", path=_path(domain_id)), Domain)

    def verify(self, domain_id: str) -> Domain:
        """Have its records looked up now; read the answer's status."""
        return self._transport.ask(Call(method="POST", path=_path(domain_id, "/verify")), Domain)

    def zone_file(self, domain_id: str) -> str:
        """Its records as a zone file."""
        return self._transport.send(Call(method="GET", path=_path(domain_id, "/zone-file"))).text

    def remove(self, domain_id: str) -> None:
        """Give it up; refused (409) while live leases stand on it."""
        self._transport.send(Call(method="DELETE", path=_path(domain_id)))


def _path(domain_id: str, rest: str = "") -> str:
    return f"{_PATH}/{quote(domain_id, safe='')}{rest}"
