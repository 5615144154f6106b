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
TENANTS = 16
"""Who call in turn, as agents do: what one tenant may do is counted in one row, for which its own calls queue up."""
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


class Tenant:
    """One who calls. mailbox_id: the mailbox whose messages it lists."""

    def __init__(self, client: Client) -> None:
        self.wallet = Account.create()
        asked = request("POST", "/v2/auth/siwe/challenge", body={"wallet_address": self.wallet.address})
        message = json.loads(client.send([asked], 1, 200).bodies[0])["message"]
        answer = client.send([request("POST", "/v2/auth/siwe/verify", body=self.signed(message))], 1, 200)
        self.session: dict[str, Any] = json.loads(answer.bodies[0])
        self.token = str(self.session["access_token"])
        self.order = {"agent_id": self.session["agent_id"], "purpose": "bench", "ttl_hours": 1}
        self.mailbox_id = ""

    def signed(self, message: str) -> dict[str, str]:
        """What proves that the wallet is its own."""
        return {"message": message, "signature": sign(self.wallet, message)}


class Bench:
    """Tenants of an instance, with the tools to call it in their turn and to see what that costs."""

    def __init__(self, instance: Instance, client: Client) -> None:
        self._client = client
        family = http_cpu.descendants(instance.process.pid)
        self._http = [pid for pid in family if http_cpu.argv(pid)[-2:] == ["serve", "http"]]
        self._postmaster = next(pid for pid in family if "".join(http_cpu.argv(pid)[:1]).endswith("/postgres"))
        self._valkey = [pid for pid in family if "valkey" in "".join(http_cpu.argv(pid)[:1]).partition(" ")[0]]
        self.tenants = [Tenant(client) for _ in range(TENANTS)]

    def fill(self, instance: Instance) -> None:
        """Mailboxes with more messages than a list shows."""
        leases = [json.loads(body) for body in self._client.send(self.leases(TENANTS), 1, 201).bodies]
        with smtplib.SMTP(instance.smtp_host, instance.smtp_port) as smtp:
            for tenant, lease in zip(self.tenants, leases, strict=True):
                tenant.mailbox_id = lease["mailbox_id"]
                for number in range(_MAILS):
                    smtp.sendmail("no-reply@acme.example", lease["address"], _mail(lease["address"], number))
        deadline = time.monotonic() + 30
        while any(len(json.loads(each)["items"]) < LISTED for each in self._listed()):
            if time.monotonic() > deadline:
                raise SystemExit("the mails did not arrive")
            time.sleep(0.1)

    def leases(self, count: int, proofs: Sequence[str] = ()) -> list[bytes]:
        """Lease a generated address, each with a proof where there are any."""
        proven = [{"x-payment-proof": each} for each in proofs] or [{}] * count
        return [
            request("POST", _LEASES, each.token, each.order, **headers)
            for each, headers in zip(self._turns(count), proven, strict=True)
        ]

    def releases(self, granted: Sequence[bytes]) -> list[bytes]:
        """Release what was leased in the same turns."""
        paths = [f"{_LEASES}/{json.loads(body)['lease_id']}/release" for body in granted]
        turns = self._turns(len(paths))
        return [request("POST", path, each.token) for path, each in zip(paths, turns, strict=True)]

    def lists(self, count: int) -> list[bytes]:
        """The first page of a mailbox."""
        path = f"/v2/messages?limit={LISTED}&mailbox_id="
        return [request("GET", f"{path}{each.mailbox_id}", each.token) for each in self._turns(count)]

    def proofs(self, count: int) -> list[bytes]:
        """Hold the price of a lease and get its proof."""
        wanted = {"method": "POST", "path": _LEASES}
        return [request("POST", "/v2/payments/proof", each.token, wanted) for each in self._turns(count)]

    def challenges(self, count: int) -> list[bytes]:
        """Ask for a message to sign."""
        wallets = [each.wallet.address for each in self._turns(count)]
        return [request("POST", "/v2/auth/siwe/challenge", body={"wallet_address": each}) for each in wallets]

    def verifications(self, issued: Sequence[bytes]) -> list[bytes]:
        """The messages signed, which is the client's work and done before anything is measured."""
        messages = [json.loads(body)["message"] for body in issued]
        signed = [each.signed(text) for text, each in zip(messages, self._turns(len(messages)), strict=True)]
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

    def _turns(self, count: int) -> list[Tenant]:
        return [self.tenants[number % TENANTS] for number in range(count)]

    def _listed(self) -> list[bytes]:
        return self._client.send(self.lists(TENANTS), 1, 200).bodies


def _mail(to: str, number: int) -> str:
    return (
        f"From: Acme <no-reply@acme.example>\r\nTo: <{to}>\r\nSubject: Your code\r\n"
        f"Message-ID: <{number}@acme.example>\r\n\r\n"
        f"Your verification code is {number:06d}. It expires in 10 minutes.\r\n"
    )
