"""Refusals of billing."""

from typing import Any

from leasebox.values.errors import BadRequest, Conflict, Forbidden, Kind, LeaseboxError, Unprocessable


class PaymentRequired(LeaseboxError):
    """402: not free any more, or nothing left to hold the price on.

    fields: meter, amount_usdc, reasons (code, limit, window, resets_at), accepts (how to pay).
    """

    kind = Kind.PAYMENT_REQUIRED
    code = "payment_required"
    fix = "Ask POST /v2/payments/proof for a proof of this method and path, and send it as x-payment-proof."


class InvalidPaymentProof(LeaseboxError):
    """402; nothing was spent. reason: of `ProofFault`, or replayed, released, unknown, too_small."""

    kind = Kind.PAYMENT_REQUIRED
    code = "invalid_payment_proof"
    fix = "Ask POST /v2/payments/proof for a fresh proof right before each call, and send it unchanged, once."

    def __init__(self, message: str, *, reason: str, **fields: Any) -> None:
        super().__init__(message, reason=reason, **fields)


class NotPayable(BadRequest):
    fix = "Give the method and path of a metered route exactly as GET /v2/billing/prices spells them."


class CannotReverse(Conflict):
    fix = "Read the tenant's ledger: a transfer is reversed once, and only while what it moved is still there."


class NotReversible(Unprocessable):
    fix = "Reverse a charge (spend), a grant, a deposit or a settlement; holds and releases end by themselves."


class CapNotYours(Forbidden):
    fix = "Sign in with the tenant's wallet; an API key cannot change what caps it."


class CapUseless(Unprocessable):
    fix = "Cap a key that lacks the scope keys:write, or the tenant as a whole by leaving api_key_id out."


class PriceMoved(Conflict):
    fix = "Read the price in force, then decide again: somebody changed it since you looked."
