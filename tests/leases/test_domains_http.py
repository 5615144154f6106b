"""Custom domains over HTTP, before a DNS server whose answers change."""

import asyncio
import io
import re
from typing import Any

import dns.rdatatype
import dns.zone
import pytest

from leasebox.identity.model import SCOPES
from leasebox.leases.domains_http import WORK_RATE
from leasebox.values.ids import DomainId
from tests import kit_mail
from tests.fakes.clock import FakeClock
from tests.kit import opened, settings_for
from tests.leases.estate import DOMAINS, MX_HOST, Estate, estate, states, zone_of

__all__ = ["estate"]
LEASES = "/v2/mailboxes/leases"
ALL_MISSING = dict.fromkeys(("ownership", "mx", "spf", "dkim", "dmarc"), "missing")


def record(view: dict[str, Any], purpose: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in view["records"] if each["purpose"] == purpose)
    return found


async def test_from_a_name_to_mail(estate: Estate) -> None:
    agent, name = await estate.house.agent(), estate.name()
    view = await estate.add(agent, name)
    assert (view["domain"], view["status"], view["reason"], view["checked_at"]) == (name, "pending", None, None)
    assert states(view) == dict.fromkeys(ALL_MISSING, "unknown")
    required = {each["purpose"] for each in view["records"] if each["required"]}
    assert required == {"ownership", "mx"}
    refused = await agent.ask_lease(domain=name)
    assert (refused.status_code, refused.json()["error"]) == (422, "unprocessable")

    first = (await estate.verify(agent, view)).json()
    assert (first["status"], states(first)) == ("pending", ALL_MISSING)
    assert first["checked_at"] is not None
    estate.publish(view, "ownership")
    second = (await estate.verify(agent, view)).json()
    assert (second["status"], states(second)) == ("pending", {**ALL_MISSING, "ownership": "found"})
    estate.publish(view, "mx")
    third = (await estate.verify(agent, view)).json()
    assert (third["status"], states(third)) == ("verified", {**ALL_MISSING, "ownership": "found", "mx": "found"})
    assert third["verified_at"] is not None
    estate.publish(view)
    whole = (await estate.verify(agent, view)).json()
    assert states(whole) == dict.fromkeys(ALL_MISSING, "found")
    assert whole["verified_at"] == third["verified_at"]
    assert whole == await estate.look(agent, view)

    for reserved in ("bounce", "mailer-daemon"):
        assert (await agent.ask_lease(domain=name, local_part=reserved)).status_code == 422
    await agent.lease(domain=name, local_part="postmaster")
    lease = await agent.lease(domain=name.upper(), local_part="support")
    assert lease["address"] == f"support@{name}"
    async with kit_mail.receiving(estate.house) as post:
        await post.deliver(kit_mail.code_mail(1), lease["address"])
        assert (await post.rcpt(f"nobody@{name}")).startswith("550 5.1.1")
        assert (await post.rcpt(f"support@x.{name}")).startswith("550 5.7.1")
        (message,) = await kit_mail.messages_of(agent)
        assert message["otp_code"] == "481201"
        in_use = await agent.http.delete(f"{DOMAINS}/{view['domain_id']}")
        assert (in_use.status_code, in_use.json()["reason"], in_use.json()["leases"]) == (409, "domain_in_use", 2)
        for each in (await agent.http.get(LEASES, params={"status": "active"})).json()["items"]:
            await agent.http.post(f"{LEASES}/{each['lease_id']}/release")
        assert (await post.rcpt(lease["address"])).startswith("550")
        assert (await agent.http.delete(f"{DOMAINS}/{view['domain_id']}")).status_code == 204
        assert (await post.rcpt(lease["address"])).startswith("550 5.7.1")
    assert (await agent.http.get(f"{DOMAINS}/{view['domain_id']}")).status_code == 404
    assert (await agent.ask_lease(domain=name)).status_code == 422
    assert len(await kit_mail.messages_of(agent)) == 1, "mail stays readable for its retention"


