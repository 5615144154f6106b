"""A house whose DNS a test writes: tenants bring domains, publish records, verify."""

import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from leasebox.infra.embedded import EngineUrls
from leasebox.leases.domains_zone import quoted
from tests import kit_mail
from tests.fakes.clock import FakeClock
from tests.fakes.zone_server import ZoneServer
from tests.kit import Agent, House, opened, settings_for

DOMAINS = "/v2/domains"
MX_HOST = "mx.leasebox.test"
_NUMBER = itertools.count()


class Estate:
    """The house, the name server that it asks, and what tenants do with both."""

    def __init__(self, house: House, dns: ZoneServer) -> None:
        self.house = house
        self.dns = dns

    def name(self) -> str:
        """A domain that no other test uses."""
        return f"d{next(_NUMBER)}.acme.test"

    async def add(self, agent: Agent, name: str | None = None) -> dict[str, Any]:
        """A fresh domain of the agent's, nothing published yet."""
        answer = await agent.http.post(DOMAINS, json={"domain": name or self.name()})
        assert answer.status_code == 201, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def verify(self, agent: Agent, view: dict[str, Any]) -> httpx.Response:
        return await agent.http.post(f"{DOMAINS}/{view['domain_id']}/verify")

    async def look(self, agent: Agent, view: dict[str, Any]) -> dict[str, Any]:
        """The domain as it is now."""
        found: dict[str, Any] = (await agent.http.get(f"{DOMAINS}/{view['domain_id']}")).json()
        return found

    def publish(self, view: dict[str, Any], *purposes: str) -> None:
        """What the view says, all of it or only records of these purposes."""
        self.dns.publish(zone_of(view, *purposes))

    def withdraw(self, view: dict[str, Any], *purposes: str) -> None:
        self.dns.withdraw(*zone_of(view, *purposes))

    async def verified(self, agent: Agent, name: str | None = None) -> dict[str, Any]:
        """A verified domain of the agent's."""
        view = await self.add(agent, name)
        self.publish(view)
        answer = await self.verify(agent, view)
        assert (answer.status_code, answer.json()["status"]) == (200, "verified"), answer.text
        found: dict[str, Any] = answer.json()
        return found


def zone_of(view: dict[str, Any], *purposes: str) -> dict[str, list[str]]:
    """A view's records as a zone has them."""
    wanted = [each for each in view["records"] if not purposes or each["purpose"] in purposes]
    return {f"{each['type'].lower()} {each['name']}": [_text(each)] for each in wanted}


def states(view: dict[str, Any]) -> dict[str, str]:
    """By purpose, what was found; DKIM's two share one word where they agree."""
    found: dict[str, set[str]] = {}
    for each in view["records"]:
        found.setdefault(each["purpose"], set()).add(each["state"])
    return {purpose: "/".join(sorted(words)) for purpose, words in found.items()}


@contextlib.asynccontextmanager
async def settled(database_url: str, redis_url: str, home: Path, **settings: str) -> AsyncIterator[Estate]:
    """An estate on a database of its own."""
    (home / "prices.toml").write_text(kit_mail.FREE)
    with ZoneServer() as dns:
        more = {
            "LEASEBOX_DNS": f"127.0.0.1:{dns.port}",
            "LEASEBOX_MX_HOST": MX_HOST,
            "LEASEBOX_PRICES": str(home / "prices.toml"),
            **settings,
        }
        async with opened(settings_for(database_url, redis_url, str(home), **more), FakeClock()) as house:
            yield Estate(house, dns)


@pytest.fixture(scope="module")
async def estate(engines: EngineUrls, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    """One estate for all tests of a module; its clock only goes on."""
    assert engines.redis_url is not None
    async with (
        kit_mail.database(engines, template) as url,
        settled(url, engines.redis_url, tmp_path_factory.mktemp("estate")) as one,
    ):
        yield one


def _text(record: dict[str, Any]) -> str:
    return f"{record['priority']} {record['value']}." if record["type"] == "MX" else quoted(record["value"])
