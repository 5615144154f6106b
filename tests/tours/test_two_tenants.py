"""Another tenant's things do not exist: every operation of `/openapi.json` is walked with every id of somebody else."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx
import msgspec
import pytest

from leasebox.billing.invoice_jobs import close_tenant
from leasebox.billing.invoice_model import Invoice
from leasebox.billing.usage import month_of
from leasebox.identity.model import SCOPES
from leasebox.values import ids
from leasebox.values.ids import Id
from tests.fakes.clock import FakeClock
from tests.kit import Agent, House
from tests.kit_mail import messages_of, receiving, shared_house
from tests.tours.sample import JsonObject, Operation, body_of, fields_of, operations, used_in

__all__ = ["shared_house"]
SIWE = """leasebox.test wants you to sign in with your Ethereum account:
0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed


URI: http://leasebox.test
Version: 1
Chain ID: 84532
Nonce: 0123456789abcdef
Issued At: 2026-11-20T10:00:00Z"""
MAIL = b"""\
From: Canary Sender <canary-sender@shop.example>\r
Subject: canary-subject\r
Message-ID: <canary-mid@shop.example>\r
Content-Type: multipart/mixed; boundary=b\r
\r
--b\r
\r
canary-text. Your verification code is 5813792604.\r
https://shop.example/verify?token=canary9f3kq7Zx1\r
--b\r
Content-Type: text/plain; name=canary-file.txt\r
Content-Disposition: attachment; filename=canary-file.txt\r
\r
canary-content\r
--b--\r
"""
# What fills requests beside ids; whatever a new route needs that its schema does not tell stands here by its name.
WORDS: JsonObject = {
    "wallet_address": "0x" + "ab" * 20,
    "message": SIWE,
    "signature": "0x" + "11" * 65,
    "timeout_s": 1,
    "scopes": ["mail:read"],
    "method": "POST",
    "path": "/v2/mailboxes/leases",
    "meter": "mailbox.lease",
    "direction": "inbound",
    "domain": "shop.example",
    "name": "bee",
    "figure": "leases",
    "limit_usdc": "5",
    "event_types": ["message.received"],
    "target_url": "https://hooks.example/in",
    "mail_id": "msg_01kafzzzzzf00v0dy0f3b3v5kk",
    "from": "2026-11-20T10:00:00Z",
}
# Ids that reach a mailbox: a key that is limited to other mailboxes must not find them either.
OF_MAILBOXES = {"lease_id", "account_id", "mailbox_id", "mailbox_ids", "message_id", "attachment_id", "thread_id"}
OF_MAILBOXES |= {"webhook_id", "delivery_id"}
OF_MAILBOXES |= {"send_attempt_id"}
# Words that mean something else to some operations than to the others.
OTHERWISE: dict[str, JsonObject] = {
    name: {"address": "somebody@elsewhere.example"}
    for name in ("list_suppressions", "suppress_address", "lift_suppression")
}
OTHERWISE["admin_prove_log_extension"] = {"from": 1, "to": 1}
# Refused to any API key before its id is looked at.
SESSIONS_ONLY = {"unbind_wallet", "bind_wallet", "set_spend_cap"}


class Owner(msgspec.Struct):
    """Somebody who has one of everything. ids: by the names that requests use; marks: what nobody else may ever see."""

    agent: Agent
    ids: JsonObject
    marks: set[str]
    other_mailbox: str
    described: JsonObject

    def operations(self, *securities: str) -> list[Operation]:
        return [each for each in operations(self.described) if each.security in securities]


@pytest.fixture(scope="module")
async def owner(shared_house: House) -> AsyncIterator[Owner]:
    made = await an_owner(shared_house)
    yield made
    await made.agent.http.aclose()


async def an_owner(shared_house: House) -> Owner:
    """A fresh tenant that has one of everything."""
    agent = await shared_house.agent()
    made = (await agent.http.post("/v2/agents", json={"name": "canary-agent"})).json()
    lease = await agent.lease(agent_id=made["agent_id"], purpose="canary-purpose", metadata={"canary-meta": "canary-v"})
    other = await agent.lease(purpose="canary-other")
    await agent.http.patch(f"/v2/mailboxes/accounts/{lease['account_id']}", json={"display_name": "canary-display"})
    order = {"name": "canary-key", "scopes": ["mail:read"], "mailbox_ids": [lease["mailbox_id"]]}
    key = (await agent.http.post("/v2/api-keys", json=order)).json()
    hook = {"event_types": ["*"], "target_url": "https://canary.example/", "mailbox_ids": [lease["mailbox_id"]]}
    webhook = (await agent.http.post("/v2/webhooks", json=hook)).json()
    tested = (await agent.http.post(f"/v2/webhooks/{webhook['webhook_id']}/test")).json()
    domain = (await agent.http.post("/v2/domains", json={"domain": "canary-domain.test"})).json()
    async with receiving(shared_house) as post:
        await post.deliver(MAIL, lease["address"])
    message = (await messages_of(agent))[0]
    letter = {"mailbox_id": lease["mailbox_id"], "to": "canary-to@elsewhere.example", "subject": "canary", "text": "c"}
    sent = (await agent.http.post("/v2/messages/send", json=letter)).json()
    await agent.http.post("/v2/suppressions", json={"address": "canary-gone@elsewhere.example"})
    path = f"/v2/messages/{message['message_id']}"
    await agent.http.patch(path, json={"add_labels": ["canary-label"]})
    whole = (await agent.http.get(path)).json()
    async with shared_house.client() as stranger:
        claim = (await stranger.post("/v2/claims", json={"name": "canary-claim"})).json()
        described = (await stranger.get("/openapi.json")).json()
    row = await shared_house.db.read(
        lambda tx: tx.one(
            "SELECT id FROM audit_rows WHERE tenant_id = $1", ids.TenantId.parse(agent.session["tenant_id"])
        )
    )
    assert row is not None
    known = {
        "tenant_id": agent.session["tenant_id"],
        "agent_id": made["agent_id"],
        "api_key_id": key["api_key_id"],
        "address": agent.wallet.address,
        "lease_id": lease["lease_id"],
        "account_id": lease["account_id"],
        "mailbox_id": lease["mailbox_id"],
        "mailbox_ids": [lease["mailbox_id"]],
        "message_id": message["message_id"],
        "thread_id": message["thread_id"],
        "send_attempt_id": sent["send_attempt_id"],
        "attachment_id": whole["attachments"][0]["attachment_id"],
        "domain_id": domain["domain_id"],
        "webhook_id": webhook["webhook_id"],
        "delivery_id": tested["delivery_id"],
        "session_id": claim.get("session_id", ""),
        "audit_id": str(ids.AuditId.of(row["id"])),
        "event_id": (await agent.http.get("/v2/usage/events")).json()["items"][0]["event_id"],
        "invoice_id": await billed(shared_house, agent),
    }
    marks = {text for text in used_in(list(known.values())) if text and text != known["attachment_id"]}
    marks |= {
        "canary",
        "5813792604",
        lease["address"],
        other["address"],
        other["lease_id"],
        agent.agent_id,
        key["hint"],
    }
    return Owner(agent, known, marks, other["mailbox_id"], described)


async def billed(house: House, agent: Agent) -> str:
    """The agent's invoice of this month, drawn up by a clock of the next."""
    later, tenant_id = FakeClock(), ids.TenantId.parse(agent.session["tenant_id"])
    later.advance(days=32)
    invoice = await close_tenant(house.db, later, tenant_id, month_of(house.clock.now()))
    assert isinstance(invoice, Invoice), invoice
    return str(invoice.invoice_id)


