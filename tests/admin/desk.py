"""An instance that four wallets administer, one of each role, and what tests ask of it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount

from leasebox.admin.model import Role
from tests.fakes.clock import FakeClock
from tests.kit import Agent, House, opened, settings_for, sign

WALLETS: dict[str, LocalAccount] = {role.value: Account.create() for role in Role}
LISTED = ",".join(wallet.address if role == "owner" else f"{wallet.address}:{role}" for role, wallet in WALLETS.items())
CHALLENGE, VERIFY = "/v2/admin/auth/challenge", "/v2/admin/auth/verify"


@contextlib.asynccontextmanager
async def administered(database_url: str, redis_url: str, folder: Path, **more: str) -> AsyncIterator[House]:
    """A house with admins."""
    settings = settings_for(database_url, redis_url, str(folder), **{"LEASEBOX_ADMIN_WALLETS": LISTED, **more})
    async with opened(settings, FakeClock()) as house:
        yield house


async def ask_admin(http: httpx.AsyncClient, wallet: LocalAccount) -> httpx.Response:
    """The answer to a right signature."""
    challenge = await http.post(CHALLENGE, json={"wallet_address": wallet.address})
    assert challenge.status_code == 200, challenge.text
    message = challenge.json()["message"]
    return await http.post(VERIFY, json={"message": message, "signature": sign(wallet, message)})


async def admin(house: House, role: str = "owner") -> httpx.AsyncClient:
    """A client that has signed in as that role."""
    http = house.client()
    answer = await ask_admin(http, WALLETS[role])
    assert answer.status_code == 200, answer.text
    http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
    return http


def actor(role: str = "owner") -> str:
    return f"wallet:{WALLETS[role].address.lower()}"


async def said(answer: httpx.Response, status: int = 200) -> Any:
    """The body of an answer that must have this status."""
    assert answer.status_code == status, answer.text
    return answer.json()


async def audited(house: House, **wanted: str) -> list[dict[str, Any]]:
    """The audit rows of all admins that fit, oldest first."""
    rows = await house.db.read(
        lambda tx: tx.all(
            """SELECT actor, action, resource, tenant_id, outcome, request_id, detail FROM audit_rows
               WHERE actor LIKE 'wallet:%' AND action NOT LIKE 'admin.%' ORDER BY id"""
        )
    )
    return [dict(row) for row in rows if all(row[name] == value for name, value in wanted.items())]


def tenant_of(agent: Agent) -> str:
    return str(agent.session["tenant_id"])
