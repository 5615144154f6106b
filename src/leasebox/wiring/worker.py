"""The worker role: what happens because time passes."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from leasebox.admin import service as admin
from leasebox.audit.jobs import seal
from leasebox.audit.logs import AUDIT, FACTS
from leasebox.audit.tables import Log
from leasebox.billing.invoice_jobs import close_months
from leasebox.billing.jobs import forget_windows, release_holds
from leasebox.billing.low_balance import BalanceWatch
from leasebox.billing.usage_seal import USAGE
from leasebox.config import Settings
from leasebox.identity import service as identity
from leasebox.infra import facts_loop, kept_answers
from leasebox.infra.facts_log import WAKE_NEW_FACTS
from leasebox.leases.life_jobs import tell_ends
from leasebox.live.hub import Hub, running
from leasebox.mail.jobs import every, purge
from leasebox.sending import retention
from leasebox.sending.model import WAKE_QUEUE
from leasebox.values.keys import Purpose, derive
from leasebox.webhooks.deliveries import WAKE_DELIVERIES
from leasebox.wiring import process
from leasebox.wiring.domains import mind_domains
from leasebox.wiring.outgoing import send_mail
from leasebox.wiring.secrets import mind_seals
from leasebox.wiring.sending import erase_of_leases
from leasebox.wiring.webhooks import deliver, fan_out

# Every log that is sealed: by this role, and looked at by `leasebox audit`.
SEALED: tuple[Log, ...] = (AUDIT, FACTS, USAGE)
_PURGE_EVERY_S = 30.0
_SESSIONS_EVERY_S = 600.0
_HOLDS_EVERY_S = 5.0
_TIDY_EVERY_S = 600.0
_INVOICES_EVERY_S = 300.0
# Until it is sealed, a row can be changed unseen by whoever can write to the database behind our back.
_SEAL_EVERY_S = 10.0
_ENDS_EVERY_S = 1.0
_BALANCES_EVERY_S = 5.0
_APART_S = 0.03
_HEARD = (WAKE_NEW_FACTS, WAKE_QUEUE, WAKE_DELIVERIES)


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Run the periodic jobs until told to stop."""

    async def main(stop: asyncio.Event) -> None:
        async with process.backbone(settings, connections=10) as base, running(Hub(base.cache, *_HEARD)) as hub:
            policy = process.lease_policy(settings)
            head_key = derive(settings.secret, Purpose.AUDIT_HEAD)

            async def forget_sessions() -> None:
                before = base.clock.now() - timedelta(days=1)
                await base.db.transact(lambda tx: identity.forget_sessions(tx, before))
                await base.db.transact(lambda tx: admin.forget_sessions(tx, before))

            async def forget_answers() -> None:
                await base.db.transact(lambda tx: kept_answers.forget(tx, base.clock.now()))

            async def publish_facts() -> None:
                # Who handles each new fact, in the transaction that numbers it.
                fan_outs: Sequence[facts_loop.FanOut] = (fan_out(base),)
                with hub.listening(WAKE_NEW_FACTS, "") as woken:
                    await facts_loop.run(base.db, fan_outs, woken, stop)

            process.settle()
            ready("")
            await apart(
                send_mail(settings, base, hub, stop),
                mind_domains(settings, base, stop),
                mind_seals(settings, base, stop),
                publish_facts(),
                deliver(settings, base, hub, stop),
                every(_ENDS_EVERY_S, lambda: tell_ends(base.db, base.clock), "lease ends", stop),
                every(_BALANCES_EVERY_S, BalanceWatch(base.db, base.clock).look, "balances", stop),
                every(_PURGE_EVERY_S, lambda: purge(base.db, policy, base.clock, erase_of_leases), "purge", stop),
                every(_TIDY_EVERY_S, lambda: retention.forget(base.db, base.clock), "send attempts", stop),
                every(_SESSIONS_EVERY_S, forget_sessions, "sessions", stop),
                every(_HOLDS_EVERY_S, lambda: release_holds(base.db, base.clock), "holds", stop),
                every(_TIDY_EVERY_S, lambda: forget_windows(base.db, base.clock), "windows", stop),
                every(_TIDY_EVERY_S, forget_answers, "answers", stop),
                every(_INVOICES_EVERY_S, lambda: close_months(base.db, base.clock), "invoices", stop),
                every(_SEAL_EVERY_S, lambda: seal(base.db, SEALED, head_key, base.clock), "seal", stop),
            )

    process.run(main)


async def apart(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run all of them, each begun a moment after the one before.

    Begun at once, each would open a database connection of its own, which stays for a minute and takes 2 to 7 MB.
    """

    async def begun(number: int, job: Coroutine[Any, Any, None]) -> None:
        await asyncio.sleep(number * _APART_S)
        await job

    await asyncio.gather(*(begun(number, job) for number, job in enumerate(jobs)))