async def test_the_records_say_all_that_dns_needs(estate: Estate) -> None:
    view = await estate.add(await estate.house.agent(), "Bücher.acme.test.")
    name = "xn--bcher-kva.acme.test"
    assert view["domain"] == name
    assert record(view, "ownership")["name"] == f"_leasebox.{name}"
    assert re.fullmatch(r"leasebox-domain=[0-9a-f]{32}", record(view, "ownership")["value"])
    mx = record(view, "mx")
    assert (mx["type"], mx["name"], mx["priority"], mx["value"]) == ("MX", name, 10, MX_HOST)
    assert record(view, "spf")["value"] == f"v=spf1 a:{MX_HOST} ~all"
    assert record(view, "dmarc")["name"] == f"_dmarc.{name}"
    dkim = [each for each in view["records"] if each["purpose"] == "dkim"]
    assert [re.sub(r"p=.*", "", each["value"]) for each in dkim] == ["v=DKIM1; k=rsa; ", "v=DKIM1; k=ed25519; "]
    assert all(re.fullmatch(rf"lb-[a-z2-7]{{8}}-(rsa|ed25519)\._domainkey\.{name}", each["name"]) for each in dkim)


async def test_the_zone_file_is_read_back_by_others(estate: Estate) -> None:
    agent = await estate.house.agent()
    view = await estate.add(agent)
    answer = await agent.http.get(f"{DOMAINS}/{view['domain_id']}/zone-file")
    assert answer.headers["content-type"].startswith("text/dns")
    assert view["domain"] in answer.headers["content-disposition"]
    zone = dns.zone.from_file(io.StringIO(answer.text), origin=view["domain"], relativize=False, check_origin=False)
    found = {
        (name.to_text(omit_final_dot=True), dns.rdatatype.to_text(each.rdtype), _spoken(each))
        for name, _, each in zone.iterate_rdatas()
    }
    wanted = {
        (each["name"], each["type"], f"{each['priority']} {each['value']}" if each["type"] == "MX" else each["value"])
        for each in view["records"]
    }
    assert found == wanted
    assert len(found) == 6
    rsa = next(each for each in view["records"] if each["name"].endswith(f"-rsa._domainkey.{view['domain']}"))
    assert len(rsa["value"]) > 255, "split into strings, since one holds 255 octets"


def _spoken(rdata: Any) -> str:
    if rdata.rdtype == dns.rdatatype.MX:
        return f"{rdata.preference} {rdata.exchange.to_text(omit_final_dot=True)}"
    return b"".join(rdata.strings).decode()


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("com", 422),
        ("test", 422),
        ("localhost", 422),
        ("my.localhost", 422),
        ("printer.local", 422),
        ("example.com", 422),
        ("mail.example.org", 422),
        ("shop.example", 422),
        ("x.internal", 422),
        ("4.3.2.1.in-addr.arpa", 422),
        ("192.0.2.1", 422),
        ("[192.0.2.1]", 422),
        ("[IPv6:2001:db8::1]", 422),
        ("a..test", 422),
        (".acme.test", 422),
        ("-a.test", 422),
        ("a_b.test", 422),
        ("ab--c.test", 422),
        ("xn--a.test", 422),
        ("xn--aaaaa-.test", 422),
        ("a b.test", 422),
        ("a@b.test", 422),
        ("a.test\r\nX: y", 422),
        ("a\u202eb.test", 422),
        ("\u2488com.test", 422),
        ("a" * 64 + ".test", 422),
        (".".join(["a" * 49] * 4) + ".test", 422),
        ("inbox.leasebox.test", 422),
        ("a.inbox.leasebox.test", 422),
        ("leasebox.test", 422),
        ("", 400),
        ("a" * 254, 400),
    ],
)
async def test_names_that_nobody_can_bring(estate: Estate, name: str, status: int) -> None:
    answer = await (await estate.house.agent()).http.post(DOMAINS, json={"domain": name})
    assert answer.status_code == status, answer.text
    assert answer.json()["fix"]


async def test_a_name_is_brought_once_and_one_idempotency_key_does_it_once(estate: Estate) -> None:
    agent, name = await estate.house.agent(), estate.name()
    headers = {"idempotency-key": "one"}
    asked = [agent.http.post(DOMAINS, json={"domain": name}, headers=headers) for _ in range(4)]
    answers = await asyncio.gather(*asked)
    assert [each.status_code for each in answers] == [201] * 4
    assert len({each.json()["domain_id"] for each in answers}) == 1
    again = await agent.http.post(DOMAINS, json={"domain": name.upper()})
    assert (again.status_code, again.json()["reason"]) == (409, "domain_exists")
    assert [each["domain"] for each in (await agent.http.get(DOMAINS)).json()["items"]] == [name]


