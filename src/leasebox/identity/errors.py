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


class AgentDisabled(Forbidden):
    fix = "Enable the agent with PATCH /v2/agents/{agent_id} from another credential of its tenant, then sign in again."


class OwnAgent(Conflict):
    fix = "Sign out, or disable the agent from another credential of its tenant."


class WalletsBySession(Forbidden):
    fix = "Sign in with a wallet that is bound to the tenant already; a wallet can do more than an API key."


class WalletTaken(Conflict):
    fix = "Sign in with that wallet instead, or remove it there first."


class LastWallet(Conflict):
    fix = "Bind another wallet first: a tenant keeps at least one."


class BeyondMaker(Forbidden):
    fix = "Ask only for scopes, mailboxes and a time that the credential you use has itself."