async def call(
    http: httpx.AsyncClient, operation: Operation, owner: Owner, known: JsonObject, *optional: str
) -> httpx.Response:
    """Call an operation with these ids; `optional` names what is to be sent of what may be left out."""
    given, wanted = (
        {**WORDS, **known, **OTHERWISE.get(operation.operation_id, {})},
        {*operation.required_query, *optional, "timeout_s"},
    )
    missing = {*operation.path_words, *operation.required_query} - set(given)
    assert not missing, f"{operation} is new: give the owner one of {missing}, or WORDS a text"
    path = re.sub(r"\{(\w+)\}", lambda match: str(given[match[1]]), operation.path)
    query = {name: given[name] for name in operation.query_words if name in wanted}
    body = body_of(operation, owner.described, given, *optional)
    return await http.request(operation.method, path, params=query, **({} if body is None else {"json": body}))


def reveals(answer: httpx.Response, owner: Owner, *asked: Any) -> set[str]:
    """What an answer tells of the owner, beyond the ids that it was asked about."""
    told = answer.text + str(sorted(answer.headers.items()))
    spoken = set(used_in(list(asked))) | {answer.request.url.path}
    return {mark for mark in owner.marks if mark in told and not any(mark in each for each in spoken)}


def foreign(known: JsonObject, house: House) -> JsonObject:
    """Ids of the same kinds that nothing has."""
    fresh = {kind.prefix: str(kind.new(house.clock.now())) for kind in Id.__subclasses__()}
    made = {name: fresh.get(str(text).partition("_")[0], text) for name, text in known.items()}
    return {**made, "mailbox_ids": [fresh["mbx"]], "address": "0x" + "cd" * 20, "attachment_id": "att_9.9"}


