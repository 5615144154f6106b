"""The http role: every slice's routes on one application, served until it is told to stop."""

import asyncio
from pathlib import Path

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
