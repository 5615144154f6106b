"""What can go wrong on the agent's side; each says what happened and what to do next."""

from typing import Any


class ClientError(Exception):
    """message: what happened. fix: what to do next, one sentence. error: a stable word for programs."""

    error = "client_error"

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class ApiError(ClientError):
    """The server refused (RFC 9457). error: its stable code; fields: further facts of the case."""

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        *,
        fix: str,
        request_id: str = "",
        retry_after_s: int | None = None,
        fields: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, fix=fix)
        self.status = status
        self.error = error
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.fields = fields or {}

    def __str__(self) -> str:
        return f"{self.status} {self.error}: {self.message}"


class Unreachable(ClientError):
    """No whole answer came: no connection, a broken one, or silence for too long."""

    error = "unreachable"


class UnexpectedAnswer(ClientError):
    """Something answered, but not as a leasebox does."""

    error = "unexpected_answer"


class UnsafeChallenge(ClientError):
    """The server asked the wallet to sign something that is no sign-in to this very server; nothing was signed."""

    error = "unsafe_challenge"


class TooDear(ClientError):
    """The server wants more for a call than this client may spend; nothing was paid."""

    error = "too_dear"


class NoAgent(ClientError):
    """The credential stands for no agent, so that a lease needs one named."""

    error = "no_agent"
