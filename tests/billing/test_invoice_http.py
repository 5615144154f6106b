"""Invoices over the routes: list, look, download, prove, pay; and nobody else's."""

import asyncio
import re
from typing import Any

import httpx
import msgspec
import pytest

from leasebox.audit import merkle
from leasebox.billing import invoice_http, invoices
from leasebox.billing.invoice_model import Invoice
from leasebox.billing.statement import Statement, draw_up, to_csv
from leasebox.billing.statement_check import verify_statement
from leasebox.values.ids import EventId
from tests.billing.bills import ADMIN, APRIL, LATER, MARCH, MAY, MID_MARCH, READ, Payer, all_agree, close_all, payer
from tests.kit import House

ROUTES = "/v2/billing/invoices"


async def told(one: Payer, path: str = "", **query: Any) -> Any:
    answer = await one.agent.http.get(f"{ROUTES}{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_one_invoice_in_full(shop: House) -> None:
    one = await payer(shop)
    await one.grant("0.001000")
    bought = await one.buy(MID_MARCH, 3)
    invoice = await one.close()
    said = await told(one, f"/{invoice.invoice_id}")
    shown = {
        "invoice_id": str(invoice.invoice_id),
        "tenant_id": str(one.tenant_id),
        "period": "2026-03",
        "supplement": 0,
        "state": "issued",
        "events": 5,
        "total_usdc": "0.003000",
        "prepaid_usdc": "0.001000",
        "on_credit_usdc": "0.002000",
        "credited_usdc": "0.000000",
        "settled_usdc": "0.000000",
        "due_usdc": "0.002000",
        "statement_hash": invoice.head.statement_hash.hex(),
        "issued_at": "2026-04-20T00:00:00Z",
        "paid_at": None,
        "voided_at": None,
    }
    line = {
        "meter": "mailbox.lease",
        "price_version": 1,
        "unit_price_usdc": "0.001000",
        "free_quantity": 2,
        "paid_quantity": 3,
        "amount_usdc": "0.003000",
    }
    month = {"starts_at": "2026-03-01T00:00:00Z", "ends_at": "2026-04-01T00:00:00Z"}
    assert said == {**shown, **month, "lines": [line], "credit_notes": []}
    assert (await told(one))["items"] == [shown]
    note = await shop.db.transact(
        lambda tx: invoices.credit_note(tx, invoice.invoice_id, bought[-1:], "It failed.", ADMIN)
    )
    said = await told(one, f"/{invoice.invoice_id}")
    assert said["credit_notes"] == [
        {
            "credit_note_id": str(note.note_id),
            "amount_usdc": "0.001000",
            "reason": "It failed.",
            "at": "2026-04-20T00:00:00Z",
            "event_ids": [str(bought[-1])],
        }
    ]
    assert (said["credited_usdc"], said["due_usdc"]) == ("0.001000", "0.001000")


async def test_the_list_by_pages_and_filters(shop: House) -> None:
    one = await payer(shop)
    for month in (MARCH, APRIL, MAY):
        await one.call(month.start, route=READ)
        await one.close(month, month.end)
    await one.buy(MAY.end, 1)
    await close_all(shop.db, MAY.end.replace(month=7, day=2))
    first = await told(one, limit=3)
    rest = await told(one, limit=3, cursor=first["next_cursor"])
    found = first["items"] + rest["items"]
    assert [each["period"] for each in found] == ["2026-06", "2026-05", "2026-04", "2026-03"]
    assert rest["next_cursor"] is None
    assert [each["period"] for each in (await told(one, period="2026-04"))["items"]] == ["2026-04"]
    assert [each["period"] for each in (await told(one, state="issued"))["items"]] == ["2026-06"]
    assert len((await told(one, state="paid"))["items"]) == 3
    for wrong in ({"period": "2026-13"}, {"period": "x"}, {"state": "draft"}, {"limit": 0}, {"cursor": "x"}):
        assert (await one.agent.http.get(ROUTES, params=wrong)).status_code == 400, wrong


async def test_the_statement_is_a_download_that_verifies(shop: House) -> None:
    one = await payer(shop)
    await one.fill(invoice_http._ROWS * 2 + 3)
    await one.buy(MID_MARCH, 2)
    invoice = await one.close()
    answer = await one.agent.http.get(f"{ROUTES}/{invoice.invoice_id}/statement.csv")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{invoice.invoice_id}.csv"'
    assert answer.text == to_csv(draw_up(invoice.invoice_id, one.tenant_id, "2026-03", await one.events()))
    assert isinstance(verify_statement(answer.text, invoice.head), Statement)


async def test_it_comes_in_pieces(shop: House) -> None:
    """Neither the whole statement nor a connection is held while somebody reads slowly."""
    one = await payer(shop)
    await one.fill(invoice_http._ROWS * 3)
    invoice = await one.close()
    pieces = await sent(one, f"{ROUTES}/{invoice.invoice_id}/statement.csv")
    assert [piece.count(b",message.read,1,0.000100,1,0,") for piece in pieces] == [0, *[invoice_http._ROWS] * 3, 0]


async def sent(one: Payer, path: str) -> list[bytes]:
    """The pieces of a body as the application hands them over."""
    pieces: list[bytes] = []

    async def send(message: Any) -> None:
        pieces.extend([message["body"]] if message["type"] == "http.response.body" else [])

    asked: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not asked:
            await asyncio.Event().wait()
        return asked.pop()

    headers = [(b"host", b"leasebox.test"), (b"authorization", one.agent.http.headers["authorization"].encode())]
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http"}
    place = {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    whole = {**scope, **place, "headers": headers, "client": ("127.0.0.1", 1), "server": ("leasebox.test", 80)}
    answering = asyncio.create_task(one.house.app(whole, receive, send))
    async with asyncio.timeout(20):
        while not pieces or pieces[-1]:
            await asyncio.sleep(0.01)
    answering.cancel()
    return pieces


async def test_every_charge_is_proved_to_who_asks(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 4)
    invoice = await one.close()
    for event in await one.events():
        said = await told(one, f"/{invoice.invoice_id}/events/{event.event_id}/proof")
        assert (said["event_id"], said["amount_usdc"], said["size"]) == (str(event.event_id), str(event.amount), 6)
        hashes = [bytes.fromhex(each) for each in said["hashes"]]
        leaf, root = bytes.fromhex(said["leaf_hash"]), bytes.fromhex(said["statement_hash"])
        assert merkle.verify_inclusion(leaf, said["index"], said["size"], hashes, root)
        assert root == invoice.statement_hash
    unknown = f"{ROUTES}/{invoice.invoice_id}/events/{EventId.new(LATER)}/proof"
    assert (await one.agent.http.get(unknown)).status_code == 404


async def test_the_guides_own_program_proves_a_charge_and_finds_a_forged_one(shop: House) -> None:
    guide = (await shop.client().get("/agents-guide.md")).text
    (program,) = (each for each in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "def billed" in each)
    shown: dict[str, Any] = {}
    exec(program, shown)
    one = await payer(shop)
    await one.grant("0.003000")
    bought = await one.buy(MID_MARCH, 3)
    invoice = await one.close()
    tenant = str(one.tenant_id)
    for event in await one.events():
        proof = await told(one, f"/{invoice.invoice_id}/events/{event.event_id}/proof")
        assert shown["billed"](proof, tenant)
        assert not shown["billed"](proof | {"paid_quantity": 7}, tenant)
        assert not shown["billed"](proof | {"index": proof["index"] + 1}, tenant)
        assert not shown["billed"](proof, "ten_" + "0" * 26)
    assert bought


async def test_paying(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 2)
    invoice = await one.close()
    path = f"{ROUTES}/{invoice.invoice_id}/pay"
    short = await one.agent.http.post(path)
    assert (short.status_code, short.json()["error"], short.json()["amount_usdc"]) == (
        402, "payment_required", "0.002000"
    )  # fmt: skip
    assert short.json()["reasons"] == [
        {"code": "balance_too_low", "limit": "0.002000", "window": "invoice", "left": "0.000000"}
    ]
    assert short.json()["fix"]
    await one.grant("0.005000", LATER)
    key = {"idempotency-key": "pay-march"}
    paid = await asyncio.gather(*(one.agent.http.post(path, headers=key) for _ in range(5)))
    again = await one.agent.http.post(path)
    assert {(answer.status_code, answer.json()["state"]) for answer in [*paid, again]} == {(200, "paid")}
    assert sum("idempotent-replayed" in answer.headers for answer in paid) == 4
    assert await one.funds() == ("0.003000", "0.000000")
    assert (await told(one, f"/{invoice.invoice_id}"))["settled_usdc"] == "0.002000"
    await all_agree(shop)


async def test_a_void_invoice_is_not_paid(shop: House) -> None:
    one = await payer(shop)
    await one.buy(MID_MARCH, 1)
    invoice = await one.close()
    await shop.db.transact(lambda tx: invoices.void(tx, invoice.invoice_id, "", ADMIN))
    answer = await one.agent.http.post(f"{ROUTES}/{invoice.invoice_id}/pay")
    assert (answer.status_code, answer.json()["error"], answer.json()["state"]) == (409, "conflict", "void")


def all_routes(invoice: Invoice, event_id: EventId) -> list[tuple[str, str]]:
    path = f"{ROUTES}/{invoice.invoice_id}"
    return [
        ("GET", path),
        ("GET", f"{path}/statement.csv"),
        ("GET", f"{path}/events/{event_id}/proof"),
        ("POST", f"{path}/pay"),
    ]


async def test_the_invoice_of_another_looks_like_none(shop: House) -> None:
    one, other = await payer(shop), await payer(shop)
    (event_id,) = await one.buy(MID_MARCH, 1)
    await other.buy(MID_MARCH, 1)
    invoice, foreign = await one.close(), await other.close()
    await other.grant("1.000000", LATER)
    for method, path in all_routes(invoice, event_id):
        answer = await other.agent.http.request(method, path)
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found"), path
        for strange in ("inv_nonsense", str(one.tenant_id), "inv_00000000000000000000000000"):
            spelled = path.replace(str(invoice.invoice_id), strange)
            assert (await other.agent.http.request(method, spelled)).status_code == 404, spelled
    mixed = f"{ROUTES}/{foreign.invoice_id}/events/{event_id}/proof"
    assert (await other.agent.http.get(mixed)).status_code == 404
    assert [each["invoice_id"] for each in (await told(other))["items"]] == [str(foreign.invoice_id)]
    assert (await one.invoice(invoice.invoice_id)).state == "issued"


@pytest.mark.parametrize("scope", ["billing:read", "billing:pay", "mail:read"])
async def test_each_route_needs_its_scope(shop: House, scope: str) -> None:
    one = await payer(shop)
    (event_id,) = await one.buy(MID_MARCH, 1)
    invoice = await one.close()
    await one.grant("1.000000", LATER)
    key = (await one.agent.http.post("/v2/api-keys", json={"name": "k", "scopes": [scope]})).json()["api_key"]
    async with shop.client(headers={"authorization": f"Bearer {key}"}) as http:
        for method, path in [("GET", ROUTES), *all_routes(invoice, event_id)]:
            answer = await http.request(method, path)
            needed = "billing:pay" if method == "POST" else "billing:read"
            assert answer.status_code == (200 if scope == needed else 403), path
    async with shop.client() as nobody:
        assert await _status(nobody, ROUTES) == 401


async def _status(http: httpx.AsyncClient, path: str) -> int:
    return (await http.get(path)).status_code


async def test_what_is_described_is_what_is_sent(shop: House) -> None:
    described = (await shop.client().get("/openapi.json")).json()
    answers = described["paths"][ROUTES + "/{invoice_id}/statement.csv"]["get"]["responses"]
    assert list(answers["200"]["content"]) == ["text/csv"]
    view = described["components"]["schemas"]["InvoiceView"]
    assert set(view["required"]) == {field.name for field in msgspec.structs.fields(invoice_http.InvoiceView)}
