"""The worker role: what happens because time passes."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from leasebox.config import Settings
from leasebox.identity import service as identity
from leasebox.mail.jobs import every, purge
from leasebox.wiring import process

_PURGE_EVERY_S = 30.0
_SESSIONS_EVERY_S = 600.0


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Run the periodic jobs until told to stop."""

    async def main(stop: asyncio.Event) -> None:
        async with process.backbone(settings, connections=3) as base:
            policy = process.lease_policy(settings)

            async def forget_sessions() -> None:
                before = base.clock.now() - timedelta(days=1)
                await base.db.transact(lambda tx: identity.forget_sessions(tx, before))

            process.settle()
            ready("")
            await asyncio.gather(
                every(_PURGE_EVERY_S, lambda: purge(base.db, policy, base.clock), "purge", stop),
                every(_SESSIONS_EVERY_S, forget_sessions, "sessions", stop),
            )

    process.run(main)
