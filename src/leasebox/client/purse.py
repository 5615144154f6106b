"""Paying by itself: what a 402 asks for is bought with a proof and the call is made again, within a bound."""

from typing import Any

import msgspec

from leasebox.client.errors import ApiError, TooDear
from leasebox.client.model import Proof
from leasebox.client.transport import Call, Remedy, Transport
from leasebox.values.money import MalformedMoney, MoneyOutOfRange, Usdc

PROOF_PATH = "/v2/payments/proof"
PROOF_HEADER = "x-payment-proof"


class Purse(msgspec.Struct, frozen=True):
    """What may be spent without asking anybody: on one call, and by one client altogether."""

    each: Usdc
    total: Usdc

    def remedy(self, transport: Transport) -> Remedy:
        """What mends a 402 of `transport`: asks the server for a proof of the very call and sends it along, once.

        The remedy raises TooDear above the bounds, and ApiError where the tenant has nothing left to pay with.
        """
        spent = Usdc(0)

        def pay(call: Call, refusal: ApiError) -> Call | None:
            nonlocal spent
            due = _due(call, refusal)
            if due is None:
                return None
            self._allow(call, due, spent)
            proof = transport.ask(Call(method="POST", path=PROOF_PATH, body=_order(call, refusal)), Proof)
            price = Usdc.parse(proof.amount_usdc)
            self._allow(call, price, spent)
            # Counted even if the call should fail and the server return the hold: never more than the bound.
            spent = spent + price
            return msgspec.structs.replace(call, headers={**call.headers, PROOF_HEADER: proof.x_payment_proof.reveal()})

        return pay

    def _allow(self, call: Call, due: Usdc, spent: Usdc) -> None:
        if due > self.each or spent + due > self.total:
            raise TooDear(
                f"{call.method} {call.path} costs {due} USDC; this client may spend {self.each} a call and"
                f" {self.total} in all, {spent} of which is gone.",
                fix="Raise the client's bound (purse, or --max-usdc) if that is worth it to you.",
            )


ORDINARY = Purse(Usdc.parse("0.100000"), Usdc.parse("1.000000"))
"""The bound of a client that was given none."""


def _due(call: Call, refusal: ApiError) -> Usdc | None:
    """What a call costs; None where paying would not help."""
    if refusal.error != "payment_required" or call.path == PROOF_PATH or PROOF_HEADER in call.headers:
        return None
    if not refusal.fields.get("accepts"):
        return None
    try:
        return Usdc.parse(str(refusal.fields.get("amount_usdc")))
    except (MalformedMoney, MoneyOutOfRange):
        return None


def _order(call: Call, refusal: ApiError) -> dict[str, Any]:
    """The proof to ask for: this call's method and path, whatever the refusal says, and as many units as it names."""
    quantity = 1
    for offer in refusal.fields["accepts"]:
        try:
            quantity = max(quantity, int(offer["request"]["body"].get("quantity", 1)))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    body: dict[str, Any] = {"method": call.method, "path": call.path}
    return body if quantity == 1 else {**body, "quantity": quantity}
