"""Routes of agents and API keys."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from leasebox.identity import service
from leasebox.identity.callers import Callers
from leasebox.identity.model import Agent, ApiKey, Caller, KeyOrder, Scope
from leasebox.infra.db import Database, Tx
from leasebox.infra.web.idempotency import IdempotencyKey, Once
from leasebox.infra.web.listing import CursorText, Limit, Page, after, in_utc, page
from leasebox.infra.web.routes import Given, known_id, needs, request_id, signed_in
from leasebox.values.clock import Clock
from leasebox.values.ids import AgentId, KeyId, MailboxId

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class AgentRequest(msgspec.Struct, forbid_unknown_fields=True):
    name: Name


class AgentPatch(msgspec.Struct, forbid_unknown_fields=True):
    """status `disabled` stops the agent's sessions and keys within a second."""

    name: Name | None = None
    status: Literal["active", "disabled"] | None = None


class AgentView(msgspec.Struct):
    agent_id: str
    name: str
    status: str
    wallet_address: str | None
    created_at: datetime


class KeyRequest(msgspec.Struct, forbid_unknown_fields=True):
    """expires_at: leave it out for a key that lasts until it is deleted."""

    name: Name
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=20)]
    agent_id: str | None = None
    mailbox_ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)] | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class KeyView(msgspec.Struct):
    """hint: the key's first characters, to tell keys apart."""

    api_key_id: str
    name: str
    hint: str
    agent_id: str | None
    scopes: list[str]
    mailbox_ids: list[str] | None
    created_at: datetime
    expires_at: datetime | None


class NewKeyView(KeyView):
    """api_key: shown this once."""

    api_key: str


class AgentRoutes(Controller):
    """The agents of a tenant."""

    path = "/v2/agents"
    tags = ["Agents and keys"]

    db: Database
    callers: Callers
    clock: Clock
    once: Once

    @post("/", status_code=201, operation_id="make_agent", **needs("keys:write", 409))
    async def make(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[AgentRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[AgentView]:
        """Make a further agent, for instance one a task."""
        now, trace = self.clock.now(), request_id(request)

        async def work(tx: Tx) -> AgentView:
            return _agent_view(await service.make_agent(tx, caller, data.name, now, trace))

        return await self.once.answer(request, caller, idempotency_key, 201, work)

    @get("/", operation_id="list_agents", **signed_in())
    async def listed(self, caller: Given[Caller], limit: Limit = 20, cursor: CursorText = None) -> Page[AgentView]:
        """Your agents, newest first."""
        below = after(cursor)
        rows = await self.db.read(lambda tx: service.list_agents(tx, caller, below, limit + 1))
        return page(rows, limit, _agent_view, lambda agent: agent.agent_id)

    @patch("/{agent_id:str}", operation_id="change_agent", **needs("keys:write", 404, 409))
    async def change(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        agent_id: FromPath[str],
        data: JSONBody[AgentPatch],
    ) -> AgentView:
        """Rename, disable or enable an agent."""
        wanted, now, trace = known_id(AgentId, agent_id), self.clock.now(), request_id(request)
        return _agent_view(
            await self.db.transact(
                lambda tx: service.change_agent(tx, caller, wanted, data.name, data.status, now, trace)
            )
        )


class KeyRoutes(Controller):
    """API keys: credentials with chosen rights."""

    path = "/v2/api-keys"
    tags = ["Agents and keys"]

    db: Database
    callers: Callers
    clock: Clock
    once: Once
    look: Any

    @post("/", status_code=201, operation_id="make_api_key", **needs("keys:write", 404, 409, 422))
    async def make(
        self,
        request: Request[Any, Any, Any],
        caller: Given[Caller],
        data: JSONBody[KeyRequest],
        idempotency_key: IdempotencyKey = None,
    ) -> Response[NewKeyView]:
        """Make an API key. It never has more rights than the credential that makes it."""
        order = KeyOrder(
            data.name,
            tuple(dict.fromkeys(data.scopes)),
            None if data.agent_id is None else known_id(AgentId, data.agent_id),
            None if data.mailbox_ids is None else tuple(known_id(MailboxId, each) for each in data.mailbox_ids),
            None if data.expires_at is None else in_utc(data.expires_at, "body.expires_at"),
        )
        now, trace = self.clock.now(), request_id(request)

        async def work(tx: Tx) -> NewKeyView:
            token, key = await service.make_key(tx, caller, order, self.look, now, trace)
            return NewKeyView(**msgspec.structs.asdict(_key_view(key)), api_key=token.reveal())

        return await self.once.answer(request, caller, idempotency_key, 201, work)

    @get("/", operation_id="list_api_keys", **needs("keys:write"))
    async def listed(self, caller: Given[Caller], limit: Limit = 20, cursor: CursorText = None) -> Page[KeyView]:
        """Your live API keys, newest first; never their text."""
        below = after(cursor)
        rows = await self.db.read(lambda tx: service.list_keys(tx, caller, below, limit + 1))
        return page(rows, limit, _key_view, lambda key: key.key_id)

    @delete("/{api_key_id:str}", status_code=204, operation_id="revoke_api_key", **needs("keys:write", 404))
    async def revoke(self, request: Request[Any, Any, Any], caller: Given[Caller], api_key_id: FromPath[str]) -> None:
        """Stop a key; it is refused everywhere within a second."""
        wanted, now, trace = known_id(KeyId, api_key_id), self.clock.now(), request_id(request)
        self.callers.forget(await self.db.transact(lambda tx: service.revoke_key(tx, caller, wanted, now, trace)))


def _agent_view(agent: Agent) -> AgentView:
    return AgentView(str(agent.agent_id), agent.name, agent.status, agent.wallet_address, agent.created_at)


def _key_view(key: ApiKey) -> KeyView:
    return KeyView(
        api_key_id=str(key.key_id),
        name=key.name,
        hint=key.hint,
        agent_id=None if key.agent_id is None else str(key.agent_id),
        scopes=list(key.scopes),
        mailbox_ids=None if key.mailbox_ids is None else [str(each) for each in key.mailbox_ids],
        created_at=key.created_at,
        expires_at=key.expires_at,
    )
