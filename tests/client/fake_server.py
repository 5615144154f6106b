"""A leasebox in memory that answers in the contract's shapes; signatures are verified for real."""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from eth_account import Account
from eth_account.messages import encode_defunct

HOST = "box.example"
URL = f"https://{HOST}"
LEASE: dict[str, Any] = {
    "lease_id": "lse_01",
    "mailbox_id": "mbx_01",
    "account_id": "mbx_01",
    "address": "quiet-otter@inbox.example",
    "agent_id": "agt_01",
    "purpose": "signup",
    "lease_status": "active",
    "started_at": "2026-11-20T10:00:00.123456Z",
    "expires_at": "2026-11-20T11:00:00.123456Z",
    "released_at": None,
    "metadata": {},
    "used_bytes": 0,
    "used_messages": 0,
}
MAIL: dict[str, Any] = {
    "message_id": "msg_01",
    "mailbox_id": "mbx_01",
    "lease_id": "lse_01",
    "thread_id": "thr_01",
    "direction": "inbound",
    "sender": "noreply@shop.example",
    "sender_name": "Shop",
    "sender_domain": "shop.example",
    "to": [{"name": "", "address": "quiet-otter@inbox.example"}],
    "subject": "Your code",
    "preview": "Your code is 428193",
    "received_at": "2026-11-20T10:01:00.000000Z",
    "otp_code": "428193",
    "verification_link": None,
    "parsed_status": "parsed",
    "labels": ["received", "unread"],
    "has_attachments": True,
    "size_bytes": 512,
    "raw_ref": "/v2/messages/msg_01/raw",
    "auth": {"spf": "pass", "dkim": "pass", "dmarc": "pass"},
    "added_by_a_newer_server": 1,
}
WHOLE = MAIL | {
    "cc": [],
    "reply_to": [],
    "headers": [{"name": "Subject", "value": "Your code"}],
    "text": "Your code is 428193",
    "html": None,
    "attachments": [{"attachment_id": "att_01", "filename": "a.txt", "content_type": "text/plain", "size_bytes": 3}],
    "extraction": {
        "codes": [{"code": "428193", "confidence": 0.98, "evidence": "Your code is 428193", "visible": True}],
        "links": [],
    },
}
SUBMITTED: dict[str, Any] = {
    "send_attempt_id": "snd_01",
    "submission_status": "queued",
    "message_id": "msg_02",
    "thread_id": "thr_01",
    "accepted": ["ada@shop.example"],
    "rejected": [{"address": "bob@shop.example", "reason": "suppressed", "message": "It bounced before."}],
}
ATTEMPT: dict[str, Any] = {
    "send_attempt_id": "snd_01",
    "state": "deferred",
    "mailbox_id": "mbx_01",
    "lease_id": "lse_01",
    "message_id": "msg_02",
    "header_message_id": "<1@inbox.example>",
    "sender": "quiet-otter@inbox.example",
    "recipient_count": 1,
    "size_bytes": 700,
    "created_at": "2026-11-20T10:02:00Z",
    "send_at": "2026-11-20T10:02:00Z",
    "expires_at": "2026-11-22T10:02:00Z",
    "sent_at": None,
    "finished_at": None,
}
WHOLE_ATTEMPT = ATTEMPT | {
    "recipients": [
        {
            "address": "ada@shop.example",
            "kind": "to",
            "destination": "shop.example",
            "state": "deferred",
            "reply_code": 451,
            "reply_text": "4.7.1 later",
            "at": "2026-11-20T10:02:01Z",
        }
    ],
    "hops": [
        {
            "destination": "shop.example",
            "route": "smtp",
            "state": "waiting",
            "next_try_at": "2026-11-20T10:03:00Z",
            "tries": [
                {
                    "number": 1,
                    "began_at": "2026-11-20T10:02:00Z",
                    "ended_at": "2026-11-20T10:02:01Z",
                    "remote": "mx.shop.example",
                    "outcome": "deferred",
                    "replies": [{"command": "RCPT TO", "code": 451, "text": "4.7.1 later"}],
                }
            ],
        }
    ],
}
THREAD: dict[str, Any] = {
    "thread_id": "thr_01",
    "mailbox_id": "mbx_01",
    "lease_id": "lse_01",
    "subject": "Lunch",
    "preview": "Yes",
    "participants": [{"name": "Ada", "address": "ada@shop.example"}],
    "message_count": 2,
    "sent_count": 1,
    "unread_count": 1,
    "labels": ["received", "sent", "unread"],
    "has_attachments": False,
    "size_bytes": 900,
    "started_at": "2026-11-20T10:01:00Z",
    "last_message_at": "2026-11-20T10:02:00Z",
    "last_message_id": "msg_02",
}
EVENT: dict[str, Any] = {
    "event_id": "evt_01",
    "type": "message.received",
    "created_at": "2026-11-20T10:01:00Z",
    "tenant_id": "ten_01",
    "mailbox_id": "mbx_01",
    "lease_id": "lse_01",
    "data": {"message_id": "msg_01"},
}
RUNTIME = {
    "siwe_mode": "strict",
    "payment_mode": "hmac",
    "base_chain_id": 84532,
    "chain_name": "Base Sepolia",
    "mailbox_domain": "inbox.example",
    "mailbox_domains": ["inbox.example"],
    "limits": {},
    "prices": [],
    "version": "0.1.0",
    "smtp": {"host": "127.0.0.1", "port": 2525, "security": "starttls"},
    "imap": None,
    "webmail_url": None,
}

