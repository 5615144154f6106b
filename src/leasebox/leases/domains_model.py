"""What a custom domain is, which names may be one, and the records that it needs in the DNS. Pure."""

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import idna
import msgspec

from leasebox.leases.dkim_keys import PublicKey
from leasebox.leases.domains_errors import DnsSilent, DomainRefused
from leasebox.values.addresses import MalformedAddress, canonical_domain
from leasebox.values.ids import DomainId, TenantId

State = Literal["pending", "verified"]
Reason = Literal["ownership_lost", "by_operator"]
RecordState = Literal["found", "missing", "wrong", "unknown"]
Purpose = Literal["ownership", "mx", "spf", "dkim", "dmarc"]
MX_PREFERENCE = 10
PENDING_CAP = 25
RETIRED_STAYS = timedelta(days=7)
"""How long a retired DKIM key stays published: longer than mail that it signed stays on its way."""
CHECK_EVERY = timedelta(hours=24)
LOST_AFTER = timedelta(hours=72)
LOST_CHECKS = 3
_MOST_CHARACTERS = 200  # room for the longest name that we put before it, within RFC 1035's 253
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Nobody can own a name below these: RFC 2606, 6761, 6762, 7686, 8375, 9476, and ICANN's `internal`. `.test` is left
# out on purpose: it is where people try this out.
_RESERVED = ("alt", "arpa", "example", "internal", "invalid", "local", "localhost", "onion")
_RESERVED_SECOND = ("example.com", "example.net", "example.org")


class DomainPolicy(msgspec.Struct, frozen=True):
    """The operator's settings. own: the instance's domains; mx_host: where mail for a custom domain is to go.

    spf: the whole text of the record that lets us send for it.
    """

    own: tuple[str, ...]
    mx_host: str
    spf: str
    pending_cap: int = PENDING_CAP


class Finding(msgspec.Struct, frozen=True):
    """What the DNS showed under one name and type. seen: the texts found there, untrusted."""

    state: RecordState
    seen: tuple[str, ...] = ()


UNKNOWN = Finding("unknown")
Findings = Mapping[str, Finding]


class Domain(msgspec.Struct, frozen=True):
    """A tenant's domain. reason: why it is pending although it was verified once. found: by `DnsRecord.key`."""

    domain_id: DomainId
    tenant_id: TenantId
    name: str
    state: State
    reason: Reason | None
    token: str
    found: dict[str, Finding]
    created_at: datetime
    checked_at: datetime | None
    verified_at: datetime | None
    missing_since: datetime | None

    @property
    def ownership(self) -> str:
        """The text of the TXT record that proves ownership."""
        return f"leasebox-domain={self.token}"


class DnsRecord(msgspec.Struct, frozen=True):
    """A record that the domain's owner publishes. name: without the final dot. priority: of an MX record.

    required: whether verification waits for it. until: when a retired DKIM key's record may be removed.
    """

    purpose: Purpose
    type: Literal["TXT", "MX"]
    name: str
    value: str
    required: bool
    priority: int | None = None
    until: datetime | None = None

    @property
    def key(self) -> str:
        """By what findings name it."""
        return f"{self.type} {self.name}"


def new_token() -> str:
    """128 random bits: guessing it would not help, but nobody is to publish another tenant's by chance."""
    return secrets.token_hex(16)


def domain_name(text: str, own: Sequence[str]) -> str:
    """A name that a tenant may bring, in lower-case A-labels. Raises DomainRefused (422)."""
    try:
        name = canonical_domain(text.removesuffix("."))
    except MalformedAddress as fault:
        raise DomainRefused(f"This is no domain name: {fault}.") from None
    labels = name.split(".")
    if len(labels) < 2 or labels[-1].isdigit():
        raise DomainRefused("A domain has two labels or more, and is no IP address.")
    if len(name) > _MOST_CHARACTERS:
        raise DomainRefused(f"A domain has at most {_MOST_CHARACTERS} characters here.")
    if not all(map(_is_label, labels)):
        raise DomainRefused("A label is 1 to 63 of a-z, 0-9 and hyphen, or a valid international one (IDNA 2008).")
    if any(_within(name, each) for each in (*_RESERVED, *_RESERVED_SECOND)):
        raise DomainRefused("Nobody can own a name below this one; it is reserved (RFC 6761).")
    if any(_within(name, each) or _within(each, name) for each in own):
        raise DomainRefused("This is a domain of this instance, or stands above or below one.")
    return name


