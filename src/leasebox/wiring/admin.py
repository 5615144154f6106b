"""What administers: the routes of admins, bound to the services of all slices."""

import asyncio
from collections.abc import Sequence
from typing import Any

from litestar import Controller

from leasebox.admin.audit_http import AdminAuditRoutes
from leasebox.admin.callers import Admins
from leasebox.admin.domains_http import AdminDomainRoutes, AdminOwnDomainRoutes
from leasebox.admin.house_mail_http import AdminHouseMailRoutes
from leasebox.admin.invoices_http import AdminInvoiceRoutes
from leasebox.admin.leases_http import AdminLeaseRoutes
from leasebox.admin.money_http import AdminMoneyRoutes, AdminPriceRoutes
from leasebox.admin.overview_http import AdminOverviewRoutes
from leasebox.admin.risk_http import AdminRiskRoutes
from leasebox.admin.seals_http import AdminSealRoutes
from leasebox.admin.sending_http import AdminAttemptRoutes, AdminSendLimitRoutes, AdminSuppressionRoutes
from leasebox.admin.sign_in_http import AdminSignInRoutes
from leasebox.admin.tenants_http import AdminTenantRoutes
from leasebox.admin.usage_http import AdminUsageRoutes
from leasebox.admin.webhooks_http import AdminDeliveryRoutes, AdminWebhookRoutes
from leasebox.config import Settings
from leasebox.identity.rates import RateName, Rates
from leasebox.identity.sign_in import SignIn
from leasebox.infra.web.idempotency import Once
from leasebox.infra.web.routes import bind
from leasebox.values.keys import Purpose, derive
from leasebox.values.rate import Rate
from leasebox.wiring import process
from leasebox.wiring.domains import domains_of
from leasebox.wiring.process import Backbone
from leasebox.wiring.secrets import lasting_tables
from leasebox.wiring.webhooks import webhook_keys
from leasebox.wiring.worker import SEALED


def admins_of(settings: Settings, base: Backbone) -> Admins:
    """The allow-list; empty where no wallet is configured, which closes administration."""
    return Admins(base.db, base.clock, {each.address: each.role for each in settings.admin_wallets})


def rates_of(settings: Settings, base: Backbone) -> Rates:
    """The rates that this process limits by."""
    configured: dict[RateName, Rate] = {
        "signin": settings.signin_rate,
        "tenant": settings.tenant_rate,
        "claim": settings.claim_rate,
        "api": settings.api_rate,
    }
    return Rates(base.db, base.clock, configured)


def admin_routes(
    settings: Settings, base: Backbone, admins: Admins, rates: Rates, sign_in: SignIn, once: Once
) -> Sequence[type[Controller]]:
    """Every route under /v2/admin."""
    core: dict[str, Any] = {"db": base.db, "clock": base.clock}
    policy = process.lease_policy(settings)
    seals: dict[str, Any] = {"logs": SEALED, "head_key": derive(settings.secret, Purpose.AUDIT_HEAD)}
    return (
        bind(
            AdminSignInRoutes,
            **core,
            sign_in=sign_in,
            admins=admins,
            cache=base.cache,
            signin_rate=rates.live("signin"),
        ),
        bind(AdminTenantRoutes, **core, policy=policy),
        bind(AdminMoneyRoutes, **core, once=once),
        bind(AdminPriceRoutes, **core),
        bind(AdminInvoiceRoutes, **core, once=once),
        bind(AdminLeaseRoutes, **core, policy=policy),
        bind(AdminDomainRoutes, **core, **domains_of(settings), leases=policy, once=once),
        bind(AdminOwnDomainRoutes, **core, **domains_of(settings)),
        bind(AdminHouseMailRoutes, db=base.db),
        bind(AdminUsageRoutes, **core),
        bind(AdminWebhookRoutes, **core, keys=webhook_keys(settings), once=once),
        bind(AdminDeliveryRoutes, **core, once=once),
        bind(AdminRiskRoutes, **core, rates=rates),
        bind(AdminAuditRoutes, **core),
        bind(AdminSealRoutes, db=base.db, looking=asyncio.Lock(), **seals),
        bind(AdminAttemptRoutes, **core),
        bind(AdminSuppressionRoutes, **core),
        bind(AdminSendLimitRoutes, **core),
        bind(AdminOverviewRoutes, **core, cache=base.cache, policy=policy, sealed=lasting_tables(settings)),
    )