Answer = httpx.Response
Route = Callable[[httpx.Request], Answer]


def stream(*events: dict[str, Any]) -> str:
    """Server-sent events as the API has them."""
    blocks = [f"id: {each['event_id']}\nevent: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events]
    return "retry: 1000\nid: evt_00\n\n: still here\n\n" + "".join(blocks)


def problem(status: int, error: str, **more: Any) -> Answer:
    """A refusal as RFC 9457 and the contract have it."""
    headers = {"retry-after": str(more.pop("retry_after"))} if "retry_after" in more else {}
    body = {"type": "x", "title": "x", "status": status, "detail": "Told.", "message": "Told.", "instance": "/"}
    body |= {"error": error, "fix": "Mend it.", "request_id": "req_1", **more}
    return Answer(status, json=body, headers={"content-type": "application/problem+json", **headers})


class FakeServer:
    """`script[(method, path)]` holds answers to give first, then the built-in routes answer."""

    def __init__(self, domain: str = HOST, url: str = URL) -> None:
        self.domain, self.url = domain, url
        self.calls: list[httpx.Request] = []
        self.script: dict[tuple[str, str], list[Answer | Exception | Route]] = {}
        self.tokens: set[str] = set()
        self.nonces: dict[str, str] = {}
        self.mails: list[dict[str, Any]] = [dict(MAIL)]
        self.leases: list[dict[str, Any]] = [dict(LEASE)]
        self.agent_id: str | None = "agt_01"
        self.stream = stream(EVENT)
        self.shape_message: Callable[[str], str] = str

    def __call__(self, request: httpx.Request) -> Answer:
        self.calls.append(request)
        scripted = self.script.get((request.method, request.url.path))
        if scripted:
            step = scripted.pop(0)
            if isinstance(step, Exception):
                raise step
            return step if isinstance(step, Answer) else step(request)
        return self._route(request, request.url.path)

    def http(self) -> httpx.Client:
        """A client whose calls end here."""
        return httpx.Client(transport=httpx.MockTransport(self))

    def issue(self) -> str:
        """A token that is good."""
        token = secrets.token_urlsafe(16)
        self.tokens.add(token)
        return token

    def paths(self) -> list[str]:
        """What was called so far."""
        return [f"{call.method} {call.url.path}" for call in self.calls]

    def _route(self, request: httpx.Request, path: str) -> Answer:
        if path in {"/healthz", "/readyz"}:
            return Answer(200, json={"status": "ok"})
        if path == "/v2/meta/runtime":
            return Answer(200, json=RUNTIME)
        if path == "/v2/auth/siwe/challenge":
            return self._challenge(json.loads(request.content))
        if path == "/v2/auth/siwe/verify":
            return self._verify(json.loads(request.content))
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return problem(401, "unauthorized")
        return self._private(request, path)

    def _private(self, request: httpx.Request, path: str) -> Answer:
        verb = path.rpartition("/")[2]
        match request.method, path:
            case "GET", "/v2/auth/me":
                return Answer(200, json={"tenant_id": "ten_01", "agent_id": self.agent_id, "scopes": ["mail:read"]})
            case "DELETE", "/v2/auth/session":
                self.tokens.discard(request.headers["authorization"].removeprefix("Bearer "))
                return Answer(204)
            case "POST", "/v2/mailboxes/leases":
                asked = json.loads(request.content)
                name = asked.get("local_part") or "quiet-otter"
                made = LEASE | {"address": f"{name}@inbox.example", "purpose": asked["purpose"]}
                del made["released_at"]
                return Answer(201, json=made | {"webmail_login": "x", "webmail_password": "pass-word", "smtp": None})
            case "GET", "/v2/mailboxes/leases":
                return _page(request, self.leases)
            case "GET", "/v2/messages":
                return _page(request, self.mails)
            case "GET", "/v2/messages/wait":
                return Answer(200, json=self.mails[0]) if self.mails else Answer(204)
            case "GET", "/v2/messages/msg_01":
                return Answer(200, json=WHOLE)
            case "GET", "/v2/messages/msg_01/raw":
                return Answer(200, content=b"Subject: x\r\n\r\n\xff")
            case "GET", "/v2/messages/msg_01/attachments/att_01":
                return Answer(200, content=b"abc")
            case "GET", "/v2/mailboxes/leases/lse_01":
                return Answer(200, json=self.leases[0])
            case "POST", "/v2/mailboxes/leases/lse_01/release":
                return Answer(202, json={"lease_id": "lse_01", "mailbox_id": "mbx_01", "lease_status": "released"})
            case "POST", _ if verb in {"renew", "pause", "resume"} and path.startswith("/v2/mailboxes/leases/lse_01/"):
                return Answer(200, json=LEASE | {"lease_status": "paused" if verb == "pause" else "active"})
            case _:
                return self._correspondence(request, path)

    def _correspondence(self, request: httpx.Request, path: str) -> Answer:
        match request.method, path:
            case "POST", "/v2/messages/send" | "/v2/messages/msg_01/reply" | "/v2/messages/msg_01/reply-all":
                return Answer(202, json=SUBMITTED)
            case "POST", "/v2/messages/msg_01/forward":
                return Answer(202, json=SUBMITTED)
            case "GET", "/v2/send-attempts":
                return _page(request, [ATTEMPT])
            case ("GET", "/v2/send-attempts/snd_01"):
                return Answer(200, json=WHOLE_ATTEMPT)
            case ("POST", "/v2/send-attempts/snd_01/cancel"):
                return Answer(200, json=WHOLE_ATTEMPT | {"state": "cancelled"})
            case "GET", "/v2/threads":
                return _page(request, [THREAD])
            case "GET", "/v2/threads/thr_01":
                return Answer(200, json=self._thread(request.url.params.get("cursor")))
            case "PATCH", "/v2/threads/thr_01":
                return Answer(200, json=THREAD)
            case "PATCH", "/v2/messages/msg_01":
                return Answer(200, json=MAIL)
            case "GET", "/v2/events":
                return Answer(200, text=self.stream, headers={"content-type": "text/event-stream"})
            case _:
                return problem(404, "not_found")

    def _thread(self, cursor: str | None) -> dict[str, Any]:
        """The thread in two pages."""
        first = MAIL | {"extracted_text": "Lunch?", "is_cut": False}
        second = MAIL | {"message_id": "msg_02", "direction": "outbound", "extracted_text": "Yes", "is_cut": True}
        shown = [second] if cursor else [first]
        return THREAD | {"messages": shown, "next_cursor": None if cursor else "next"}

    def _challenge(self, asked: dict[str, Any]) -> Answer:
        nonce, at = secrets.token_hex(16), datetime(2026, 11, 20, 10, tzinfo=UTC)
        message = (
            f"{self.domain} wants you to sign in with your Ethereum account:\n{asked['wallet_address']}\n\n"
            f"Sign in to leasebox to lease mailboxes. This costs nothing.\n\nURI: {self.url}\nVersion: 1\n"
            f"Chain ID: {asked.get('chain_id', 84532)}\nNonce: {nonce}\nIssued At: {at:%Y-%m-%dT%H:%M:%SZ}\n"
            f"Expiration Time: {at + timedelta(minutes=5):%Y-%m-%dT%H:%M:%SZ}\nRequest ID: 0123456789abcdef"
        )
        message = self.shape_message(message)
        self.nonces[nonce] = message
        return Answer(200, json={"message": message, "nonce": nonce, "expires_at": "2026-11-20T10:05:00Z"})

    def _verify(self, asked: dict[str, Any]) -> Answer:
        issued = [nonce for nonce, message in self.nonces.items() if message == asked["message"]]
        wallet = asked["message"].split("\n")[1]
        signer = Account.recover_message(encode_defunct(text=asked["message"]), signature=asked["signature"])
        if not issued or signer != wallet:
            return problem(401, "unauthorized", reason="signature")
        del self.nonces[issued[0]]
        return Answer(
            200,
            json={
                "access_token": self.issue(),
                "token_type": "Bearer",
                "expires_in": 3600,
                "agent_id": "agt_01",
                "tenant_id": "ten_01",
                "did": f"did:pkh:eip155:84532:{signer}",
                "wallet_address": signer,
                "chain_id": 84532,
                "scopes": ["mail:read"],
            },
        )


def _page(request: httpx.Request, rows: list[dict[str, Any]]) -> Answer:
    start, size = int(request.url.params.get("cursor", 0)), int(request.url.params.get("limit", 20))
    following = str(start + size) if len(rows) > start + size else None
    return Answer(200, json={"items": rows[start : start + size], "next_cursor": following})


@contextmanager
def serving() -> Iterator[FakeServer]:
    """The same over real HTTP on a free port of this machine."""
    server = FakeServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = server(
                httpx.Request(self.command, server.url + self.path, headers=dict(self.headers), content=body)
            )
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                if name not in {"content-length", "date"}:
                    self.send_header(name, value)
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: Any) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    server.domain = f"127.0.0.1:{listener.server_port}"
    server.url = f"http://{server.domain}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
