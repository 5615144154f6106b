"""What custom domains and DNS questions need, from the settings."""

import asyncio
import socket
from functools import cache
from typing import Any

from leasebox.config import Settings
from leasebox.infra.dns_resolver import DnsResolver
from leasebox.leases.domains_dns import DnsLook
from leasebox.leases.domains_jobs import recheck, recheck_own, tend_keys
from leasebox.leases.domains_model import DomainPolicy
from leasebox.mail.jobs import every
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.wiring import process
from leasebox.wiring.process import Backbone

_LOOK_TIMEOUT_S = 3.0
_EVERY_S = 1800.0


def mx_host(settings: Settings) -> str:
    """The name that greets senders and that MX records point at: the operator's, else this machine's, else a domain."""
    if settings.mx_host is not None:
        return settings.mx_host
    return _own_name() if "." in _own_name() else settings.mail_domain


def domain_policy(settings: Settings) -> DomainPolicy:
    """The operator's settings of custom domains."""
    host = mx_host(settings)
    return DomainPolicy(settings.mail_domains, host, settings.spf or f"v=spf1 a:{host} ~all")


def dkim_keys(settings: Settings) -> KeyRing:
    """What the private keys of DKIM are sealed with."""
    return ring(settings.secret, settings.secret_previous, Purpose.DKIM_KEY)


def dns_look(settings: Settings) -> DnsLook:
    """Who looks records up, each time anew."""
    return DnsLook(None if settings.dns.mode == "off" else lambda: _resolver(settings, _LOOK_TIMEOUT_S))


def domains_of(settings: Settings) -> dict[str, Any]:
    """What the routes of domains are bound to."""
    return {"policy": domain_policy(settings), "keys": dkim_keys(settings), "dns": dns_look(settings)}


async def mind_domains(settings: Settings, base: Backbone, stop: asyncio.Event) -> None:
    """Tend the keys of DKIM and, where there is DNS, look at domains again; every half hour until `stop`."""
    names, keys, leases = domain_policy(settings), dkim_keys(settings), process.lease_policy(settings)
    dns = dns_look(settings)

    async def look() -> None:
        await recheck_own(base.db, dns, names, base.clock)
        await recheck(base.db, dns, names, leases, base.clock, stop)

    jobs = [every(_EVERY_S, lambda: tend_keys(base.db, keys, names.own, base.clock), "DKIM keys", stop)]
    if settings.dns.mode != "off":
        jobs.append(every(_EVERY_S, look, "domains", stop))
    await asyncio.gather(*jobs)
    dns.close()


def resolver(settings: Settings) -> DnsResolver | None:
    """A resolver with a cache, for questions about strangers; None where DNS is off."""
    return None if settings.dns.mode == "off" else _resolver(settings, 1.0)


def _resolver(settings: Settings, timeout_s: float) -> DnsResolver:
    servers = tuple((server.host, server.port) for server in settings.dns.servers)
    return DnsResolver(nameservers=servers, timeout_s=timeout_s)


@cache
def _own_name() -> str:
    return socket.getfqdn().lower()
