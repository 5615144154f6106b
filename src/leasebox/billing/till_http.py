"""What a payable route's door does about payment: reads the proof, admits, and writes refusals down."""

import contextlib
from collections.abc import AsyncIterator
from typing import Annotated, Any

from litestar import Request
from litestar.params import HeaderParameter

from leasebox.billing import service
from leasebox.billing.errors import InvalidPaymentProof, PaymentRequired
from leasebox.billing.model import PROOF_HEADER, Admission, Asked, Demand
from leasebox.identity.model import Caller
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.routes import request_id
from leasebox.values.clock import Clock
from leasebox.values.errors import Unavailable
from leasebox.values.keys import KeyRing
from leasebox.values.paths import Route

PaymentProof = Annotated[
    str | None,
    HeaderParameter(
        name=PROOF_HEADER,
        description="A proof from POST /v2/payments/proof for exactly this method and path; needed once the free calls "
        "are used up, and left unspent before.",
    ),
]


class Till:
    """The same for all payable routes of a process."""

    def __init__(self, db: Database, clock: Clock, keys: KeyRing) -> None:
        self._db = db
        self._clock = clock
        self._keys = keys

    def demand(self, request: Request[Any, Any, Any], route: Route, proof: str | None, quantity: int = 1) -> Demand:
        """This request as billing knows it. route: the handler's own; the edge lets in no other spelling of it."""
        return Demand(route, quantity, proof, self._clock.now(), request_id(request))

    async def admit(self, tx: Tx, caller: Caller, demand: Demand) -> Admission:
        """`service.admit`, to be called first in the transaction of the work. Raises as it does."""
        return await service.admit(tx, caller, demand, self._keys)

    def ask(self, caller: Caller, demand: Demand) -> Asked:
        """`service.ask`: for a verb that admits within its own statement."""
        return service.ask(caller, demand, self._keys)

    async def foresee(self, tx: Tx, caller: Caller, demand: Demand) -> None:
        """`service.foresee`: refuse before a long wait what would be refused after it."""
        await service.foresee(tx, caller, demand, self._keys)

    @contextlib.asynccontextmanager
    async def noting(self, caller: Caller, demand: Demand) -> AsyncIterator[None]:
        """Write a refusal for want of payment down as a fact, in a transaction of its own, and let it pass on.

        The refusal stands whether or not it could be written down.
        """
        try:
            yield
        except (PaymentRequired, InvalidPaymentProof) as fault:
            refusal = fault
            with contextlib.suppress(Unavailable):
                await self._db.transact(lambda tx: service.note_denial(tx, caller, demand, refusal))
            raise
