"""The one error tree. Slices raise these; each protocol renders them in one place (house rule 7)."""

from enum import Enum
from typing import Any


class Kind(Enum):
    """What went wrong, in HTTP's words; the value is the HTTP status (RFC 9110 §15)."""

    BAD_REQUEST = 400
    UNAUTHORIZED = 401
    PAYMENT_REQUIRED = 402
    FORBIDDEN = 403
    NOT_FOUND = 404
    METHOD_NOT_ALLOWED = 405
    CONFLICT = 409
    GONE = 410
    TOO_LARGE = 413
    UNSUPPORTED_MEDIA_TYPE = 415
    UNPROCESSABLE = 422
    TOO_MANY_REQUESTS = 429
    INTERNAL = 500
    UNAVAILABLE = 503


class LeaseboxError(Exception):
    """A refusal that its caller can act upon.

    code: stable word for programs, one of the contract's. reason: a finer word where one code stands for several cases.
    message: what happened, for people. fix: what to do next, one sentence. fields: further facts of the case, shown
    beside the code. retry_after_s: seconds, where waiting helps.
    """

    kind = Kind.BAD_REQUEST
    code = "bad_request"
    reason: str | None = None
    fix = "Correct the request and send it again."

    def __init__(
        self, message: str, *, fix: str | None = None, retry_after_s: int | None = None, **fields: Any
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.fields = fields if self.reason is None else {"reason": self.reason, **fields}
        if fix is not None:
            self.fix = fix


class BadRequest(LeaseboxError):
    """400: the request cannot be read as what the route takes."""


class Unauthorized(LeaseboxError):
    kind = Kind.UNAUTHORIZED
    code = "unauthorized"
    fix = "Sign in with POST /v2/auth/siwe/challenge and /verify, then send 'Authorization: Bearer <access_token>'."


class Forbidden(LeaseboxError):
    kind = Kind.FORBIDDEN
    code = "forbidden"
    fix = "Use a credential that has this right."


class MissingScope(Forbidden):
    code = "missing_scope"

    def __init__(self, scope: str) -> None:
        super().__init__(
            f"This credential lacks the scope {scope}.",
            fix=f"Sign in with the wallet, or use an API key made with the scope {scope}.",
            scope=scope,
        )


class NotFound(LeaseboxError):
    """404: no such thing, or it belongs to somebody else; the two look alike on purpose."""

    kind = Kind.NOT_FOUND
    code = "not_found"
    fix = "Check the id or the path; ids of another tenant look the same as ids that do not exist."


class Conflict(LeaseboxError):
    kind = Kind.CONFLICT
    code = "conflict"
    fix = "Read the present state, then decide again."


class Gone(LeaseboxError):
    kind = Kind.GONE
    code = "gone"
    fix = "It has ended for good; make a new one."


class TooLarge(LeaseboxError):
    kind = Kind.TOO_LARGE
    code = "too_large"
    fix = "Send a smaller body."


class Unprocessable(LeaseboxError):
    kind = Kind.UNPROCESSABLE
    code = "unprocessable"


class RateLimited(LeaseboxError):
    kind = Kind.TOO_MANY_REQUESTS
    code = "rate_limited"
    fix = "Wait for the seconds in Retry-After, then try again."


class Unavailable(LeaseboxError):
    """503: a part that we need does not answer; nothing was done."""

    kind = Kind.UNAVAILABLE
    code = "unavailable"
    fix = "Nothing was done; try again after the seconds in Retry-After."
