"""Mail in the queue for tests, the runner over it, and what the database says of both."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from leasebox.infra.db import Tx
from leasebox.sending import attempts_store, jobs
from leasebox.sending.addressees import Addressee
from leasebox.sending.dkim_sign import Signer
from leasebox.sending.jobs import Runner
from leasebox.sending.model import EXPIRY, Place, SendPolicy
from leasebox.sending.queue_model import Pace
from leasebox.sending.relay import Host, Login, NoRoute, Route, Router, Tls
from leasebox.sending.transport import Patience
from leasebox.sending.transport_carrier import Carrier
from leasebox.sending.transport_pool import Pool
from leasebox.values.addresses import Mailbox
from leasebox.values.ids import LeaseId, MailboxId, MessageId, SendAttemptId, TenantId
from leasebox.wiring import process
from tests.fakes.relay import FakeRelay
from tests.kit import Agent, House
from tests.kit_mail import PATIENCE_S, until

QUICK = Patience(connect=5.0, command=5.0, content=5.0, end=5.0)
CONTENT = (
    "From: {sender}\r\nTo: one@there.example\r\nSubject: Hello\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\n"
    "Message-ID: <{token}@inbox.leasebox.test>\r\nMIME-Version: 1.0\r\n{more}\r\nHello there.\r\n"
)


class Author:
    """A leased mailbox that mail goes out from."""

    def __init__(self, house: House, agent: Agent, lease: dict[str, Any]) -> None:
        self.house = house
        self.agent = agent
        self.lease = lease

    @classmethod
    async def new(cls, house: House) -> "Author":
        agent = await house.agent()
        return cls(house, agent, await agent.lease(ttl_hours=720))

    @property
    def address(self) -> str:
        return str(self.lease["address"])

    @property
    def tenant_id(self) -> TenantId:
        return TenantId.parse(self.agent.session["tenant_id"])

    async def queue(
        self, *to: str, at: datetime | None = None, more: str = "", content: bytes | None = None, route: str = "smtp"
    ) -> SendAttemptId:
        """A message in the queue for these recipients; `at`: not before then. more: further header fields."""
        now = self.house.clock.now()
        attempt_id = SendAttemptId.new(now)
        token = str(attempt_id)
        raw = content or CONTENT.format(sender=self.address, token=token, more=more).encode()
        places = [Place("to", _addressee(each), route, "queued") for each in to]  # type: ignore[arg-type]
        due = at or now
        hops = [(name, route, due) for name in sorted({each.addressee.destination for each in places})]

        async def insert(tx: Tx) -> None:
            await attempts_store.insert(
                tx,
                attempt_id,
                self.tenant_id,
                MailboxId.parse(self.lease["mailbox_id"]),
                LeaseId.parse(self.lease["lease_id"]),
                "test",
                MessageId.new(now),
                f"<{token}@inbox.leasebox.test>",
                self.address,
                raw,
                (due, due + EXPIRY, now),
                places,
                hops,
            )

        await self.house.db.transact(insert)
        return attempt_id


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner looks often, as the clocks here jump without telling it. Of modules that name it."""
    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 0.03)


@pytest.fixture
async def author(house: House) -> Author:
    """Who has leased a mailbox to send from."""
    return await Author.new(house)


def _addressee(text: str) -> Addressee:
    box = Mailbox.parse(text)
    return Addressee("", text, str(box), box.address, box.domain)


class Ways:
    """A router of tables: destination to route, or the reason why there is none; `*` for all others."""

    def __init__(self, **ways: Route | NoRoute) -> None:
        self.ways: dict[str, Route | NoRoute] = ways

    async def route(self, destination: str) -> Route:
        found = self.ways.get(destination) or self.ways["*"]
        if isinstance(found, NoRoute):
            raise NoRoute(found.reply.code or 450, found.reply.text)
        return found


def way(*relays: FakeRelay, key: str = "relay", login: Login | None = None, tls: Tls = Tls.OFF) -> Route:
    """A route over these servers, in order."""
    return Route(
        key, tuple(Host(f"mx{n}.example", "127.0.0.1", one.port, tls) for n, one in enumerate(relays, 1)), login
    )


def to(*relays: FakeRelay) -> Ways:
    """All mail over these servers."""
    return Ways(**{"*": way(*relays)})


class PlainDesk:
    """Signs nothing."""

    async def signers(self, tenant_id: TenantId, domain: str) -> Sequence[Signer]:
        del tenant_id, domain
        return ()

    def return_path(self, attempt_id: SendAttemptId, domain: str) -> str:
        return f"bounce+{str(attempt_id)[4:]}@{domain}"


def runner_of(house: House, router: Router, pace: Pace | None = None, pool: Pool | None = None) -> Runner:
    """A runner that is not running yet; its pauses are not stretched."""
    carrier = Carrier("here.example", pool or Pool(), QUICK)
    policy = SendPolicy("here.example", process.lease_policy(house.settings))
    return Runner(house.db, router, carrier, PlainDesk(), policy, house.clock, pace, chance=lambda: 0.0)


@contextlib.asynccontextmanager
async def sending(house: House, router: Router, pace: Pace | None = None) -> AsyncIterator[Runner]:
    """The runner at work until the context ends."""
    pool, woken, stop = Pool(), asyncio.Event(), asyncio.Event()
    runner = runner_of(house, router, pace, pool)
    running = asyncio.create_task(runner.run(woken, stop))
    try:
        yield runner
    finally:
        stop.set()
        async with asyncio.timeout(PATIENCE_S + 20):
            await running
        await pool.close()


async def rows(house: House, table: str, attempt_id: SendAttemptId, order: str = "1") -> list[Any]:
    """The rows of a table that belong to an attempt."""
    column = "id" if table == "send_attempts" else "attempt_id"
    return await house.db.read(
        lambda tx: tx.all(f"SELECT * FROM {table} WHERE {column} = $1 ORDER BY {order}", attempt_id)
    )


async def state_of(house: House, attempt_id: SendAttemptId) -> str:
    """The attempt's state."""
    return str((await rows(house, "send_attempts", attempt_id))[0]["state"])


async def becomes(house: House, attempt_id: SendAttemptId, state: str) -> None:
    """Wait for a state."""

    async def there() -> bool:
        return await state_of(house, attempt_id) == state

    await until(there)


async def tried(house: House, attempt_id: SendAttemptId, times: int) -> list[Any]:
    """Wait until an attempt has so many ended tries; all of them."""

    async def there() -> bool:
        return sum(row["ended_at"] is not None for row in await rows(house, "send_tries", attempt_id)) >= times

    await until(there)
    return await rows(house, "send_tries", attempt_id, "destination, number")


async def wait_s(house: House, attempt_id: SendAttemptId) -> float:
    """Seconds until the attempt's only hop is tried again, from the clock of the house."""
    hop = (await rows(house, "send_hops", attempt_id))[0]
    return float((hop["next_try_at"] - house.clock.now()) / timedelta(seconds=1))