async def test_of_many_additions_at_once_only_as_many_wait_as_may(estate: Estate) -> None:
    agent = await estate.house.agent()
    names = [estate.name() for _ in range(29)]
    answers = await asyncio.gather(*(agent.http.post(DOMAINS, json={"domain": name}) for name in names))
    statuses = [each.status_code for each in answers]
    assert (statuses.count(201), statuses.count(409)) == (25, 4)
    assert {each.json()["reason"] for each in answers if each.status_code == 409} == {"too_many_domains"}
    made = [each.json() for each in answers if each.status_code == 201]
    listed = (await agent.http.get(DOMAINS, params={"limit": 20})).json()
    rest = (await agent.http.get(DOMAINS, params={"limit": 20, "cursor": listed["next_cursor"]})).json()
    assert [each["domain_id"] for each in listed["items"] + rest["items"]] == sorted(
        (each["domain_id"] for each in made), reverse=True
    )
    estate.house.clock.advance(minutes=2)
    assert (await agent.http.delete(f"{DOMAINS}/{made[0]['domain_id']}")).status_code == 204
    await estate.add(agent)


async def test_making_keys_and_asking_strangers_has_a_rate(estate: Estate) -> None:
    agent = await estate.house.agent()
    view = await estate.add(agent)
    statuses = [(await estate.verify(agent, view)).status_code for _ in range(WORK_RATE.count)]
    assert statuses.count(429) >= 1
    assert statuses[:10] == [200] * 10
    other = await estate.house.agent()
    assert (await estate.verify(other, view)).status_code == 404


async def test_two_tenants_may_wait_for_one_name_and_one_gets_it(estate: Estate) -> None:
    first, second, name = await estate.house.agent(), await estate.house.agent(), estate.name()
    views = [await estate.add(first, name), await estate.add(second, name)]
    tokens, keys = ({record(view, purpose)["value"] for view in views} for purpose in ("ownership", "dkim"))
    assert len(tokens) == len(keys) == 2, "nothing of one is told to the other"
    zone = {**zone_of(views[0]), **zone_of(views[1])}
    owner_key = f"txt _leasebox.{name}"
    zone[owner_key] = [*zone_of(views[0])[owner_key], *zone_of(views[1])[owner_key]]
    estate.dns.publish(zone)
    answers = await asyncio.gather(estate.verify(first, views[0]), estate.verify(second, views[1]))
    again = await asyncio.gather(estate.verify(first, views[0]), estate.verify(second, views[1]))
    assert sorted(each.status_code for each in answers) == [200, 409]
    assert [each.status_code for each in again] == [each.status_code for each in answers]
    (lost,) = [each for each in answers if each.status_code == 409]
    assert lost.json()["reason"] == "domain_taken"
    held = "SELECT count(*) FROM domains WHERE name = $1 AND state = 'verified'"
    assert await kit_mail.value(estate.house, held, name) == 1
    winner, loser = (first, second) if answers[0].status_code == 200 else (second, first)
    await winner.lease(domain=name)
    mine, unknown = await loser.ask_lease(domain=name), await loser.ask_lease(domain="nobodys.acme.test")
    assert mine.status_code == unknown.status_code == 422
    assert {**mine.json(), "detail": "", "message": "", "request_id": ""} == {
        **unknown.json(),
        "detail": "",
        "message": "",
        "request_id": "",
    }


async def test_a_race_of_two_for_one_name_has_one_winner(estate: Estate) -> None:
    for _ in range(5):
        agents, name = [await estate.house.agent() for _ in range(4)], estate.name()
        views = [await estate.add(agent, name) for agent in agents]
        zone = {key: text for view in views for key, text in zone_of(view).items()}
        owner_key = f"txt _leasebox.{name}"
        zone[owner_key] = [zone_of(view)[owner_key][0] for view in views]
        estate.dns.publish(zone)
        asked = [estate.verify(agent, view) for agent, view in zip(agents, views, strict=True)]
        statuses = sorted(each.status_code for each in await asyncio.gather(*asked))
        assert statuses == [200, 409, 409, 409]


async def test_a_silent_dns_changes_nothing(estate: Estate) -> None:
    agent = await estate.house.agent()
    view = await estate.add(agent)
    estate.publish(view)
    estate.dns.broken.add(f"_leasebox.{view['domain']}")
    answer = await estate.verify(agent, view)
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "30"
    assert f"TXT _leasebox.{view['domain']}" in answer.json()["message"]
    assert await estate.look(agent, view) == view
    estate.dns.broken.clear()
    estate.dns.broken.add(f"_dmarc.{view['domain']}")
    verified = (await estate.verify(agent, view)).json()
    assert (verified["status"], states(verified)["dmarc"]) == ("verified", "unknown")


