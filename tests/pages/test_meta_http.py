"""What the instance tells of itself, and whether it is well: honestly, and to whom it may."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import leasebox
from leasebox.infra import migrate
from tests.fakes.clock import FakeClock
from tests.infra.engine_room import EngineRoom, opened_room
from tests.kit import House, opened, settings_for
from tests.kit_mail import shared_house, until

__all__ = ["shared_house"]


async def test_runtime_is_what_an_agent_needs_and_no_secret(shared_house: House) -> None:
    async with shared_house.client() as http:
        answer = await http.get("/v2/meta/runtime")
    told = answer.json()
    assert (told["siwe_mode"], told["base_chain_id"], told["chain_hex"]) == ("strict", 84532, "0x14a34")
    assert (told["mailbox_domain"], told["mailbox_domains"]) == ("inbox.leasebox.test", ["inbox.leasebox.test"])
    assert told["version"] == leasebox.__version__
    assert told["limits"]["ttl_hours_max"] == 720
    named = "siwe_mode base_chain_id chain_name chain_hex chain_rpc_urls chain_explorer_urls mailbox_domain prices"
    assert set(named.split()) | {"allowances", "limits", "webmail_url", "smtp", "imap", "version"} <= set(told)
    for secret in (shared_house.settings.secret, shared_house.settings.database_url, shared_house.settings.redis_url):
        assert secret is not None
        assert secret.reveal() not in answer.text


async def test_healthz_says_only_that_the_process_lives(house: House) -> None:
    await house.db.close()
    async with house.client() as http:
        answer = await http.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert (await http.get("/readyz")).status_code == 503


async def test_readyz_needs_current_migrations(house: House) -> None:
    async with house.client() as http:
        assert (await http.get("/readyz")).json() == {"status": "ok"}
        for sql, at in (
            ("UPDATE alembic_version SET version_num = '0001'", "0001"),
            ("DELETE FROM alembic_version", "none"),
            ("DROP TABLE alembic_version", "none"),
        ):
            await house.db.transact(lambda tx, sql=sql: tx.run(sql))  # type: ignore[misc]
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()["message"]) == (503, f"The database is at migration {at}.")
            assert int(answer.headers["retry-after"]) > 0
    assert migrate.revisions()[-1] > "0001"


@pytest.fixture
async def alone(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[House, EngineRoom]]:
    """A house whose Redis may be killed."""
    with opened_room(tmp_path / "home", "valkey") as room:
        async with opened(settings_for(database_url, room.redis_url, str(tmp_path)), FakeClock()) as house:
            yield house, room


async def test_readyz_needs_redis_and_forgives(alone: tuple[House, EngineRoom]) -> None:
    house, room = alone
    async with house.client() as http:
        assert (await http.get("/readyz")).status_code == 200
        room.kill("valkey")
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/healthz")).status_code == 200
        refused = await http.post("/v2/auth/siwe/challenge", json={"wallet_address": "0x" + "ab" * 20})
        assert (refused.status_code, refused.json()["error"]) == (503, "unavailable")
        await room.revive()

        async def ready() -> bool:
            return (await http.get("/readyz")).status_code == 200

        async with asyncio.timeout(10):
            await until(ready)


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("127.8.8.8", {}, 200),
        ("::1", {}, 200),
        ("::ffff:127.0.0.1", {}, 200),
        ("::2", {}, 403),
        ("::1234", {}, 403),
        ("192.0.2.1", {}, 403),
        ("10.0.0.1", {}, 403),
        ("127.0.0.1", {"x-forwarded-for": "203.0.113.9"}, 403),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}, 403),
        ("127.0.0.1", {"forwarded": "for=203.0.113.9"}, 403),
        ("192.0.2.1", {"x-forwarded-for": "127.0.0.1"}, 403),
        ("unix", {}, 403),
    ],
)
async def test_metrics_are_for_this_machine(
    shared_house: House, address: str, headers: dict[str, str], status: int
) -> None:
    async with shared_house.client(address=address, headers=headers) as http:
        answer = await http.get("/metrics")
    assert answer.status_code == status
    assert ("leasebox_http_requests_total" in answer.text) is (status == 200)


async def test_metrics_are_prometheus_text(shared_house: House) -> None:
    async with shared_house.client() as http:
        answer = await http.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for line in answer.text.splitlines():
        assert re.fullmatch(r"#.*|[a-z_]+(\{.*\})? [0-9.e+-]+|[a-z_]+(\{.*\})? (NaN|\+Inf)", line), line
