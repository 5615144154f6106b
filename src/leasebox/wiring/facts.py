"""What an instance tells of itself, from its settings."""

import socket

import leasebox
from leasebox.billing.prices import NEW_TENANT_CREDIT_LIMIT
from leasebox.config import Settings
from leasebox.config_text import Address
from leasebox.leases.model import MAX_TTL_HOURS, Doors
from leasebox.pages.guide_facts import GuideFacts
from leasebox.pages.meta_http import RuntimeFacts
from leasebox.values.rate import Rate

_CHAINS = {
    1: ("Ethereum", "https://etherscan.io"),
    8453: ("Base", "https://basescan.org"),
    84532: ("Base Sepolia", "https://sepolia.basescan.org"),
    31337: ("Local development chain", ""),
}


def facts_of(settings: Settings) -> RuntimeFacts:
    """The facts of an instance with these settings."""
    name, explorer = _CHAINS.get(settings.chain_id, (f"eip155:{settings.chain_id}", ""))
    return RuntimeFacts(
        siwe_mode="strict",
        payment_mode="hmac",
        base_chain_id=settings.chain_id,
        chain_name=name,
        chain_hex=hex(settings.chain_id),
        chain_rpc_urls=[],
        chain_explorer_urls=[explorer] if explorer else [],
        mailbox_domain=settings.mail_domain,
        mailbox_domains=list(settings.mail_domains),
        prices=[],
        allowances=[],
        limits={
            "ttl_hours_max": MAX_TTL_HOURS,
            "mail_bytes_max": settings.max_mail_mib * 1024 * 1024,
            "lease_bytes_max": settings.lease_quota_mib * 1024 * 1024,
            "lease_mails_max": settings.lease_quota_mails,
            "retention_hours": settings.retention_hours,
            "name_hold_days": settings.name_hold_days,
            "credit_limit_usdc": str(NEW_TENANT_CREDIT_LIMIT),
            "api_rate": _rate(settings.api_rate),
            "signin_rate": _rate(settings.signin_rate),
        },
        webmail_url=None,
        smtp=doors_of(settings).smtp or {},
        imap=None,
        version=leasebox.__version__,
    )


def guide_facts_of(settings: Settings) -> GuideFacts:
    """What the pages for agents name."""
    runtime = facts_of(settings)
    return GuideFacts(
        base_url=settings.public_url,
        mail_domains=settings.mail_domains,
        chain_id=settings.chain_id,
        chain_name=runtime.chain_name,
        smtp_host=smtp_host(settings),
        smtp_port=settings.smtp.port,
        submission_host=_outside(settings.submission),
        submission_port=settings.submission.port,
        version=leasebox.__version__,
        api_rate=settings.api_rate,
        signin_rate=settings.signin_rate,
        tenant_rate=settings.tenant_rate,
        max_ttl_hours=MAX_TTL_HOURS,
        retention_hours=settings.retention_hours,
        name_hold_days=settings.name_hold_days,
        lease_quota_mib=settings.lease_quota_mib,
        lease_quota_mails=settings.lease_quota_mails,
        max_mail_mib=settings.max_mail_mib,
    )


def doors_of(settings: Settings) -> Doors:
    """Where a mailbox's own credentials are good. IMAP and webmail do not exist in this version."""
    host, port = _outside(settings.submission), settings.submission.port
    return Doors(webmail_url=None, smtp={"host": host, "port": port, "security": "starttls"}, imap=None)


def smtp_host(settings: Settings) -> str:
    """Where mail is received, as seen from outside."""
    return _outside(settings.smtp)


def _outside(address: Address) -> str:
    """The host of an address as seen from outside: one that means "all of them" names none."""
    return socket.getfqdn() if address.host in ("0.0.0.0", "::") else address.host  # noqa: S104 - compared, not bound


def _rate(rate: Rate) -> str:
    return f"{rate.count}/{rate.seconds}s" if rate.count else "unlimited"
