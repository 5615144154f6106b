"""The parser role: stored mails become messages here."""

import asyncio
from collections.abc import Callable

from leasebox.config import Settings
from leasebox.infra.priority import step_back
from leasebox.live.hub import Hub, running
from leasebox.mail.jobs import Parser
from leasebox.mail.model import LARGE, SMALL, WAKE_PARSER
from leasebox.mail.parse_pool import ParsePool
from leasebox.mail.sender_auth import CAP_S, SenderCheck
from leasebox.sending.bounces import BounceDesk
from leasebox.values.keys import Purpose, ring
from leasebox.wiring import process
from leasebox.wiring.domains import resolver

_NICE = 10


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Parse mails until told to stop; then finish those that were claimed."""

    # Taking mail goes first: senders wait for their 250, and what is stored is read as soon as there is time.
    step_back(_NICE)

    async def main(stop: asyncio.Event) -> None:
        async with process.backbone(settings, connections=8) as base, running(Hub(base.cache, WAKE_PARSER)) as hub:
            pool = ParsePool()
            judge = SenderCheck(resolver(settings), wait_s=CAP_S)
            paths = ring(settings.secret, settings.secret_previous, Purpose.RETURN_PATH)
            desk = BounceDesk(base.db, process.lease_policy(settings), paths, base.clock)
            parser = Parser(base.db, pool, judge, base.clock, desk)
            process.settle()
            with hub.listening(WAKE_PARSER, SMALL) as small, hub.listening(WAKE_PARSER, LARGE) as large:
                ready("")
                await parser.run(small, large, stop)
            judge.close()
            await pool.close()

    process.run(main)
