"""An agent of flesh and blood: signs in with a key, leases, gets mail from strangers, all over real sockets."""

import os
import re
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.infra.homes import argv, offspring
from tests.instance import Instance
from tests.kit import sign

SENDER = "no-reply@shop.example"


class Walker:
    """One signed-in agent at an instance."""

    def __init__(self, box: Instance, session: dict[str, Any] | None = None) -> None:
        self.box = box
        self.wallet: LocalAccount = Account.create()
        self.http = httpx.Client(base_url=box.url, timeout=70)
        try:
            self.session = session or self._sign_in()
        except BaseException:
            self.http.close()
            raise
        self.http.headers["authorization"] = f"Bearer {self.session['access_token']}"

    def elsewhere(self, box: Instance) -> "Walker":
        """The same session at the instance's next life."""
        return Walker(box, self.session)

    def _sign_in(self) -> dict[str, Any]:
        asked = self.http.post("/v2/auth/siwe/challenge", json={"wallet_address": self.wallet.address})
        assert asked.status_code == 200, asked.text
        message = asked.json()["message"]
        body = {"message": message, "signature": sign(self.wallet, message)}
        signed = self.http.post("/v2/auth/siwe/verify", json=body)
        assert signed.status_code == 200, signed.text
        session: dict[str, Any] = signed.json()
        return session

    def __enter__(self) -> "Walker":
        return self

    def __exit__(self, *fault: object) -> None:
        self.http.close()

    def lease(self, **more: Any) -> dict[str, Any]:
        """A fresh lease."""
        order = {"agent_id": self.session["agent_id"], "purpose": "sign up", "ttl_hours": 1, **more}
        answer = self.http.post("/v2/mailboxes/leases", json=order)
        assert answer.status_code == 201, answer.text
        granted: dict[str, Any] = answer.json()
        return granted

    def waiting(self, mailbox_id: str, **more: Any) -> "Future[httpx.Response]":
        """A long poll that has been sent: for what comes, however slowly it sets out, or has come."""
        query = {"mailbox_id": mailbox_id, "timeout_s": 30, "since": "2020-01-01T00:00:00Z", **more}
        return _THREADS.submit(lambda: self.http.get("/v2/messages/wait", params=query))

    def code_of(self, mailbox_id: str, **more: Any) -> str:
        """The next code that comes, or has come."""
        answer = self.waiting(mailbox_id, has="otp", **more).result()
        assert answer.status_code == 200, answer.text
        return str(answer.json()["otp_code"])

    def codes(self) -> set[str]:
        """The codes of all messages that can be read now."""
        answer = self.http.get("/v2/messages")
        assert answer.status_code == 200, answer.text
        return {each["otp_code"] for each in answer.json()["items"]}


_THREADS = ThreadPoolExecutor(8)


def post(box: Instance, raw: bytes, *to: str, sender: str = SENDER) -> dict[str, tuple[int, bytes]]:
    """One mail by smtplib, every octet as given; the addresses that were refused."""
    with smtplib.SMTP(box.smtp_host, box.smtp_port, local_hostname="client.example", timeout=20) as smtp:
        return smtp.sendmail(sender, to, raw)


def refusal(box: Instance, address: str) -> int:
    """The SMTP code of RCPT TO."""
    with smtplib.SMTP(box.smtp_host, box.smtp_port, local_hostname="client.example", timeout=20) as smtp:
        smtp.ehlo()
        smtp.mail(SENDER)
        return smtp.rcpt(address)[0]


def code_mail(code: str) -> bytes:
    """A mail with this code."""
    return (
        f"From: Shop <{SENDER}>\r\nSubject: Your code\r\nMessage-ID: <{code}.{time.monotonic_ns()}@shop.example>\r\n"
        f"\r\nYour verification code is {code}.\r\n"
    ).encode()


def processes(box: Instance) -> dict[str, int]:
    """The pids of roles and engines, by name."""
    found = {}
    for pid in offspring(box.process.pid):
        try:
            words = argv(pid)
        except OSError:
            continue
        if match := re.search(r" serve (\w+) ", words):
            found[match[1]] = pid
        elif re.search(r"bin/postgres .*-D|postgres -D", words):
            found["postgres"] = pid
        elif "valkey" in words.split(" ")[0]:
            found["valkey"] = pid
    return found


def kill(box: Instance, name: str) -> int:
    """SIGKILL a role or an engine; its pid."""
    pid = processes(box)[name]
    os.kill(pid, signal.SIGKILL)
    return pid


def soon(true: Callable[[], object], within_s: float = 20) -> float:
    """Wait until something is true; after how many seconds it was. Faults on the way count as not yet."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        try:
            if true():
                return time.monotonic() - began
        except (OSError, httpx.HTTPError, smtplib.SMTPException):
            pass
        time.sleep(0.05)
    raise AssertionError(f"not true within {within_s} s")


def command(box: Instance, config: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`leasebox …` as an agent would call it."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("LEASEBOX_")}
    environ |= {"LEASEBOX_URL": box.url, "XDG_CONFIG_HOME": str(config), "NO_COLOR": "1"}
    argv = [sys.executable, "-P", "-m", "leasebox", *words]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=90, check=False)