async def stranger(house: House, how: str) -> httpx.AsyncClient:
    """A fresh tenant's client, by its session or by an API key with every scope."""
    agent = await house.agent()
    if how == "key":
        key = (await agent.http.post("/v2/api-keys", json={"name": "all", "scopes": list(SCOPES)})).json()
        agent.http.headers["authorization"] = f"Bearer {key['api_key']}"
    return agent.http


def named_ids(operation: Operation, owner: Owner) -> list[set[str]]:
    """The ids that a call of this operation names: those it always needs, and each optional one beside them."""
    body = body_of(operation, owner.described, {**WORDS, **owner.ids}) or {}
    known = set(owner.ids) - set(OTHERWISE.get(operation.operation_id, {}))
    always = {*operation.path_words, *operation.required_query, *body} & known
    optional = fields_of(operation, owner.described) & known - set(body)
    return [always, *(always | {name} for name in sorted(optional))]


@pytest.mark.parametrize("how", ["session", "key"])
async def test_ids_of_another_tenant_are_404_on_every_route(shared_house: House, owner: Owner, how: str) -> None:
    walked = 0
    for operation in owner.operations("bearer"):
        for named in named_ids(operation, owner):
            async with aclosing(await stranger(shared_house, how)) as http:
                asked = {name: owner.ids[name] for name in named}
                answer = await call(http, operation, owner, await _own_agent(http, owner.ids, named), *named)
                assert answer.status_code not in (400, 415, 500), (operation, answer.text)
                assert reveals(answer, owner, asked) == set(), operation
                if not asked:
                    continue
                walked += 1
                refused = 403 if how == "key" and operation.operation_id in SESSIONS_ONLY else 404
                assert answer.status_code == refused, (operation, named, answer.text)
                nothing = await call(http, operation, owner, foreign(owner.ids, shared_house), *named)
                assert alike(answer) == alike(nothing), f"{operation} tells what exists from what does not"
    assert walked >= 20


async def _own_agent(http: httpx.AsyncClient, known: JsonObject, named: set[str]) -> JsonObject:
    """The owner's ids, where they are not what is asked about with the caller's own agent among them."""
    if "agent_id" in named:
        return known
    return {**known, "agent_id": (await http.get("/v2/auth/me")).json()["agent_id"]}


def alike(answer: httpx.Response) -> tuple[int, str, str, str]:
    told = answer.json()
    return answer.status_code, told["error"], told["message"], told["fix"]


@pytest.mark.parametrize("how", ["session", "key"])
async def test_filters_by_ids_of_another_tenant_find_nothing(shared_house: House, owner: Owner, how: str) -> None:
    walked = 0
    async with aclosing(await stranger(shared_house, how)) as http:
        for operation in owner.operations("bearer"):
            for name in set(operation.query_words) - set(operation.required_query):
                if name in set(owner.ids) - set(OTHERWISE.get(operation.operation_id, {})) and not operation.path_words:
                    answer = await call(http, operation, owner, owner.ids, name)
                    assert answer.status_code == 404 or answer.json()["items"] == [], (operation, name)
                    assert reveals(answer, owner, owner.ids[name]) == set()
                    walked += 1
    assert walked >= 4


async def test_what_is_not_for_tenants_is_closed_to_them(shared_house: House, owner: Owner) -> None:
    securities = {operation.security for operation in operations(owner.described)} - {"bearer", ""}
    for operation in owner.operations(*securities):
        for http in (owner.agent.http, await stranger(shared_house, "session")):
            answer = await call(http, operation, owner, owner.ids)
            assert answer.status_code in (401, 403, 404), (operation, answer.text)
            assert reveals(answer, owner, owner.ids, WORDS) == set()
            if http is not owner.agent.http:
                await http.aclose()


async def test_what_is_open_to_all_tells_of_nobody(shared_house: House, owner: Owner) -> None:
    async with shared_house.client() as nobody:
        for operation in owner.operations(""):
            answer = await call(nobody, operation, owner, owner.ids)
            assert answer.status_code not in (400, 404, 500), (operation, answer.text)
            assert reveals(answer, owner) == set(), operation


