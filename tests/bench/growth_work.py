"""What `growth` does to an instance, operation by operation: each as its users do it, over HTTP and SMTP."""

import http.client
import json
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.bench import http_cpu
from tests.instance import Instance
from tests.kit import sign

MAILS = 25
"""Mails in the mailbox of ours that is listed."""
_MAIL = (
    "From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\nMessage-ID: <{n}@acme.example>\r\n\r\n"
    "Your verification code is {n:06d}. It expires in 10 minutes.\r\n.\r\n"
)
_PATIENCE_S = 30.0
# Idle is what takes less of a core than this.
_IDLE, _LOOK_S, _SETTLED_S = 0.06, 4.0, 180.0


def wallet(number: int) -> LocalAccount:
    """The same wallet each time, so that it owns what was filled in between."""
    return Account.from_key(f"{number + 1:064x}")


class Place:
    """An instance, an agent's session with it, and a connection to each door. words: how its size is called."""

    def __init__(self, words: str, instance: Instance) -> None:
        self.words = words
        self._pid = instance.process.pid
        self._address = urlsplit(instance.url).netloc
        self._http = http.client.HTTPConnection(self._address)
        self._smtp_address = (instance.smtp_host, instance.smtp_port)
        self._smtp = Dialogue(*self._smtp_address)
        self._token = ""
        self.agent_id = ""
        self.tenant_id = ""
        self.addresses: Sequence[str] = ()
        self.box: dict[str, Any] = {}
        self._box_of_waits: dict[str, Any] = {}
        self._sent = 0

    def sign_in(self) -> Self:
        """As the first wallet."""
        owner = wallet(0)
        message = self.ask("POST", "/v2/auth/siwe/challenge", {"wallet_address": owner.address})["message"]
        session = self.ask("POST", "/v2/auth/siwe/verify", {"message": message, "signature": sign(owner, message)})
        self._token, self.agent_id, self.tenant_id = (
            session["access_token"],
            session["agent_id"],
            session["tenant_id"],
        )
        return self

    def furnish(self, addresses: Sequence[str]) -> None:
        """Mailboxes of our own, one with MAILS mails in it, and addresses for RCPT: these, or fifty of our own."""
        self.box, self._box_of_waits = self._lease(), self._lease()
        own = [] if addresses else [self._lease()["address"] for _ in range(50)]
        self.addresses = [*addresses, *own]
        for _ in range(MAILS):
            self._send(self.box)
        deadline = time.monotonic() + _PATIENCE_S
        while len(self._list(f"mailbox_id={self.box['mailbox_id']}&limit=100")) < MAILS:
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.words}: mails are not visible")
            time.sleep(0.05)

    def settle(self) -> None:
        """Wait until it has nothing to do of its own: after a fill last month's invoices are due, one a tenant."""
        deadline = time.monotonic() + _SETTLED_S
        while time.monotonic() < deadline:
            before = self.cpu_s()
            time.sleep(_LOOK_S)
            if self.cpu_s() - before < _IDLE * _LOOK_S:
                return

    def lease_and_release(self) -> float:
        began = time.perf_counter()
        lease = self._lease()
        self.ask("POST", f"/v2/mailboxes/leases/{lease['lease_id']}/release")
        return time.perf_counter() - began

    def list_of_mailbox(self) -> float:
        return self._timed_list(f"mailbox_id={self.box['mailbox_id']}", 20)

    def list_of_tenant(self) -> float:
        return self._timed_list("", 20)

    def search(self) -> float:
        """One mail of ours by its code, through all that the tenant has."""
        return self._timed_list(f"q={random.randrange(1, MAILS):06d}", 1)

    def unused_label(self) -> float:
        return self._timed_list("label=nobody-has-it", 0)

    def threads_by_unused_label(self) -> float:
        began = time.perf_counter()
        assert not self.ask("GET", "/v2/threads?label=nobody-has-it")["items"]
        return time.perf_counter() - began

    def rcpt(self) -> float:
        """RCPT within a dialogue: of the whole, only this command is timed."""
        self._smtp.say("MAIL FROM:<no-reply@acme.example>", "250")
        began = time.perf_counter()
        self._smtp.say(f"RCPT TO:<{random.choice(self.addresses)}>", "250")
        took = time.perf_counter() - began
        self._smtp.say("RSET", "250")
        return took

    def waited(self) -> float:
        """From the last octet of DATA to the answer of `wait`, which was waiting already."""
        answered: list[tuple[float, Any]] = []

        def wait() -> None:
            query = f"mailbox_id={self._box_of_waits['mailbox_id']}&timeout_s=20&has=otp"
            found = self.ask("GET", f"/v2/messages/wait?{query}")
            answered.append((time.perf_counter(), found))

        waiter = threading.Thread(target=wait)
        waiter.start()
        time.sleep(0.03)
        code, sent = self._send(self._box_of_waits)
        waiter.join()
        when, found = answered[0]
        assert found is not None, f"{self.words}: nothing came"
        assert found["otp_code"] == code, f"{self.words}: {found['otp_code']} came, not {code}"
        return when - sent

    def call_again(self) -> None:
        """Fresh connections: those of the last series may have been closed for being idle."""
        self.close()
        self._http = http.client.HTTPConnection(self._address)
        self._smtp = Dialogue(*self._smtp_address)

    def cpu_s(self) -> float:
        """CPU of all its processes so far."""
        return sum(http_cpu.seconds(http_cpu.descendants(self._pid)).values())

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None for 204. SystemExit for anything but success."""
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        sent = None if body is None else json.dumps(body)
        self._http.request(method, path, sent, {**headers, "content-type": "application/json"})
        answer = self._http.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{self.words}: {method} {path} answered {answer.status}: {said[:300]!r}")
        return json.loads(said) if said else None

    def close(self) -> None:
        self._smtp.close()
        self._http.close()

    def _lease(self) -> dict[str, Any]:
        order = {"agent_id": self.agent_id, "purpose": "bench", "ttl_hours": 2}
        granted: dict[str, Any] = self.ask("POST", "/v2/mailboxes/leases", order)
        return granted

    def _list(self, query: str) -> list[Any]:
        return list(self.ask("GET", f"/v2/messages?{query}")["items"])

    def _timed_list(self, query: str, least: int) -> float:
        began = time.perf_counter()
        found = self._list(query)
        took = time.perf_counter() - began
        assert len(found) >= least, f"{self.words}: {len(found)} messages for {query!r}"
        return took

    def _send(self, box: dict[str, Any]) -> tuple[str, float]:
        """A mail; its code, and when its last octet was sent."""
        self._sent += 1
        self._smtp.say("MAIL FROM:<no-reply@acme.example>", "250")
        self._smtp.say(f"RCPT TO:<{box['address']}>", "250")
        self._smtp.say("DATA", "354")
        sent = time.perf_counter()
        self._smtp.say(_MAIL.format(to=box["address"], n=self._sent).removesuffix("\r\n"), "250")
        return f"{self._sent:06d}", sent


class Dialogue:
    """An SMTP connection, command by command."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=_PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")
        self._expect("220")
        self.say("EHLO bench.example", "250")

    def say(self, line: str, expected: str) -> None:
        """SystemExit for another reply than the one expected."""
        self._socket.sendall(line.encode() + b"\r\n")
        self._expect(expected)

    def close(self) -> None:
        self._replies.close()
        self._socket.close()

    def _expect(self, expected: str) -> None:
        while True:
            reply = self._replies.readline().decode(errors="replace")
            if not reply.startswith(expected):
                raise SystemExit(f"SMTP answered {reply!r}, not {expected}")
            if reply[3:4] != "-":
                return


class Series:
    """Latencies of one operation at one place, and what they cost."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_s = 0.0

    def add(self, place: Place, work: Callable[[], float], times: int) -> None:
        place.call_again()
        before = place.cpu_s()
        self.seconds += [work() for _ in range(times)]
        self.cpu_s += max(0.0, place.cpu_s() - before)

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.seconds) * 1000

    @property
    def p99_ms(self) -> float:
        return sorted(self.seconds)[min(len(self.seconds) - 1, len(self.seconds) * 99 // 100)] * 1000

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / len(self.seconds) * 1e6


OPERATIONS: dict[str, Callable[[Place], float]] = {
    "lease and release": Place.lease_and_release,
    "list of 20, of a mailbox": Place.list_of_mailbox,
    "list of 20, of the tenant": Place.list_of_tenant,
    "search, one hit": Place.search,
    "list by a label that nobody has": Place.unused_label,
    "threads by a label that nobody has": Place.threads_by_unused_label,
    "RCPT, any address": Place.rcpt,
    "DATA end to `wait` answered": Place.waited,
}


@contextmanager
def closing_all(places: Sequence[Place]) -> Iterator[None]:
    try:
        yield
    finally:
        for place in places:
            place.close()
