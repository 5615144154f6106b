"""Agents that write to one another over HTTP, and what tests ask of what they sent."""

from typing import Any

import httpx

from leasebox.values.ids import MailboxId, SendAttemptId, TenantId
from tests.kit import Agent, House
from tests.kit_mail import rows

ELSEWHERE = "ann@elsewhere.example"


class Writer:
    """An agent with a leased mailbox."""

    def __init__(
        self, house: House, http: httpx.AsyncClient, lease: dict[str, Any], agent: Agent | None = None
    ) -> None:
        self.house = house
        self.http = http
        self.lease = lease
        self._agent = agent

    @classmethod
    async def new(cls, house: House, **order: Any) -> "Writer":
        agent = await house.agent()
        return cls(house, agent.http, await agent.lease(**order), agent)

    @property
    def agent(self) -> Agent:
        assert self._agent is not None
        return self._agent

    @property
    def address(self) -> str:
        return str(self.lease["address"])

    @property
    def box(self) -> str:
        return str(self.lease["mailbox_id"])

    @property
    def mailbox_id(self) -> MailboxId:
        return MailboxId.parse(self.box)

    @property
    def tenant_id(self) -> TenantId:
        return TenantId.parse(self.agent.session["tenant_id"])

    async def ask(self, to: Any = ELSEWHERE, http_headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """The answer to a message."""
        body = {"mailbox_id": self.box, "to": to, "subject": "Hello", "text": "Hello there.", **more}
        return await self.http.post("/v2/messages/send", json=body, headers=http_headers)

    async def send(self, to: Any = ELSEWHERE, **more: Any) -> dict[str, Any]:
        """What is told of a message that was taken over."""
        return taken(await self.ask(to, **more))

    async def verb(self, verb: str, message_id: str, **body: Any) -> httpx.Response:
        """The answer to a reply, reply-all or forward."""
        return await self.http.post(f"/v2/messages/{message_id}/{verb}", json=body)

    async def attempt(self, told: dict[str, Any]) -> dict[str, Any]:
        """The whole attempt."""
        answer = await self.http.get(f"/v2/send-attempts/{told['send_attempt_id']}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def messages(self, **query: Any) -> list[dict[str, Any]]:
        """The mailbox, newest first."""
        answer = await self.http.get("/v2/messages", params={"mailbox_id": self.box, "limit": 100, **query})
        assert answer.status_code == 200, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items

    async def message(self, message_id: str) -> dict[str, Any]:
        """One message, whole."""
        answer = await self.http.get(f"/v2/messages/{message_id}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def account(self) -> dict[str, Any]:
        """The mailbox with its counters."""
        answer = await self.http.get(f"/v2/mailboxes/accounts/{self.box}")
        assert answer.status_code == 200, answer.text
        view: dict[str, Any] = answer.json()
        return view

    async def pause(self, verb: str = "pause") -> None:
        answer = await self.http.post(f"/v2/mailboxes/leases/{self.lease['lease_id']}/{verb}")
        assert answer.status_code in (200, 202), answer.text


def taken(answer: httpx.Response) -> dict[str, Any]:
    """The body of a 202."""
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


def attempt_id(told: dict[str, Any]) -> SendAttemptId:
    return SendAttemptId.parse(told["send_attempt_id"])


def states(view: dict[str, Any]) -> dict[str, str]:
    """Each recipient's state in a whole attempt."""
    return {each["address"]: each["state"] for each in view["recipients"]}


async def facts(house: House, tenant_id: TenantId) -> list[tuple[str, dict[str, Any]]]:
    """What was told of a tenant's sending, in order."""
    found = await rows(
        house,
        "SELECT type, payload FROM facts WHERE tenant_id = $1 AND type IN ('message.sent', 'message.delivered', "
        "'message.bounced') ORDER BY id",
        tenant_id,
    )
    return [(row["type"], row["payload"]) for row in found]


async def kept_contents(house: House, told: dict[str, Any]) -> int:
    """How many copies the queue keeps of a message: one or none."""
    found = await rows(house, "SELECT FROM outgoing_contents WHERE attempt_id = $1", attempt_id(told))
    return len(found)
