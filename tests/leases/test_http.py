"""Leases over the routes: every refusal, the clock, names held and retired, races."""

import asyncio
import re
from typing import Any

import pytest

from leasebox.values.ids import AgentId, LeaseId
from tests import kit_mail
from tests.kit import Agent, House

house = kit_mail.shared_house
ROUTES = "/v2/mailboxes/leases"


async def act(agent: Agent, lease: dict[str, Any], verb: str, **body: Any) -> Any:
    return await agent.http.post(f"{ROUTES}/{lease['lease_id']}/{verb}", json=body or None)


async def freeze(house: House, lease: dict[str, Any]) -> None:
    frozen = "UPDATE leases SET frozen_at = $2 WHERE id = $1"
    await kit_mail.change(house, frozen, LeaseId.parse(lease["lease_id"]), house.clock.now())


async def test_a_generated_address(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(purpose="sign up", ttl_hours=2, metadata={"run": 7, "tags": ["a"]})
    assert re.fullmatch(r"[a-z]+-[a-z]+-[a-z2-9]{9}@inbox\.leasebox\.test", lease["address"])
    assert lease["account_id"] == lease["mailbox_id"]
    assert (lease["purpose"], lease["lease_status"], lease["agent_id"]) == ("sign up", "active", agent.agent_id)
    assert lease["webmail_login"] == lease["address"]
    assert re.fullmatch(r"[a-z2-9-]{27}", lease["webmail_password"])
    shown = (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()
    same = {name: shown[name] for name in lease if name in shown}
    assert same == {name: lease[name] for name in same}
    assert shown["metadata"] == {"run": 7, "tags": ["a"]}
    assert (shown["used_bytes"], shown["used_messages"], shown["released_at"]) == (0, 0, None)
    assert "webmail_password" not in shown


async def test_a_named_address_in_lower_case(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(local_part="Sign-Up-1", domain="INBOX.leasebox.test")
    assert lease["address"] == "sign-up-1@inbox.leasebox.test"
    again = await agent.ask_lease(local_part="SIGN-UP-1")
    assert (again.status_code, again.json()["error"]) == (409, "address_taken")
    assert again.json()["fix"]


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"local_part": "postmaster"}, 422, "unprocessable"),
        ({"local_part": "Admin"}, 422, "unprocessable"),
        ({"local_part": "-a"}, 422, "unprocessable"),
        ({"local_part": "a-"}, 422, "unprocessable"),
        ({"local_part": "a" * 41}, 422, "unprocessable"),
        ({"local_part": "a.b"}, 422, "unprocessable"),
        ({"local_part": "a+b"}, 422, "unprocessable"),
        ({"local_part": "ünïcode"}, 422, "unprocessable"),
        ({"domain": "gmail.com"}, 422, "unprocessable"),
        ({"domain": "x.inbox.leasebox.test"}, 422, "unprocessable"),
        ({"local_part": ""}, 400, "bad_request"),
        ({"local_part": "a\x00"}, 400, "bad_request"),
        ({"ttl_hours": 0}, 400, "bad_request"),
        ({"ttl_hours": 721}, 400, "bad_request"),
        ({"ttl_hours": -1}, 400, "bad_request"),
        ({"ttl_hours": 1.5}, 400, "bad_request"),
        ({"ttl_hours": "1"}, 400, "bad_request"),
        ({"ttl_hours": True}, 400, "bad_request"),
        ({"ttl_hours": None}, 400, "bad_request"),
        ({"purpose": ""}, 400, "bad_request"),
        ({"purpose": "x" * 201}, 400, "bad_request"),
        ({"metadata": {"x": "y" * 8192}}, 400, "bad_request"),
        ({"metadata": []}, 400, "bad_request"),
        ({"metadata": {"x": "\x00"}}, 400, "bad_request"),
        ({"localpart": "a"}, 400, "bad_request"),
        ({"agent_id": "agt_nonsense"}, 404, "not_found"),
        ({"agent_id": ""}, 404, "not_found"),
        ({"agent_id": "ten_01m7w9s6jsez7rc7q1chr6pa14"}, 404, "not_found"),
    ],
)
async def test_refusals(house: House, order: dict[str, Any], status: int, code: str) -> None:
    answer = await (await house.agent()).ask_lease(**order)
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert answer.json()["fix"]


