"""What the settings make of domains and DNS; the worker's share of minding them."""

import asyncio
from pathlib import Path

import pytest

from leasebox.config import Settings
from leasebox.leases import domains
from leasebox.leases.domains_model import DomainPolicy
from leasebox.wiring import domains as wired
from tests.fakes.zone_server import ZoneServer
from tests.kit import House, settings_for
from tests.kit_mail import until, value
from tests.wiring.stage import serving


def settings(home: Path, **more: str) -> Settings:
    return settings_for("postgresql://u:p@h/d", "redis://h", str(home), **more)


@pytest.mark.parametrize(
    ("machine", "more", "host", "spf"),
    [
        ("box.example.org", {}, "box.example.org", "v=spf1 a:box.example.org ~all"),
        ("localhost", {}, "a.example", "v=spf1 a:a.example ~all"),
        ("box", {"LEASEBOX_MX_HOST": "MX.example.org"}, "mx.example.org", "v=spf1 a:mx.example.org ~all"),
        ("box", {"LEASEBOX_SPF": "v=spf1 include:r.example -all"}, "a.example", "v=spf1 include:r.example -all"),
    ],
)
def test_which_host_mail_goes_to_and_who_may_send(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, more: dict[str, str], host: str, spf: str
) -> None:
    monkeypatch.setattr(wired, "_own_name", lambda: machine)
    given = settings(tmp_path, LEASEBOX_MAIL_DOMAIN="a.example,b.example", **more)
    assert wired.mx_host(given) == host
    assert wired.domain_policy(given) == DomainPolicy(("a.example", "b.example"), host, spf)


async def test_dns_is_asked_where_the_settings_say(tmp_path: Path) -> None:
    assert wired.resolver(settings(tmp_path)) is None
    with ZoneServer({"txt a.test": ['"yes"']}) as server:
        resolver = wired.resolver(settings(tmp_path, LEASEBOX_DNS=f"127.0.0.1:{server.port}"))
        assert resolver is not None
        assert resolver.txt("a.test") == (b"yes",)


async def test_a_worker_makes_the_keys_of_our_own_domains_and_looks_at_them(
    house: House, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async def looked() -> bool:
        return bool(await value(house, "SELECT count(*) FROM own_domains WHERE found ->> 'x' IS NULL"))

    with ZoneServer() as server:
        more = {"LEASEBOX_DNS": f"127.0.0.1:{server.port}"}
        with serving("worker", database_url, redis_url, tmp_path, **more) as role:
            await until(looked)
            status, said = await asyncio.to_thread(role.stop)
        assert server.questions >= 3
    assert (status, said) == (0, "")
    name, keys = house.settings.mail_domain, wired.dkim_keys(house.settings)
    found = await house.db.read(lambda tx: domains.signing_keys(tx, keys, name, None))
    assert [each.algorithm for each in found] == ["rsa-sha256", "ed25519-sha256"]
