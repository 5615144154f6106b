"""Heads, proofs and verification of the logs."""

import asyncio
import hashlib

import httpx

from leasebox.audit.heads import Head, Verifier, read
from leasebox.audit.jobs import seal
from leasebox.audit.merkle import verify_inclusion
from leasebox.values.keys import Purpose, derive
from leasebox.wiring.worker import SEALED
from tests.admin.desk import said
from tests.kit import House

HEADS, VERIFY = "/v2/admin/audit/heads", "/v2/admin/audit/verify"


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


async def test_an_edit_behind_our_back_is_found(run: House, owner: httpx.AsyncClient) -> None:
    await run.agent()
    await sealed(run)
    good = await said(await owner.get(VERIFY))
    assert (good["intact"], good["leaves"], good["wrong"]) == (True, 4, None)
    assert (await said(await owner.get(VERIFY, params={"log": "facts"})))["intact"] is True

    async def edit(tx: object) -> None:
        await tx.run("ALTER TABLE audit_rows DISABLE TRIGGER ALL")  # type: ignore[attr-defined]
        await tx.run("UPDATE audit_rows SET action = 'nothing.happened' WHERE action = 'tenant.create'")  # type: ignore[attr-defined]

    await run.db.transact(edit)
    bad = await said(await owner.get(VERIFY))
    assert (bad["intact"], bad["rows"]) == (False, None)
    assert "edited" in bad["wrong"]["what"]


async def test_one_verification_at_a_time(run: House, owner: httpx.AsyncClient) -> None:
    await sealed(run)
    answers = await asyncio.gather(*(owner.get(VERIFY) for _ in range(8)))
    assert {each.status_code for each in answers} <= {200, 429}
    assert [each.status_code for each in answers].count(200) >= 1
    assert (await owner.get(VERIFY)).status_code == 200
