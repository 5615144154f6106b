"""Idempotency-Key: a repeated request gets the first one's answer, and nothing is done twice (contract §1).

The answer is stored in the transaction of the work, so it is there exactly if the work is, also after a crash. Only
answers of success are kept; a refusal did nothing, so the request may simply be sent again. "The same request" is the
same method, path, query and body from the same agent or API key: another key of the tenant, which may have fewer
rights, is not shown what the first one was.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol

import msgspec
from litestar import Request, Response
from litestar.params import HeaderParameter

from leasebox.infra import kept_answers, log
from leasebox.infra.db import Database, Tx
from leasebox.infra.kept_answers import Claim, KeptAnswer, place_of
from leasebox.infra.seal import CannotOpen, opened, seal
from leasebox.values.clock import Clock
from leasebox.values.errors import Conflict
from leasebox.values.ids import TenantId
from leasebox.values.keys import KeyRing

REPLAYED_HEADER = "idempotent-replayed"
_PATIENCE_S = 10.0
_LOOK_AGAIN_S = (0.02, 0.25)
IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="idempotency-key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="1 to 255 visible ASCII characters of your own: the same request under the same key is answered as "
        "the first time for 24 hours, and done once.",
    ),
]
Work = Callable[[Tx], Awaitable[Any]]


class IdempotencyMismatch(Conflict):
    """409: the key stands for another request."""

    code = "idempotency_mismatch"
    fix = "Use a fresh Idempotency-Key for each new request; repeat a request exactly as it was sent first."


class StillRunning(Conflict):
    """409: the first request under this key has not ended in time."""

    fix = "Wait a moment, then send the same request under the same Idempotency-Key."


class AnswerLost(Conflict):
    """409: the first answer is kept, but its key is not in use any more."""

    fix = "The work was done once; read its outcome by the route's GET, or use a fresh Idempotency-Key."


class Asker(Protocol):
    """Who sends the request."""

    @property
    def tenant_id(self) -> TenantId: ...

    @property
    def actor(self) -> str: ...


class Once:
    """Does work at most once per Idempotency-Key. keys: seal the kept answers."""

    def __init__(self, db: Database, clock: Clock, keys: KeyRing, patience_s: float = _PATIENCE_S) -> None:
        self._db = db
        self._clock = clock
        self._keys = keys
        self._patience_s = patience_s

    async def answer(
        self,
        request: Request[Any, Any, Any],
        asker: Asker,
        key: str | None,
        status: int,
        work: Work,
        at_once: Work | None = None,
    ) -> Response[Any]:
        """Run `work` in a transaction and answer with what it returns, as JSON; under a known key answer as before.

        at_once: the same work in one statement (`Database.at_once`), for a request without a key.

        Raises IdempotencyMismatch, StillRunning (after 10 s), AnswerLost (409), and whatever the work raises.
        """
        if key is None and at_once is not None:
            return _response(msgspec.json.encode(await self._db.at_once(at_once)), status)
        if key is None:
            return _response(await self._db.transact(lambda tx: _encoded(work, tx)), status)
        print_ = await _fingerprint(request, asker)

        async def body(tx: Tx) -> Response[Any] | None:
            now = self._clock.now()
            outcome, kept = await kept_answers.claim(tx, asker.tenant_id, key, now)
            if outcome is Claim.RUNNING:
                return None
            if kept is not None:
                return self._replay(kept, print_, asker, key)
            raw = await _encoded(work, tx)
            await kept_answers.keep(tx, asker.tenant_id, key, self._sealed(raw, status, print_, asker, key), now)
            return _response(raw, status)

        answer: Response[Any] = await self._patiently(body)
        return answer

    async def recall(self, request: Request[Any, Any, Any], asker: Asker, key: str | None) -> Response[Any] | None:
        """The kept answer, if there is one: for work that uses something up before its transaction begins."""
        if key is None:
            return None
        print_ = await _fingerprint(request, asker)

        async def body(tx: Tx) -> tuple[Response[Any] | None] | None:
            outcome, kept = await kept_answers.claim(tx, asker.tenant_id, key, self._clock.now())
            if outcome is Claim.RUNNING:
                return None
            return (None if kept is None else self._replay(kept, print_, asker, key),)

        found: Response[Any] | None = (await self._patiently(body))[0]
        return found

    async def _patiently(self, body: Callable[[Tx], Awaitable[Any]]) -> Any:
        """Ask again while another request runs under the key. In between no connection is kept from others."""
        deadline, pause = time.monotonic() + self._patience_s, _LOOK_AGAIN_S[0]
        while (answer := await self._db.transact(body)) is None:
            if time.monotonic() + pause > deadline:
                raise StillRunning("The first request under this Idempotency-Key is still running.", retry_after_s=1)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LOOK_AGAIN_S[1])
        return answer

    def _sealed(self, raw: bytes, status: int, print_: bytes, asker: Asker, key: str) -> KeptAnswer:
        sealed = seal(self._keys, place_of(asker.tenant_id, key, print_), raw)
        return KeptAnswer(print_, status, self._keys.current.kid, sealed)

    def _replay(self, kept: KeptAnswer, print_: bytes, asker: Asker, key: str) -> Response[Any]:
        if kept.fingerprint != print_:
            raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
        try:
            raw = opened(self._keys, place_of(asker.tenant_id, key, print_), kept.sealed, kept.kid)
        except CannotOpen as fault:
            log.get("answers").error("kept answer cannot be opened", why=str(fault))
            raise AnswerLost("The first answer cannot be opened any more.") from None
        answer = _response(raw, kept.status)
        answer.headers[REPLAYED_HEADER] = "true"
        return answer


def was_replayed(answer: Response[Any]) -> bool:
    """Whether this is an answer of before."""
    return REPLAYED_HEADER in answer.headers


async def _encoded(work: Work, tx: Tx) -> bytes:
    return msgspec.json.encode(await work(tx))


def _response(raw: bytes, status: int) -> Response[Any]:
    return Response(raw, status_code=status, media_type="application/json")


async def _fingerprint(request: Request[Any, Any, Any], asker: Asker) -> bytes:
    parts = (asker.actor.encode(), request.method.encode(), request.scope["path"].encode())
    digest = hashlib.sha256()
    for part in (*parts, request.scope["query_string"], await request.body()):
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()
