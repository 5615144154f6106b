"""Who hands mail over to other servers, from the settings."""

import asyncio
import time
from collections.abc import Callable, Sequence

from leasebox.config import Settings
from leasebox.infra.db import Database
from leasebox.infra.dns_resolver import DnsResolver
from leasebox.infra.fetch_guard import judge
from leasebox.leases.domains import signing_keys
from leasebox.live.hub import Hub
from leasebox.mail.jobs import every
from leasebox.sending import return_path
from leasebox.sending.dkim_sign import Signer
from leasebox.sending.jobs import Runner, measure
from leasebox.sending.model import WAKE_QUEUE
from leasebox.sending.mx import ByMx
from leasebox.sending.queue_model import Pace
from leasebox.sending.relay import ByRelay, Nowhere, Router, relay_route
from leasebox.sending.transport_carrier import Carrier
from leasebox.sending.transport_pool import Pool
from leasebox.values.ids import SendAttemptId, TenantId
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.wiring.domains import dkim_keys, mx_host
from leasebox.wiring.process import Backbone
from leasebox.wiring.sending import send_policy

_MX_TIMEOUT_S = 5.0
# Senders choose the domains that are asked for, and some have dead name servers: that says nothing of our resolver.
_NEVER_SILENT = 1_000_000
_KEYS_S = 30.0
_MEASURE_EVERY_S = 10.0


def router(settings: Settings) -> Router:
    """Where mail to the outside goes."""
    if settings.relay is not None:
        return ByRelay(relay_route(settings.relay))
    if settings.dns.mode == "off":
        return Nowhere()
    servers = tuple((server.host, server.port) for server in settings.dns.servers)
    resolver = DnsResolver(nameservers=servers, timeout_s=_MX_TIMEOUT_S, silent_after=_NEVER_SILENT)
    ours = (mx_host(settings), *settings.mail_domains)
    return ByMx(resolver, ours, lambda address: judge(address, settings.mx_allow) is None)


class SigningDesk:
    """Signs with the keys of our domains; what the database said of a domain is believed for half a minute."""

    def __init__(
        self, db: Database, sealed: KeyRing, paths: KeyRing, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._db = db
        self._sealed = sealed
        self._paths = paths
        self._now = now
        self._kept: dict[tuple[TenantId, str], tuple[float, Sequence[Signer]]] = {}

    async def signers(self, tenant_id: TenantId, domain: str) -> Sequence[Signer]:
        """The keys that sign a tenant's mail from a domain, never another tenant's. Raises Unavailable."""
        until, found = self._kept.get((tenant_id, domain), (0.0, ()))
        if until <= self._now():
            keys = await self._db.read(lambda tx: signing_keys(tx, self._sealed, domain, tenant_id))
            found = tuple(Signer(key.domain, key.selector, key.load()) for key in keys)
            self._kept = {place: kept for place, kept in self._kept.items() if kept[0] > self._now()}
            self._kept[tenant_id, domain] = (self._now() + _KEYS_S, found)
        return found

    def return_path(self, attempt_id: SendAttemptId, domain: str) -> str:
        """The signed envelope sender of an attempt."""
        return return_path.make(self._paths, attempt_id, domain)


async def send_mail(settings: Settings, base: Backbone, hub: Hub, stop: asyncio.Event) -> None:
    """Hand over what is due until `stop`; then finish what was begun."""
    pool = Pool()
    paths = ring(settings.secret, settings.secret_previous, Purpose.RETURN_PATH)
    runner = Runner(
        base.db,
        router(settings),
        Carrier(mx_host(settings), pool),
        SigningDesk(base.db, dkim_keys(settings), paths),
        send_policy(settings),
        base.clock,
        Pace(settings.send_at_once, settings.send_per_domain),
    )
    with hub.listening(WAKE_QUEUE, "") as woken:
        await asyncio.gather(
            runner.run(woken, stop),
            every(_MEASURE_EVERY_S, lambda: measure(base.db, base.clock.now()), "queue depth", stop),
        )
    await pool.close()
