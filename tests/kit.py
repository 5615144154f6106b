"""What many tests need: a database of their own, the HTTP application in this process, wallets that sign in."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount

from leasebox import config
from leasebox.config import Settings
from leasebox.infra import cache, db
from leasebox.live.hub import Hub, running
from leasebox.values.clock import Clock
from leasebox.wiring.billing import publish_prices
from leasebox.wiring.http import build_app
from leasebox.wiring.process import Backbone
from tests.fakes.clock import FakeClock

SECRET = "a master key that only tests use, 40+ chars"
BASE_URL = "http://leasebox.test"


def settings_for(database_url: str, redis_url: str, home: str, **more: str) -> Settings:
    """Settings as an operator would give them."""
    environ = {
        "LEASEBOX_HOME": home,
        "LEASEBOX_PUBLIC_URL": BASE_URL,
        "LEASEBOX_SECRET": SECRET,
        "LEASEBOX_DNS": "off",
        "LEASEBOX_TENANT_RATE": "0",
        "LEASEBOX_SIGNIN_RATE": "0",
        "LEASEBOX_CLAIM_RATE": "0",
        "LEASEBOX_API_RATE": "0",
        "LEASEBOX_SMTP_RATE": "0",
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
    }
    return config.load({**environ, **more})


class House:
    """One instance: database, Redis, a clock to set, and the HTTP application."""

    def __init__(self, settings: Settings, base: Backbone, hub: Hub, app: Any) -> None:
        self.settings = settings
        self.base = base
        self.hub = hub
        self.app = app

    @property
    def db(self) -> db.Database:
        return self.base.db

    @property
    def clock(self) -> FakeClock:
        assert isinstance(self.base.clock, FakeClock)
        return self.base.clock

    def client(self, headers: Mapping[str, str] | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """An HTTP client that calls the application in this process."""
        transport = httpx.ASGITransport(self.app, client=(address, 40_000), raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers=headers, timeout=70)

    async def agent(self, wallet: LocalAccount | None = None) -> "Agent":
        """A wallet's agent, signed in."""
        return await Agent.signed_in(self.client(), wallet or Account.create())


@contextlib.asynccontextmanager
async def opened(settings: Settings, clock: Clock) -> AsyncIterator[House]:
    """An instance on a database that is migrated already."""
    assert settings.database_url is not None
    assert settings.redis_url is not None
    redis = cache.connect(settings.redis_url.reveal(), clock)
    database = await db.connect(settings.database_url.reveal(), wakes=redis, at_most=20)
    base = Backbone(database, redis, clock)
    try:
        await publish_prices(settings, base)
        async with running(Hub(redis)) as hub:
            yield House(settings, base, hub, build_app(settings, base, hub))
    finally:
        await database.close()
        await redis.close()


def sign(wallet: LocalAccount, message: str) -> str:
    """The EIP-191 signature of a message, as wallets make it."""
    return "0x" + wallet.sign_message(encode_defunct(text=message)).signature.hex().removeprefix("0x")


class Agent:
    """A signed-in agent with its HTTP client."""

    def __init__(self, http: httpx.AsyncClient, wallet: LocalAccount, session: dict[str, Any]) -> None:
        self.http = http
        self.wallet = wallet
        self.session = session
        http.headers["authorization"] = f"Bearer {session['access_token']}"

    @classmethod
    async def signed_in(cls, http: httpx.AsyncClient, wallet: LocalAccount) -> "Agent":
        challenge = await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})
        assert challenge.status_code == 200, challenge.text
        message = challenge.json()["message"]
        answer = await http.post("/v2/auth/siwe/verify", json={"message": message, "signature": sign(wallet, message)})
        assert answer.status_code == 200, answer.text
        return cls(http, wallet, answer.json())

    @property
    def agent_id(self) -> str:
        return str(self.session["agent_id"])

    async def lease(self, **order: Any) -> dict[str, Any]:
        """A fresh lease."""
        answer = await self.ask_lease(**order)
        assert answer.status_code == 201, answer.text
        granted: dict[str, Any] = answer.json()
        return granted

    async def ask_lease(self, **order: Any) -> httpx.Response:
        wanted = {"agent_id": self.agent_id, "purpose": "test", "ttl_hours": 1, **order}
        return await self.http.post("/v2/mailboxes/leases", json=wanted)