async def test_no_dns_at_all_is_told(database_url: str, redis_url: str, tmp_path: Any) -> None:
    async with opened(settings_for(database_url, redis_url, str(tmp_path)), FakeClock()) as house:
        agent = await house.agent()
        view = (await agent.http.post(DOMAINS, json={"domain": "d.acme.test"})).json()
        answer = await agent.http.post(f"{DOMAINS}/{view['domain_id']}/verify")
        assert (answer.status_code, answer.json()["reason"]) == (409, "dns_off")
        assert "LEASEBOX_DNS" in answer.json()["fix"]


async def test_another_tenants_domain_is_none(estate: Estate) -> None:
    owner, other = await estate.house.agent(), await estate.house.agent()
    view = await estate.verified(owner)
    path = f"{DOMAINS}/{view['domain_id']}"
    nothing = f"{DOMAINS}/{DomainId.new(estate.house.clock.now())}"
    for method, rest in (("GET", ""), ("GET", "/zone-file"), ("POST", "/verify"), ("DELETE", "")):
        answers = [await other.http.request(method, where + rest) for where in (path, nothing, f"{DOMAINS}/dom_x")]
        assert {each.status_code for each in answers} == {404}
    assert (await other.http.get(DOMAINS)).json()["items"] == []
    assert (await other.ask_lease(domain=view["domain"])).status_code == 422
    assert (await estate.look(owner, view))["status"] == "verified"


async def test_keys_with_fewer_rights(estate: Estate) -> None:
    agent = await estate.house.agent()
    view, lease = await estate.add(agent), await agent.lease()
    path = f"{DOMAINS}/{view['domain_id']}"

    async def key(**order: Any) -> dict[str, str]:
        made = await agent.http.post("/v2/api-keys", json={"name": "k", **order})
        return {"authorization": f"Bearer {made.json()['api_key']}"}

    reader = await key(scopes=["mail:read"])
    allocator = await key(scopes=["mail:allocate"])
    limited = await key(scopes=list(SCOPES), mailbox_ids=[lease["mailbox_id"]])
    changing = [("POST", DOMAINS), ("POST", f"{path}/verify"), ("DELETE", path)]
    reading = [("GET", DOMAINS), ("GET", path), ("GET", f"{path}/zone-file")]
    async with estate.house.client() as http:
        for method, where in changing:
            body = {"domain": estate.name()} if where == DOMAINS else None
            refused = await http.request(method, where, headers=reader, json=body)
            assert (refused.status_code, refused.json()["error"]) == (403, "missing_scope")
            assert (await http.request(method, where, headers=limited, json=body)).status_code == 403
        for method, where in reading:
            assert (await http.request(method, where, headers=reader)).status_code == 200
            assert (await http.request(method, where, headers=allocator)).status_code == 403
            assert (await http.request(method, where, headers=limited)).status_code == 403
        added = await http.post(DOMAINS, json={"domain": estate.name()}, headers=allocator)
        assert added.status_code == 201


async def test_what_is_done_is_written_down(estate: Estate) -> None:
    agent = await estate.house.agent()
    view = await estate.verified(agent)
    await estate.verify(agent, view)
    await agent.http.delete(f"{DOMAINS}/{view['domain_id']}")
    rows = await kit_mail.rows(
        estate.house, "SELECT actor, action FROM audit_rows WHERE resource = $1 ORDER BY id", view["domain_id"]
    )
    actions = ["domain.add", "domain.verify", "domain.remove"]
    assert [(row["actor"], row["action"]) for row in rows] == [(agent.agent_id, action) for action in actions]


async def test_private_keys_are_sealed_and_go_with_the_domain(estate: Estate) -> None:
    agent = await estate.house.agent()
    view = await estate.add(agent)
    of_domain = "SELECT * FROM dkim_keys WHERE domain_id = $1"
    wanted = DomainId.parse(view["domain_id"])
    rows = await kit_mail.rows(estate.house, of_domain, wanted)
    assert len(rows) == 2
    # PKCS #8 in DER begins with a SEQUENCE and a version of 0.
    assert not any(b"\x02\x01\x00\x30" in row["sealed"] for row in rows)
    await agent.http.delete(f"{DOMAINS}/{view['domain_id']}")
    assert await kit_mail.rows(estate.house, of_domain, wanted) == []
