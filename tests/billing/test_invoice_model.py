"""What an invoice works out from its sums."""

import msgspec
import pytest

from leasebox.billing.invoice_model import Invoice
from leasebox.billing.statement import InvoiceHead, InvoiceId
from leasebox.values.ids import TenantId
from leasebox.values.money import Usdc

INVOICE, TENANT = InvoiceId(int=1), TenantId(int=2)
DRAFT = Invoice(
    INVOICE, TENANT, "2026-03", 0, "draft", 4, Usdc(9), Usdc(2), Usdc(7), Usdc(0), Usdc(0), None, None, None, None
)


@pytest.mark.parametrize(("credited", "settled", "due"), [(0, 0, 7), (3, 0, 4), (3, 4, 0), (0, 7, 0)])
def test_what_is_due(credited: int, settled: int, due: int) -> None:
    invoice = msgspec.structs.replace(DRAFT, credited=Usdc(credited), settled=Usdc(settled))
    assert invoice.due == Usdc(due)


def test_the_head_is_what_a_statement_is_checked_against() -> None:
    head = msgspec.structs.replace(DRAFT, statement_hash=b"h" * 32).head
    assert head == InvoiceHead(INVOICE, TENANT, "2026-03", 4, Usdc(9), b"h" * 32)


def test_a_draft_has_none() -> None:
    with pytest.raises(ValueError, match="no statement"):
        _ = DRAFT.head
