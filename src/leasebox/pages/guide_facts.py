"""What the pages say of an instance."""

from collections.abc import Mapping

import msgspec

from leasebox.values.facts import FACTS, MESSAGE_RECEIVED, example_of
from leasebox.values.rate import Rate

_SPANS = {1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day"}


class GuideFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as its readers must know it. base_url: without a slash at its end; mail_domains: the main one first.

    smtp_host and smtp_port: where mail comes in, submission_…: where it is handed in, as seen from outside.
    """

    base_url: str
    mail_domains: tuple[str, ...]
    chain_id: int
    chain_name: str
    smtp_host: str
    smtp_port: int
    submission_host: str
    submission_port: int
    version: str
    api_rate: Rate
    signin_rate: Rate
    tenant_rate: Rate
    max_ttl_hours: int
    retention_hours: int
    name_hold_days: int
    lease_quota_mib: int
    lease_quota_mails: int
    max_mail_mib: int

    def words(self) -> dict[str, str]:
        """The facts as the templates name them."""
        return {
            "base_url": self.base_url,
            "mail_domain": self.mail_domains[0],
            "mail_domains": ", ".join(f"`{domain}`" for domain in self.mail_domains),
            "chain_id": str(self.chain_id),
            "chain_name": self.chain_name,
            "smtp_host": self.smtp_host,
            "smtp_port": str(self.smtp_port),
            "smtp": door(self.smtp_host, self.smtp_port),
            "submission": door(self.submission_host, self.submission_port),
            "events": events_table(),
            "event_example": event_example(),
            "version": self.version,
            "api_rate": in_words(self.api_rate),
            "signin_rate": in_words(self.signin_rate),
            "tenant_rate": in_words(self.tenant_rate),
            "max_ttl_hours": str(self.max_ttl_hours),
            "retention_hours": str(self.retention_hours),
            "name_hold_days": str(self.name_hold_days),
            "lease_quota_mib": str(self.lease_quota_mib),
            "lease_quota_mails": f"{self.lease_quota_mails:,}",
            "max_mail_mib": str(self.max_mail_mib),
        }


def door(host: str, port: int) -> str:
    """`host:port`, as RFC 3986 writes IPv6 addresses."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def events_table() -> str:
    """Every type of event and what it means, as Markdown."""
    rows = [f"| `{name}` | {each.meaning} | {_fields(each.example)} |" for name, each in FACTS.items()]
    return "\n".join(["| Type | When | `data` |", "|---|---|---|", *rows])


def event_example() -> str:
    """A whole event as JSON."""
    return msgspec.json.format(msgspec.json.encode(example_of(MESSAGE_RECEIVED)), indent=2).decode()


def _fields(example: Mapping[str, object]) -> str:
    return ", ".join(f"`{name}`" for name in example)


def in_words(rate: Rate) -> str:
    """`60 a minute`, `5 in 90 s` or `no limit`."""
    if not rate.count:
        return "no limit"
    span = _SPANS.get(rate.seconds)
    return f"{rate.count} {span}" if span else f"{rate.count} in {rate.seconds} s"
