"""What the HTTP bench asks of a real instance: rounds of prepared requests, and what each cost whom."""

import json
import smtplib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from eth_account import Account

from tests.bench import http_cpu
from tests.bench.http_load import Client, request
from tests.instance import Instance
from tests.kit import sign

LISTED = 20
_MAILS = 25
_LEASES = "/v2/mailboxes/leases"


class Cost(NamedTuple):
    """One round: seconds of each call, calls a second, answers, and CPU seconds of one call here and there."""

    seconds: list[float]
    rate: float
    http: float
    postgres: float
    bodies: list[bytes]
    valkey: float = 0.0


class Bench:
    """A tenant of an instance, with the tools to call it and to see what that costs."""

    def __init__(self, instance: Instance, client: Client) -> None:
        self._client = client
        self._wallet = Account.create()
        family = http_cpu.descendants(instance.process.pid)
        self._http = [pid for pid in family if http_cpu.argv(pid)[-2:] == ["serve", "http"]]
        self._postmaster = next(pid for pid in family if "".join(http_cpu.argv(pid)[:1]).endswith("/postgres"))
        self._valkey = [pid for pid in family if "valkey" in "".join(http_cpu.argv(pid)[:1]).partition(" ")[0]]
        message = self._challenges(1)[0]
        body = {"message": message, "signature": sign(self._wallet, message)}
        answer = client.send([request("POST", "/v2/auth/siwe/verify", body=body)], 1, 200)
        self.session: dict[str, Any] = json.loads(answer.bodies[0])
        self._order = {"agent_id": self.session["agent_id"], "purpose": "bench", "ttl_hours": 1}
        self.mailbox_id = ""

    def fill(self, instance: Instance) -> None:
        """A mailbox with more messages than a list shows."""
        lease = json.loads(self._client.send(self.leases(1), 1, 201).bodies[0])
        self.mailbox_id = lease["mailbox_id"]
        with smtplib.SMTP(instance.smtp_host, instance.smtp_port) as smtp:
            for number in range(_MAILS):
                smtp.sendmail("no-reply@acme.example", lease["address"], _mail(lease["address"], number))
        deadline = time.monotonic() + 30
        while len(json.loads(self._client.send(self.lists(1), 1, 200).bodies[0])["items"]) < LISTED:
            if time.monotonic() > deadline:
                raise SystemExit("the mails did not arrive")
            time.sleep(0.1)

    def leases(self, count: int, proofs: Sequence[str] = ()) -> list[bytes]:
        """Lease a generated address, each with a proof where there are any."""
        token = self._token
        if proofs:
            return [request("POST", _LEASES, token, self._order, **{"x-payment-proof": each}) for each in proofs]
        return [request("POST", _LEASES, token, self._order)] * count

    def releases(self, granted: Sequence[bytes]) -> list[bytes]:
        """Release what was leased."""
        ids = [json.loads(body)["lease_id"] for body in granted]
        return [request("POST", f"{_LEASES}/{each}/release", self._token) for each in ids]

    def lists(self, count: int) -> list[bytes]:
        """The first page of the mailbox."""
        path = f"/v2/messages?mailbox_id={self.mailbox_id}&limit={LISTED}"
        return [request("GET", path, self._token)] * count

    def proofs(self, count: int) -> list[bytes]:
        """Hold the price of a lease and get its proof."""
        wanted = {"method": "POST", "path": _LEASES}
        return [request("POST", "/v2/payments/proof", self._token, wanted)] * count

    def challenges(self, count: int) -> list[bytes]:
        """Ask for a message to sign."""
        asked = {"wallet_address": self._wallet.address}
        return [request("POST", "/v2/auth/siwe/challenge", body=asked)] * count

    def verifications(self, issued: Sequence[bytes]) -> list[bytes]:
        """The messages signed, which is the client's work and done before anything is measured."""
        messages = [json.loads(body)["message"] for body in issued]
        signed = [{"message": each, "signature": sign(self._wallet, each)} for each in messages]
        return [request("POST", "/v2/auth/siwe/verify", body=each) for each in signed]

    def run(self, requests: Sequence[bytes], in_flight: int, status: int) -> Cost:
        """Send them all and see what they cost."""
        before = self._spent()
        done = self._client.send(requests, in_flight, status)
        count = len(requests)
        http, postgres, valkey = (
            http_cpu.spent(early, late) / count for early, late in zip(before, self._spent(), strict=True)
        )
        return Cost(done.seconds, count / done.span_s, http, postgres, done.bodies, valkey)

    def _spent(self) -> list[dict[int, float]]:
        postgres = http_cpu.descendants(self._postmaster)
        return [http_cpu.seconds(pids) for pids in (self._http, postgres, self._valkey)]

    @property
    def _token(self) -> str:
        return str(self.session["access_token"])

    def _challenges(self, count: int) -> list[str]:
        return [json.loads(body)["message"] for body in self._client.send(self.challenges(count), 1, 200).bodies]


def _mail(to: str, number: int) -> str:
    return (
        f"From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\n"
        f"Message-ID: <{number}@acme.example>\r\n\r\n"
        f"Your verification code is {number:06d}. It expires in 10 minutes.\r\n"
    )
