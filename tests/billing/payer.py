"""Billing without HTTP: a tenant, a caller and the verbs, on a real database."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from eth_account import Account

from leasebox.billing import ledger, price_list, prices, service
from leasebox.billing.model import Admission, Demand, IssuedProof, TransferId
from leasebox.identity import service as identity
from leasebox.identity.model import SCOPES, Caller, Signer
from leasebox.infra.db import Database, Tx
from leasebox.values.ids import SessionId
from leasebox.values.keys import KeyRing, Purpose, ring
from leasebox.values.money import Usdc
from leasebox.values.paths import Route
from leasebox.values.secret import Secret

KEYS = ring(Secret("m" * 40), None, Purpose.PAYMENT_PROOF)
LEASE, SEND, READ = (
    Route("POST", "/v2/mailboxes/leases"),
    Route("POST", "/v2/messages/send"),
    Route("GET", "/v2/messages"),
)


async def publish(db: Database, toml: str, at: datetime) -> dict[str, int]:
    """Put a price book in force."""
    book = prices.load(toml)
    assert isinstance(book, prices.PriceBook)
    return await db.transact(lambda tx: price_list.publish(tx, book, at))


class WorkFailed(Exception):
    """What a failing piece of work raises."""


class Payer:
    """A tenant's session and what it does."""

    def __init__(self, db: Database, caller: Caller, keys: KeyRing = KEYS) -> None:
        self.db = db
        self.caller = caller
        self.keys = keys

    @classmethod
    async def new(cls, db: Database, at: datetime) -> "Payer":
        signer = Signer(Account.create().address, 84532, "sign-in")
        made = await db.transact(lambda tx: identity.sign_in(tx, signer, at, "req_test"))
        scopes, until = frozenset(SCOPES), at + timedelta(hours=1)
        session = SessionId.new(at)
        caller = Caller(made.tenant_id, made.agent_id, session, scopes, None, signer.address, 84532, until, "active")
        return cls(db, caller)

    def demand(self, at: datetime, route: Route, proof: str | None, quantity: int) -> Demand:
        return Demand(route, quantity, proof, at, "req_test")

    async def use(self, at: datetime, route: Route = LEASE, proof: str | None = None, quantity: int = 1) -> Admission:
        demand = self.demand(at, route, proof, quantity)
        return await self.db.transact(lambda tx: service.admit(tx, self.caller, demand, self.keys))

    async def use_in_vain(
        self, at: datetime, route: Route = LEASE, proof: str | None = None, quantity: int = 1
    ) -> None:
        """Be admitted to work that fails. Raises WorkFailed."""

        async def body(tx: Tx) -> None:
            await service.admit(tx, self.caller, self.demand(at, route, proof, quantity), self.keys)
            raise WorkFailed

        await self.db.transact(body)

    async def hold(self, at: datetime, route: Route = LEASE, quantity: int = 1) -> IssuedProof:
        return await self.db.transact(
            lambda tx: service.issue_proof(tx, self.caller, route, quantity, self.keys, at, "req_test")
        )

    async def text(self, at: datetime, route: Route = LEASE, quantity: int = 1) -> str:
        return (await self.hold(at, route, quantity)).text.reveal()

    async def grant(self, at: datetime, usdc: str) -> TransferId:
        amount, tenant = Usdc.parse(usdc), self.caller.tenant_id
        return await self.db.transact(
            lambda tx: ledger.grant(tx, tenant, amount, "test", actor="test", at=at, request_id="req_test")
        )

    async def reverse(self, at: datetime, wrong: TransferId) -> TransferId:
        tenant = self.caller.tenant_id
        return await self.db.transact(
            lambda tx: ledger.reverse(tx, tenant, wrong, "test", actor="test", at=at, request_id="req_test")
        )

    async def funds(self, at: datetime) -> Mapping[str, str]:
        found = await self.db.read(lambda tx: ledger.funds(tx, self.caller.tenant_id, at))
        return {name: str(amount) for name, amount in msgspec.structs.asdict(found).items()}