async def test_a_key_limited_to_another_mailbox_finds_nothing_of_this_one(shared_house: House, owner: Owner) -> None:
    order = {"name": "limited", "scopes": list(SCOPES), "mailbox_ids": [owner.other_mailbox]}
    key = (await owner.agent.http.post("/v2/api-keys", json=order)).json()
    marks = {mark for mark in owner.marks if mark not in ("canary", owner.agent.wallet.address)}
    marks -= {owner.ids["agent_id"], owner.ids["tenant_id"], owner.agent.agent_id}
    walked = 0
    async with shared_house.client(headers={"authorization": f"Bearer {key['api_key']}"}) as limited:
        for operation in owner.operations("bearer"):
            for named in named_ids(operation, owner):
                if named & OF_MAILBOXES:
                    answer = await call(limited, operation, owner, owner.ids, *named)
                    beyond = operation.operation_id == "make_api_key"  # asks for more than its maker has
                    assert answer.status_code == (403 if beyond else 404), (operation, answer.text)
                    walked += 1
            if operation.method == "GET" and not operation.path_words:
                for name in ("", *(set(operation.query_words) & OF_MAILBOXES)):
                    listed = await call(limited, operation, owner, owner.ids, name)
                    told = {mark for mark in marks if mark in listed.text and mark not in str(listed.request.url)}
                    seen = told & {text for text in marks if text.startswith(("lse_", "mbx_", "msg_", "thr_", "key_"))}
                    is_stream = listed.headers["content-type"].startswith("text/event-stream")
                    assert seen <= (set() if is_stream else _own(listed.json(), owner)), (operation, name)
        assert (await limited.post("/v2/mailboxes/leases", json=_order(owner))).status_code == 403
        revoked = await limited.delete(f"/v2/api-keys/{owner.ids['api_key_id']}")
        assert revoked.status_code == 404
    assert walked >= 12


def _order(owner: Owner) -> JsonObject:
    return {"agent_id": owner.agent.agent_id, "purpose": "more", "ttl_hours": 1}


def _own(told: Any, owner: Owner) -> set[str]:
    """Ids in an answer that the limited key may see: those that stand beside its own mailbox."""
    items = told.get("items", []) if isinstance(told, dict) else []
    return {text for item in items if owner.other_mailbox in str(item) for text in used_in(item)}


async def test_a_key_without_the_scope_is_403_on_each_route_that_needs_one(shared_house: House, owner: Owner) -> None:
    needed = scopes_of(shared_house)
    described = {operation.operation_id for operation in owner.operations("bearer")}
    assert described <= set(needed), "every route says what it needs"
    keys = {}
    async with aclosing(await stranger(shared_house, "session")) as http:
        for scope in set(needed.values()) - {""}:
            rest = [each for each in SCOPES if each != scope]
            for name, scopes in ((f"only {scope}", [scope]), (f"all but {scope}", rest)):
                key = (await http.post("/v2/api-keys", json={"name": name, "scopes": scopes})).json()
                keys[name] = {"authorization": f"Bearer {key['api_key']}"}
    walked = 0
    async with shared_house.client() as http:
        for operation in owner.operations("bearer"):
            scope = needed[operation.operation_id]
            if not scope or operation.operation_id == "wait_for_message":
                continue
            known = foreign(owner.ids, shared_house)
            http.headers.update(keys[f"all but {scope}"])
            refused = await call(http, operation, owner, known)
            assert (refused.status_code, refused.json()["error"]) == (403, "missing_scope"), operation
            assert refused.json()["scope"] == scope
            http.headers.update(keys[f"only {scope}"])
            allowed = await call(http, operation, owner, known)
            assert "missing_scope" not in allowed.text, operation
            walked += 1
    assert walked >= 25


def scopes_of(house: House) -> dict[str, str]:
    """The scope that each operation needs, as the application itself has it."""
    found = {}
    for route in house.app._app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if handler.operation_id and not handler.opt.get("public") and "scope" in handler.opt:
                found[str(handler.operation_id)] = handler.opt["scope"]
    return found


async def test_after_all_that_the_owner_has_everything_as_it_was(shared_house: House, owner: Owner) -> None:
    for operation in owner.operations("bearer"):
        if operation.method == "GET" and operation.path_words:
            answer = await call(owner.agent.http, operation, owner, owner.ids)
            assert answer.status_code == 200, (operation, answer.text)
    lease = (await owner.agent.http.get(f"/v2/mailboxes/leases/{owner.ids['lease_id']}")).json()
    assert (lease["lease_status"], lease["used_messages"]) == ("active", 2)
    message = (await owner.agent.http.get(f"/v2/messages/{owner.ids['message_id']}")).json()
    assert set(message["labels"]) == {"received", "unread", "canary-label"}
    assert owner.ids["api_key_id"] in (await owner.agent.http.get("/v2/api-keys")).text
    assert (await owner.agent.http.get("/v2/auth/me")).json()["wallets"][0]["address"] == owner.agent.wallet.address