def spelled(text: str) -> str:
    """A domain that somebody names, in its one spelling; what is no domain stays as it is, and matches nothing."""
    try:
        return canonical_domain(text)
    except MalformedAddress:
        return text


def records_of(domain: Domain, keys: Sequence[PublicKey], policy: DomainPolicy) -> tuple[DnsRecord, ...]:
    """All that a tenant's domain needs: ownership and MX to be verified, the others to be believed when it sends."""
    ownership = DnsRecord("ownership", "TXT", f"_leasebox.{domain.name}", domain.ownership, required=True)
    return (ownership, *_mail_records(domain.name, keys, policy))


def own_records(name: str, keys: Sequence[PublicKey], policy: DomainPolicy) -> tuple[DnsRecord, ...]:
    """All that a domain of the instance's own needs: nobody has to prove anything."""
    return tuple(_mail_records(name, keys, policy))


def is_proven(records: Sequence[DnsRecord], found: Findings) -> bool:
    """Whether the DNS shows every record that verification waits for."""
    return all(found.get(each.key, UNKNOWN).state == "found" for each in records if each.required)


def require_answers(records: Sequence[DnsRecord], found: Findings) -> None:
    """Raises DnsSilent (503) where the DNS did not answer for a record that verification waits for."""
    silent = [each.key for each in records if each.required and found.get(each.key, UNKNOWN).state == "unknown"]
    if silent:
        raise DnsSilent(f"The DNS gave no answer for {' and '.join(silent)}.", retry_after_s=30)


def waiting_keys_are_out(keys: Sequence[PublicKey], name: str, found: Findings) -> bool:
    """Whether there are new DKIM keys, and the DNS shows all of them."""
    waiting = [found.get(f"TXT {selector_name(each, name)}", UNKNOWN) for each in keys if each.state == "waiting"]
    return bool(waiting) and all(each.state == "found" for each in waiting)


def selector_name(key: PublicKey, name: str) -> str:
    """Where a key's record stands (RFC 6376 §3.6.2.1)."""
    return f"{key.selector}._domainkey.{name}"


def findings_of(stored: dict[str, Any]) -> dict[str, Finding]:
    """Findings as the database keeps them."""
    return msgspec.convert(stored, dict[str, Finding])


def _mail_records(name: str, keys: Sequence[PublicKey], policy: DomainPolicy) -> Iterator[DnsRecord]:
    yield DnsRecord("mx", "MX", name, policy.mx_host, required=True, priority=MX_PREFERENCE)
    yield DnsRecord("spf", "TXT", name, policy.spf, required=False)
    for key in keys:
        until = None if key.retired_at is None else key.retired_at + RETIRED_STAYS
        yield DnsRecord("dkim", "TXT", selector_name(key, name), key.text, required=False, until=until)
    yield DnsRecord("dmarc", "TXT", f"_dmarc.{name}", "v=DMARC1; p=none", required=False)


def _within(name: str, above: str) -> bool:
    return name == above or name.endswith(f".{above}")


def _is_label(label: str) -> bool:
    if _LABEL.fullmatch(label) is None:
        return False
    if label.startswith("xn--"):
        try:
            return idna.alabel(idna.ulabel(label)).decode() == label
        except UnicodeError:  # idna.IDNAError is one
            return False
    return label[2:4] != "--"  # RFC 5890 §2.3.1: reserved for encodings to come
