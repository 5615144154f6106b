"""A house that may call loopback addresses, its worker's loops run by hand, and what tests ask of its webhooks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx

from leasebox.identity.model import SCOPES
from leasebox.infra import facts_order
from leasebox.infra.facts_log import Fact, append
from leasebox.infra.fetch import Fault, Fetcher, Reply
from leasebox.infra.fetch_names import DnsNames
from leasebox.infra.fetch_target import Target
from leasebox.values.ids import MailboxId, TenantId
from leasebox.webhooks import deliveries
from leasebox.webhooks.jobs import Runner
from leasebox.wiring.webhooks import webhook_keys
from tests.fakes.clock import FakeClock
from tests.kit import Agent, House, opened, settings_for

HOOKS, DELIVERIES = "/v2/webhooks", "/v2/webhooks/deliveries"
FREE = '[meters]\n"webhook.create" = {free = 1000000, window = "day", price = "0.001000"}\n'
LOOPBACK = (ip_network("127.0.0.0/8"),)


@contextlib.asynccontextmanager
async def hooked(database_url: str, redis_url: str, home: Path, **more: str) -> AsyncIterator[House]:
    """A house whose webhooks may reach loopback addresses, and where making them is free."""
    (home / "prices.toml").write_text(FREE)
    allowed = {"LEASEBOX_WEBHOOK_ALLOW": "127.0.0.0/8", "LEASEBOX_PRICES": str(home / "prices.toml"), **more}
    async with opened(settings_for(database_url, redis_url, str(home), **allowed), FakeClock()) as house:
        yield house


class ScriptedPoster:
    """Answers as told, without a network: statuses, faults, or (status, Retry-After); the last one stays."""

    def __init__(self, *script: int | Fault | tuple[int, str]) -> None:
        self.script = list(script)
        self.sent: list[tuple[Target, Mapping[str, str], bytes]] = []

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Reply:
        self.sent.append((target, headers, body))
        word = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(word, Fault):
            return Reply(None, word, None, 0.01)
        status, wish = word if isinstance(word, tuple) else (word, None)
        return Reply(status, None, wish, 0.01)


class HeldPoster:
    """Answers 200: at hosts named slow only when let go, elsewhere at once."""

    def __init__(self) -> None:
        self.good: list[str] = []
        self.slow = 0
        self.let_go = asyncio.Event()

    async def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Reply:
        if not target.host.startswith("slow"):
            self.good.append(target.host)
            return Reply(200, None, None, 0.001)
        self.slow += 1
        await self.let_go.wait()
        return Reply(200, None, None, 14.0)


class Works:
    """The worker of a house, a step at a time."""

    def __init__(self, house: House, poster: Any = None, **fetching: Any) -> None:
        self.house = house
        self.fetcher = Fetcher(DnsNames(None), LOOPBACK, **{"timeout_s": 2.0, **fetching})
        self.runner = Runner(house.db, poster or self.fetcher, webhook_keys(house.settings), house.clock)

    async def publish(self) -> int:
        """Number facts and make their deliveries; how many facts were fanned out."""
        now = self.house.clock.now()

        async def body(tx: Any) -> int:
            await facts_order.number(tx)
            return await deliveries.fan_out(tx, now)

        return await self.house.db.transact(body)

    async def step(self) -> int:
        """Publish, and try all that is due; how many tries."""
        while await self.publish():
            pass
        return await self.runner.deliver_due()


async def lasting(house: House) -> Agent:
    """An agent whose credential does not expire while tests let days pass."""
    agent = await house.agent()
    key = (await agent.http.post("/v2/api-keys", json={"name": "lasting", "scopes": list(SCOPES)})).json()
    agent.http.headers["authorization"] = f"Bearer {key['api_key']}"
    return agent


def tenant_of(agent: Agent) -> TenantId:
    return TenantId.parse(agent.session["tenant_id"])


async def tell(
    house: House,
    agent: Agent,
    kind: str = "message.received",
    mailbox: str | None = None,
    count: int = 1,
    at: datetime | None = None,
    **payload: Any,
) -> None:
    """Let facts happen."""
    box = None if mailbox is None else MailboxId.parse(mailbox)
    moment = at or house.clock.now()
    facts = [Fact(tenant_of(agent), box, None, kind, {"number": number, **payload}, moment) for number in range(count)]
    await house.db.transact(lambda tx: append(tx, facts))


async def hook(agent: Agent, url: str, *types: str, **more: Any) -> dict[str, Any]:
    """A webhook; its view with the secret."""
    answer = await ask_hook(agent.http, url, *types, **more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def ask_hook(http: httpx.AsyncClient, url: str, *types: str, **more: Any) -> httpx.Response:
    order = {"event_types": list(types or ("*",)), "target_url": url, **more}
    return await http.post(HOOKS, json=order)


async def deliveries_of(agent: Agent, **query: Any) -> list[dict[str, Any]]:
    """Newest first."""
    answer = await agent.http.get(DELIVERIES, params={"limit": 100, **query})
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def delivery(agent: Agent, delivery_id: str) -> dict[str, Any]:
    """One, with its attempts."""
    answer = await agent.http.get(f"{DELIVERIES}/{delivery_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found
