"""Refusals of identity."""

from leasebox.values.errors import BadRequest, Conflict, Forbidden, Unauthorized

_AGAIN = (
    "Ask POST /v2/auth/siwe/challenge for a new message, sign exactly that text, and send both back within 5 minutes."
)


class NotAChallenge(BadRequest):
    fix = _AGAIN


class SignInRefused(Unauthorized):
    """401; `reason` is nonce, message, chain, domain, expired or signature."""

    fix = _AGAIN

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message, reason=reason)


class TenantInactive(Forbidden):
    code = "tenant_inactive"
    fix = "Ask the operator of this instance why the tenant was suspended."


class WalletTaken(Conflict):
    fix = "Sign in with that wallet instead, or remove it there first."


class LastWallet(Conflict):
    fix = "Bind another wallet first: a tenant keeps at least one."


class BeyondMaker(Forbidden):
    fix = "Ask only for scopes, mailboxes and a time that the credential you use has itself."
