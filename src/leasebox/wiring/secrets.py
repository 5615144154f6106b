"""Which tables hold what the master key seals, and the job that seals it anew after a change."""

import asyncio

from leasebox.config import Settings
from leasebox.infra import log
from leasebox.infra.kept_answers import sealed_answers
from leasebox.infra.reseal import SealedTable, reseal, standing
from leasebox.leases.domains_jobs import sealed_keys
from leasebox.mail.jobs import every
from leasebox.values.keys import Purpose, ring
from leasebox.webhooks.service import sealed_secrets
from leasebox.wiring.domains import dkim_keys
from leasebox.wiring.process import Backbone
from leasebox.wiring.webhooks import webhook_keys

_EVERY_S = 600.0


def sealed_tables(settings: Settings) -> tuple[SealedTable, ...]:
    """Every table with rows that the master key seals; the claims' keys are sealed with the claims' own tokens."""
    answers = ring(settings.secret, settings.secret_previous, Purpose.KEPT_ANSWER)
    return (*lasting_tables(settings), sealed_answers(answers))


def lasting_tables(settings: Settings) -> tuple[SealedTable, ...]:
    """Those of them whose rows are few and stay; kept answers are many, and gone within a day."""
    return sealed_keys(dkim_keys(settings)), sealed_secrets(webhook_keys(settings))


async def mind_seals(settings: Settings, base: Backbone, stop: asyncio.Event) -> None:
    """Seal anew what the previous master key sealed, and tell of what neither key opens; until `stop`."""
    tables = sealed_tables(settings)

    async def look() -> None:
        for table in tables:
            if table.keys.previous is not None:
                await reseal(base.db, table)
        for table in lasting_tables(settings):
            found = await base.db.read(lambda tx, table=table: standing(tx, table))  # type: ignore[misc]
            if found.lost:
                log.get("secrets").error("rows are sealed with a master key that is not at hand", **found._asdict())

    await every(_EVERY_S, look, "seals", stop)
