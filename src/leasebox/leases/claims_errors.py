"""Refusals of claims."""

from leasebox.leases.errors import AddressTaken
from leasebox.values.errors import Conflict, Forbidden, NotFound, Unauthorized


class NoClaimToken(Unauthorized):
    fix = "Send 'Authorization: Bearer <claim_token>' with the token that POST /v2/claims gave with this session_id."


class NoSuchClaim(NotFound):
    fix = "Check session_id and claim_token; if the claim is older than a day, start a new one with POST /v2/claims."


class ClaimOver(Conflict):
    """409: it was decided otherwise, or its time is over. claim_status: declined, expired or approved."""

    fix = "Read claim_status; to try once more, start a new claim with POST /v2/claims."


class NameTaken(AddressTaken):
    """409: somebody leased the very address in the same moment; nothing was decided."""

    fix = "Approve once more to see it declined, or start a new claim with another name."


class NotHeadless(Forbidden):
    fix = "Have a person open claim_url and approve there, then ask GET /v2/claims/{session_id} again."


class ClaimsClosed(Forbidden):
    fix = "Sign in with a wallet instead: POST /v2/auth/siwe/challenge, then POST /v2/auth/siwe/verify."
