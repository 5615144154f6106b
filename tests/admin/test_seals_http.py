"""Heads, proofs and verification of the logs."""

import asyncio
import hashlib

import httpx

from leasebox.audit.heads import Head, Verifier, extends, read, unchecked
from leasebox.audit.jobs import seal
from leasebox.audit.merkle import verify_inclusion
from leasebox.infra.db import Tx
from leasebox.values.keys import Purpose, derive
from leasebox.wiring.worker import SEALED
from tests.admin.desk import said
from tests.kit import House

HEADS, VERIFY = "/v2/admin/audit/heads", "/v2/admin/audit/verify"
CONSISTENCY = "/v2/admin/audit/consistency"


async def sealed(house: House) -> None:
    key = derive(house.settings.secret, Purpose.AUDIT_HEAD)
    assert await seal(house.db, SEALED, key, house.clock) > 0


async def test_heads_are_signed(run: House, owner: httpx.AsyncClient) -> None:
    before = await said(await owner.get(HEADS))
    assert [(each["head"], each["size"]) for each in before["items"]] == [(None, 0)] * len(SEALED)
    await run.agent()
    await sealed(run)
    after = (await said(await owner.get(HEADS)))["items"][0]
    key = Verifier.parse(after["verifier_key"])
    assert key is not None
    head = read(after["head"], [key])
    assert isinstance(head, Head)
    assert head.size == after["size"] == 4


async def test_a_row_is_proved_under_the_head(run: House, owner: httpx.AsyncClient) -> None:
    await run.agent()
    newest = (await said(await owner.get("/v2/admin/audit")))["items"][0]["audit_id"]
    unsealed = await owner.get(f"/v2/admin/audit/{newest}/proof")
    assert (unsealed.status_code, unsealed.json()["error"]) == (404, "not_found")
    await sealed(run)
    told = await said(await owner.get(f"/v2/admin/audit/{newest}/proof"))
    key = Verifier.parse((await said(await owner.get(HEADS)))["items"][0]["verifier_key"])
    assert key is not None
    head = read(told["head"], [key])
    assert isinstance(head, Head)
    leaf = hashlib.sha256(b"\x00" + told["entry"].encode()).digest()
    path = tuple(bytes.fromhex(each) for each in told["path"])
    assert verify_inclusion(leaf, told["leaf"], head.size, path, head.root)
    assert (await owner.get("/v2/admin/audit/nothing/proof")).status_code == 404


async def test_a_log_is_shown_to_have_been_added_to_only(run: House, owner: httpx.AsyncClient) -> None:
    heads = []
    for _ in range(2):
        await run.agent()
        await sealed(run)
        heads.append(head := unchecked((await said(await owner.get(HEADS)))["items"][0]["head"]))
        assert head is not None
    old, new = heads
    told = await said(await owner.get(CONSISTENCY, params={"from": old.size, "to": new.size}))
    assert (told["log"], told["from"], told["to"]) == ("audit", old.size, new.size)
    assert extends(old, new, [bytes.fromhex(each) for each in told["path"]])
    assert not extends(new, old, [bytes.fromhex(each) for each in told["path"]])
    for sizes in ({"from": new.size, "to": old.size}, {"from": 1, "to": new.size + 1}, {"from": 0, "to": 1}, {}):
        refused = await owner.get(CONSISTENCY, params=sizes)
        assert (refused.status_code, refused.json()["error"]) == (400, "bad_request")
    empty = await owner.get(CONSISTENCY, params={"log": "facts", "from": 1, "to": 1})
    assert empty.status_code == 400
    await run.db.transact(lambda tx: take(tx, "seal_leaves", "DELETE FROM seal_leaves"))
    broken = await owner.get(CONSISTENCY, params={"from": 1, "to": new.size})
    assert (broken.status_code, broken.json()["error"]) == (409, "conflict")


async def take(tx: Tx, table: str, sql: str) -> None:
    """As the tables' owner may."""
    await tx.run(f"GRANT ALL ON {table} TO CURRENT_USER")
    await tx.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    await tx.run(sql)


async def test_an_edit_behind_our_back_is_found(run: House, owner: httpx.AsyncClient) -> None:
    await run.agent()
    await sealed(run)
    good = await said(await owner.get(VERIFY))
    assert (good["intact"], good["leaves"], good["wrong"]) == (True, 4, None)
    assert (await said(await owner.get(VERIFY, params={"log": "facts"})))["intact"] is True

    edit = "UPDATE audit_rows SET action = 'nothing.happened' WHERE action = 'tenant.create'"
    await run.db.transact(lambda tx: take(tx, "audit_rows", edit))
    bad = await said(await owner.get(VERIFY))
    assert (bad["intact"], bad["rows"]) == (False, None)
    assert "edited" in bad["wrong"]["what"]


async def test_one_verification_at_a_time(run: House, owner: httpx.AsyncClient) -> None:
    await sealed(run)
    answers = await asyncio.gather(*(owner.get(VERIFY) for _ in range(8)))
    assert {each.status_code for each in answers} <= {200, 429}
    assert [each.status_code for each in answers].count(200) >= 1
    assert (await owner.get(VERIFY)).status_code == 200