async def test_agents_that_are_not_yours_are_404(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    for agent_id in (other.agent_id, str(AgentId.new(house.clock.now()))):
        answer = await agent.ask_lease(agent_id=agent_id)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


async def test_all_faults_of_an_order_are_told_together(house: House) -> None:
    answer = await (await house.agent()).http.post(ROUTES, json={"ttl_hours": 0, "purpos": "x", "metadata": 5})
    paths = {fault["path"] for fault in answer.json()["errors"]}
    assert paths == {"body.agent_id", "body.purpose", "body.ttl_hours", "body.purpos", "body.metadata"}


@pytest.mark.parametrize("hours", [1, 720])
async def test_the_bounds_of_a_term_are_terms(house: House, hours: int) -> None:
    before = house.clock.now()
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=hours)
    shown = (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()
    assert shown["expires_at"].endswith("Z")
    (row,) = await kit_mail.rows(house, "SELECT * FROM leases WHERE id = $1", LeaseId.parse(lease["lease_id"]))
    assert (row["expires_at"] - row["started_at"]).total_seconds() == hours * 3600
    assert before <= row["started_at"] <= house.clock.now()


async def test_of_a_hundred_claims_of_one_name_one_succeeds(house: House) -> None:
    agents = await asyncio.gather(*(house.agent() for _ in range(4)))
    calls = [agents[number % 4].ask_lease(local_part="one-of-a-hundred") for number in range(100)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 99
    assert {answer.json().get("error") for answer in answers} == {None, "address_taken"}
    made = "SELECT count(*) FROM mailboxes WHERE address = 'one-of-a-hundred@inbox.leasebox.test'"
    assert await kit_mail.value(house, made) == 1


async def test_a_released_name_is_its_last_tenants_for_ninety_days(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    first = await agent.lease(local_part="held")
    await act(agent, first, "release")
    assert (await other.ask_lease(local_part="held")).status_code == 409
    second = await agent.lease(local_part="held")
    assert second["mailbox_id"] == first["mailbox_id"]
    assert second["lease_id"] != first["lease_id"]
    await act(agent, second, "release")
    house.clock.advance(days=89, hours=23)
    other = await house.agent(other.wallet)
    assert (await other.ask_lease(local_part="held")).status_code == 409
    house.clock.advance(hours=1)
    other = await house.agent(other.wallet)
    third = await other.lease(local_part="held")
    assert third["mailbox_id"] != first["mailbox_id"]
    agent = await house.agent(agent.wallet)
    assert (await agent.ask_lease(local_part="held")).status_code == 409
    assert (await agent.http.get(f"{ROUTES}/{third['lease_id']}")).status_code == 404


async def test_a_name_that_ran_out_is_held_from_its_end(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    await agent.lease(local_part="ran-out", ttl_hours=48)
    house.clock.advance(days=91)
    other = await house.agent(other.wallet)
    assert (await other.ask_lease(local_part="ran-out")).status_code == 409
    house.clock.advance(days=1)
    other = await house.agent(other.wallet)
    assert (await other.ask_lease(local_part="ran-out")).status_code == 201


async def test_generated_addresses_are_never_issued_again(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    name = lease["address"].partition("@")[0]
    await act(agent, lease, "release")
    assert (await agent.ask_lease(local_part=name)).status_code == 409
    house.clock.advance(days=3650)
    agent = await house.agent(agent.wallet)
    assert (await agent.ask_lease(local_part=name)).status_code == 409


async def test_renewing_never_shortens(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=5)
    shorter = await act(agent, lease, "renew", ttl_hours=2)
    assert (shorter.status_code, shorter.json()["expires_at"]) == (200, lease["expires_at"])
    longer = await act(agent, lease, "renew", ttl_hours=720)
    assert longer.json()["expires_at"] > lease["expires_at"]
    house.clock.advance(hours=719)
    agent = await house.agent(agent.wallet)
    assert (await act(agent, lease, "renew", ttl_hours=2)).json()["lease_status"] == "active"


async def test_a_renewed_name_is_held_from_its_new_end(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    lease = await agent.lease(local_part="renewed", ttl_hours=1)
    assert (await act(agent, lease, "renew", ttl_hours=240)).status_code == 200
    house.clock.advance(days=95)
    other = await house.agent(other.wallet)
    assert (await other.ask_lease(local_part="renewed")).status_code == 409
    house.clock.advance(days=5)
    other = await house.agent(other.wallet)
    assert (await other.ask_lease(local_part="renewed")).status_code == 201


@pytest.mark.parametrize("body", [{}, {"ttl_hours": 0}, {"ttl_hours": 721}, {"ttl_hours": 5, "x": 1}])
async def test_faults_of_a_renewal_are_400(house: House, body: dict[str, Any]) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    answer = await agent.http.post(f"{ROUTES}/{lease['lease_id']}/renew", json=body)
    assert answer.status_code == 400


async def test_the_clock_ends_a_lease_without_any_job(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(ttl_hours=1)
    house.clock.advance(minutes=59)
    assert (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()["lease_status"] == "active"
    house.clock.advance(minutes=1)
    agent = await house.agent(agent.wallet)
    assert (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()["lease_status"] == "expired"
    for verb, body in (("renew", {"ttl_hours": 1}), ("pause", {}), ("resume", {})):
        answer = await act(agent, lease, verb, **body)
        assert (answer.status_code, answer.json()["error"]) == (410, "lease_ended")
        assert answer.json()["lease_status"] == "expired"
        assert answer.json()["fix"]
    reset = await agent.http.post(f"/v2/mailboxes/accounts/{lease['mailbox_id']}/credentials/reset")
    assert (reset.status_code, reset.json()["error"]) == (410, "lease_ended")


async def test_pausing_and_resuming(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    for verb, status in (("pause", "paused"), ("pause", "paused"), ("resume", "active"), ("resume", "active")):
        answer = await act(agent, lease, verb)
        assert (answer.status_code, answer.json()["lease_status"]) == (200, status)
    await act(agent, lease, "pause")
    assert (await act(agent, lease, "renew", ttl_hours=3)).json()["lease_status"] == "paused"


async def test_releasing_twice_gives_the_same_answer(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    first, second = await act(agent, lease, "release"), await act(agent, lease, "release")
    expected = {"lease_id": lease["lease_id"], "mailbox_id": lease["mailbox_id"], "lease_status": "released"}
    assert (first.status_code, first.json()) == (202, expected)
    assert (second.status_code, second.json()) == (202, expected)
    assert (await act(agent, lease, "renew", ttl_hours=1)).status_code == 410
    shown = (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()
    house.clock.advance(minutes=5)
    await act(agent, lease, "release")
    assert (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json() == shown


async def test_an_old_lease_id_never_touches_a_newer_lease(house: House) -> None:
    agent = await house.agent()
    old = await agent.lease(local_part="twice")
    await act(agent, old, "release")
    new = await agent.lease(local_part="twice", ttl_hours=10)
    for verb, body, status in (("release", {}, 202), ("pause", {}, 410), ("renew", {"ttl_hours": 700}, 410)):
        assert (await act(agent, old, verb, **body)).status_code == status
    shown = (await agent.http.get(f"{ROUTES}/{new['lease_id']}")).json()
    assert (shown["lease_status"], shown["expires_at"]) == ("active", new["expires_at"])
    assert (await agent.ask_lease(local_part="twice")).status_code == 409


async def test_a_frozen_lease_lets_its_tenant_do_nothing(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease(local_part="frozen")
    await freeze(house, lease)
    account = f"/v2/mailboxes/accounts/{lease['mailbox_id']}"
    answers = [
        await act(agent, lease, "renew", ttl_hours=1),
        await act(agent, lease, "pause"),
        await act(agent, lease, "resume"),
        await act(agent, lease, "release"),
        await agent.http.post(f"{account}/credentials/reset"),
        await agent.http.patch(account, json={"display_name": "x"}),
        await agent.http.delete(account),
    ]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(403, "mailbox_frozen")}
    assert (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()["lease_status"] == "frozen"


async def test_leasing_anew_does_not_undo_a_freeze(house: House) -> None:
    agent, other = await house.agent(), await house.agent()
    lease = await agent.lease(local_part="thawed", ttl_hours=1)
    await freeze(house, lease)
    house.clock.advance(hours=1)
    agent = await house.agent(agent.wallet)
    assert (await agent.ask_lease(local_part="thawed")).status_code == 409
    house.clock.advance(days=90)
    other = await house.agent(other.wallet)
    assert (await other.lease(local_part="thawed"))["mailbox_id"] != lease["mailbox_id"]


@pytest.mark.parametrize("verb", ["renew", "release", "pause", "resume"])
async def test_leases_of_another_tenant_look_like_none(house: House, verb: str) -> None:
    agent, other = await house.agent(), await house.agent()
    lease = await agent.lease()
    nobody = str(LeaseId.new(house.clock.now()))
    body = {"ttl_hours": 1} if verb == "renew" else None
    answers = [
        await other.http.post(f"{ROUTES}/{lease_id}/{verb}", json=body)
        for lease_id in (lease["lease_id"], nobody, "lse_x", lease["mailbox_id"])
    ]
    assert {(answer.status_code, answer.json()["error"]) for answer in answers} == {(404, "not_found")}
    assert answers[0].json()["message"] == answers[1].json()["message"]
    assert (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()["lease_status"] == "active"


async def test_the_list_is_narrowed_by_status_agent_and_mailbox(house: House) -> None:
    agent = await house.agent()
    second = (await agent.http.post("/v2/agents", json={"name": "second"})).json()["agent_id"]
    active, paused, frozen, released = [await agent.lease(ttl_hours=10) for _ in range(4)]
    expired = await agent.lease(ttl_hours=1, agent_id=second)
    await act(agent, paused, "pause")
    await act(agent, released, "release")
    await freeze(house, frozen)
    house.clock.advance(hours=1)
    agent = await house.agent(agent.wallet)

    async def listed(**query: str) -> list[str]:
        answer = await agent.http.get(ROUTES, params=query)
        assert answer.status_code == 200, answer.text
        return [lease["lease_id"] for lease in answer.json()["items"]]

    assert await listed() == [each["lease_id"] for each in (expired, released, frozen, paused, active)]
    for status, lease in (("active", active), ("paused", paused), ("frozen", frozen), ("released", released)):
        assert await listed(status=status) == [lease["lease_id"]]
    assert await listed(status="expired") == [expired["lease_id"]]
    assert await listed(status="ended") == [expired["lease_id"], released["lease_id"]]
    assert await listed(agent_id=second) == [expired["lease_id"]]
    assert await listed(mailbox_id=paused["mailbox_id"]) == [paused["lease_id"]]
    assert await listed(mailbox_id=paused["mailbox_id"], status="active") == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"status": "dead"}, 400),
        ({"limit": "0"}, 400),
        ({"limit": "101"}, 400),
        ({"limit": "x"}, 400),
        ({"cursor": "nonsense!"}, 400),
        ({"agent_id": "x"}, 404),
        ({"mailbox_id": "lse_01m7w9s6jsez7rc7q1chr6pa14"}, 404),
    ],
)
async def test_queries_that_are_none(house: House, query: dict[str, str], status: int) -> None:
    assert (await (await house.agent()).http.get(ROUTES, params=query)).status_code == status


async def test_pages_are_stable_while_leases_are_added(house: House) -> None:
    agent = await house.agent()
    leases = [(await agent.lease())["lease_id"] for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await agent.http.get(ROUTES, params=params)).json()
        seen += [lease["lease_id"] for lease in page["items"]]
        cursor = page["next_cursor"]
        await agent.lease()
    assert cursor is None
    assert seen == leases[::-1]


async def test_a_key_limited_to_a_mailbox_sees_and_leases_only_that(house: House) -> None:
    agent = await house.agent()
    mine, other = await agent.lease(local_part="limited"), await agent.lease()
    order = {"name": "k", "scopes": ["mail:read", "mail:allocate"], "mailbox_ids": [mine["mailbox_id"]]}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()["api_key"]
    async with house.client(headers={"authorization": f"Bearer {key}"}) as http:
        items = (await http.get(ROUTES)).json()["items"]
        assert [each["lease_id"] for each in items] == [mine["lease_id"]]
        assert (await http.get(f"{ROUTES}/{other['lease_id']}")).status_code == 404
        assert (await http.post(f"{ROUTES}/{other['lease_id']}/release")).status_code == 404
        assert (await http.post(f"{ROUTES}/{mine['lease_id']}/release")).status_code == 202
        wanted = {"agent_id": agent.agent_id, "purpose": "x", "ttl_hours": 1}
        assert (await http.post(ROUTES, json=wanted)).status_code == 403
        again = await http.post(ROUTES, json={**wanted, "local_part": "limited"})
        assert (again.status_code, again.json()["mailbox_id"]) == (201, mine["mailbox_id"])
    assert len((await agent.http.get(ROUTES)).json()["items"]) == 3


async def test_scopes_are_asked_for(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    key = (await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:read"]})).json()["api_key"]
    async with house.client(headers={"authorization": f"Bearer {key}"}) as http:
        assert (await http.get(f"{ROUTES}/{lease['lease_id']}")).status_code == 200
        for call in (http.post(f"{ROUTES}/{lease['lease_id']}/release"), http.post(ROUTES, json={})):
            answer = await call
            assert (answer.status_code, answer.json()["error"]) == (403, "missing_scope")


async def test_renewing_and_releasing_at_once_leave_a_released_lease(house: House) -> None:
    agent = await house.agent()
    for _ in range(10):
        lease = await agent.lease()
        calls = [act(agent, lease, "renew", ttl_hours=9), act(agent, lease, "release")] * 3
        answers = await asyncio.gather(*calls)
        assert {answer.status_code for answer in answers} <= {200, 202, 410}
        shown = (await agent.http.get(f"{ROUTES}/{lease['lease_id']}")).json()
        assert shown["lease_status"] == "released"
        assert shown["expires_at"] <= shown["released_at"]


async def test_every_change_is_audited(house: House) -> None:
    agent = await house.agent()
    lease = await agent.lease()
    await act(agent, lease, "pause")
    await act(agent, lease, "resume")
    await act(agent, lease, "renew", ttl_hours=3)
    await act(agent, lease, "release")
    await act(agent, lease, "release")
    rows = await kit_mail.rows(house, "SELECT action, actor FROM audit_rows WHERE resource = $1", lease["lease_id"])
    assert {row["actor"] for row in rows} == {agent.agent_id}
    acts = ["lease.grant", "lease.pause", "lease.release", "lease.renew", "lease.resume"]
    assert sorted(row["action"] for row in rows) == acts
