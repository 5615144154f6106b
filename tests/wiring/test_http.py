"""The http role: every slice's routes on one application, served until it is told to stop."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.config import ROLE_NAMES
from leasebox.wiring.http import BODY_CAP
from tests.kit import House
from tests.kit_mail import shared_house
from tests.wiring.stage import serving

__all__ = ["shared_house"]


async def test_all_slices_have_their_routes(shared_house: House) -> None:
    async with shared_house.client() as http:
        described = (await http.get("/openapi.json")).json()
    heads = {"/".join(path.split("/")[:3]) for path in described["paths"] if path.startswith("/v2/")}
    wanted = "auth agents api-keys tenants mailboxes messages meta payments billing usage"
    assert heads >= {f"/v2/{each}" for each in wanted.split()}


@pytest.mark.parametrize("path", ["/", "/agents-guide", "/llms.txt", "/docs", "/openapi.json", "/healthz", "/readyz"])
async def test_what_anybody_may_read_is_open(shared_house: House, path: str) -> None:
    async with shared_house.client() as http:
        assert (await http.get(path)).status_code == 200


async def test_nothing_else_is(shared_house: House) -> None:
    async with shared_house.client() as http:
        described = (await http.get("/openapi.json")).json()
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                if operation["security"] != [{}]:
                    answer = await http.request(method, path.replace("{", "").replace("}", ""), json={})
                    assert answer.status_code in (401, 403), (method, path)


# POSTs whose repetition finds what the first one left: sign-ins, whose nonce is used up, and changes of a state.
_NEED_NO_KEY = """
challenge verify challenge_wallet admin_challenge admin_verify start_claim confirm_claim
pause release renew resume verify_domain admin_freeze_lease admin_release_lease admin_unfreeze_lease admin_check_domain
admin_check_own_domain admin_unverify_domain admin_disable_webhook admin_enable_webhook
admin_deny_domain admin_cancel_send_attempt
"""


async def test_what_creates_sends_or_pays_takes_an_idempotency_key(shared_house: House) -> None:
    async with shared_house.client() as http:
        described = (await http.get("/openapi.json")).json()
    posts = [methods["post"] for methods in described["paths"].values() if "post" in methods]
    keyed = {post["operationId"] for post in posts if "idempotency-key" in _parameters(post)}
    assert {post["operationId"] for post in posts} - keyed == set(_NEED_NO_KEY.split())
    assert all("409" in post["responses"] for post in posts if post["operationId"] in keyed)


def _parameters(operation: dict[str, Any]) -> set[str]:
    return {each["name"].lower() for each in operation.get("parameters", [])}


async def test_a_body_over_a_mebibyte_is_413_and_one_below_is_read(shared_house: House) -> None:
    agent = await shared_house.agent()
    for size, status in ((BODY_CAP + 1, 413), (BODY_CAP - 100, 400)):
        answer = await agent.http.post("/v2/agents", json={"name": "x" * size})
        assert answer.status_code == status


async def test_it_serves_and_drains(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with serving("http", database_url, redis_url, tmp_path) as role:
        host, port = role.address("http")
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=20) as http:
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.head("/v2/messages")).content == b""
            status, said = await asyncio.to_thread(role.stop)
    assert status == 0
    assert '"level":"error"' not in said


def test_every_role_has_a_module() -> None:
    import importlib

    for name in ROLE_NAMES:
        assert callable(importlib.import_module(f"leasebox.wiring.{name}").run)
