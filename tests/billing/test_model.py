"""Small words of billing."""

from datetime import UTC, datetime

import pytest

from leasebox.billing.model import Admission, Demand, Funds, proof_offer, tenant_scope, unit_of
from leasebox.billing.prices import METERED_ROUTES, Meter
from leasebox.values.ids import EventId, KeyId, TenantId
from leasebox.values.money import Usdc
from leasebox.values.paths import Route

NOW = datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)
SEND = Route("POST", "/v2/messages/send")


@pytest.mark.parametrize(("route", "meter"), METERED_ROUTES.items())
def test_a_demand_knows_its_meter(route: Route, meter: Meter) -> None:
    assert Demand(route, 1, None, NOW, "req").meter is meter


def test_an_admission_costs_its_paid_part() -> None:
    assert Admission(EventId.new(NOW), Meter.MESSAGE_SEND, 5, 7, 1, Usdc(1_000)).amount == Usdc(7_000)


@pytest.mark.parametrize(("owed", "left"), [(0, 50), (49, 1), (50, 0), (60, 0)])
def test_what_is_left_of_the_credit_limit(owed: int, left: int) -> None:
    assert Funds(Usdc(0), Usdc(0), Usdc(owed), Usdc(50)).credit_left == Usdc(left)


def test_an_offer_is_a_request_to_send() -> None:
    one, many = proof_offer(SEND, 1, Usdc(1_000))[0], proof_offer(SEND, 3, Usdc(3_000))[0]
    assert one["request"]["body"] == {"method": "POST", "path": "/v2/messages/send"}
    assert many["request"]["body"] == one["request"]["body"] | {"quantity": 3}
    assert (many["amount_usdc"], many["header"]) == ("0.003000", "x-payment-proof")


def test_units() -> None:
    assert {meter.value: unit_of(meter) for meter in Meter} == {
        "mailbox.lease": "call",
        "message.read": "call",
        "message.send": "recipient",
        "webhook.create": "call",
    }


def test_whom_a_cap_is_for() -> None:
    tenant, key = TenantId.new(NOW), KeyId.new(NOW)
    assert tenant_scope(tenant, None) == tenant
    assert tenant_scope(tenant, key) == key
