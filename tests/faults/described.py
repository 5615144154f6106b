"""`/openapi.json` against the routes: schemathesis sends what it allows and what it forbids, in every right."""

import shutil
import smtplib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.instance import Instance, up
from tests.kit import sign
from tests.kit_mail import code_mail

# What is valid by its schema may still be refused for its meaning: a chain that is not served, a time in the past, a
# text that is no sign-in message, a call that must be paid for. What it may never be is unknown, misread or broken.
CONFIG = """
[parameters]
timeout_s = 1
{known}

[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "402", "403", "404", "409", "410", "422", "429"]
"""
RATES = ("API_RATE", "SIGNIN_RATE", "CLAIM_RATE", "TENANT_RATE", "SMTP_RATE")


class Pass(NamedTuple):
    """Operations that are tried with one session. path: where it signs in. chosen: words for schemathesis. part: of the
    whole time."""

    name: str
    path: str
    chosen: tuple[str, ...]
    part: float
    is_with_ids: bool = False


# It takes some of it only to read the description.
_LEAST_S = 15
_LAST = ("sign_out", "change_agent", "admin_sign_out")
_NOT_LAST = tuple(word for name in _LAST for word in ("--exclude-operation-id", name))
# What is there must stay there.
_KEEPING = ("--exclude-method", "DELETE", "--exclude-path-regex", "^/v2/admin|/release$")
_KNOWN = "lease_id mailbox_id account_id message_id thread_id send_attempt_id webhook_id domain_id agent_id".split()
TENANTS = Pass("tenants", "/v2/auth/siwe", ("--exclude-path-regex", "^/v2/admin", *_NOT_LAST), 0.28)
ADMINS = Pass("admins", "/v2/admin/auth", ("--include-path-regex", "^/v2/admin", *_NOT_LAST), 0.2)
_PASSES = (
    TENANTS,
    ADMINS,
    Pass("tenants, true ids", TENANTS.path, (*_KEEPING, *_NOT_LAST), 0.28, is_with_ids=True),
    Pass("admins, true ids", ADMINS.path, (*ADMINS.chosen, "--exclude-method", "DELETE"), 0.14, is_with_ids=True),
    # These end or cripple the session that all other calls need.
    Pass("sign_out", TENANTS.path, ("--include-operation-id", "sign_out"), 0.02),
    Pass("change_agent", TENANTS.path, ("--include-operation-id", "change_agent"), 0.02),
    Pass("admin_sign_out", ADMINS.path, ("--include-operation-id", "admin_sign_out"), 0.02),
)


def settings(admin: LocalAccount) -> dict[str, str]:
    """Of an instance that refuses nobody for asking too often."""
    free = {f"LEASEBOX_{name}": "0" for name in RATES}
    return {**free, "LEASEBOX_CLAIM_CONFIRM": "headless", "LEASEBOX_ADMIN_WALLETS": admin.address}


def session(http: httpx.Client, path: str, wallet: LocalAccount) -> dict[str, Any]:
    """Sign in; what is answered."""
    message = http.post(f"{path}/challenge", json={"wallet_address": wallet.address}).json()["message"]
    signed: dict[str, Any] = http.post(
        f"{path}/verify", json={"message": message, "signature": sign(wallet, message)}
    ).json()
    return signed


def check(
    url: str, place: Path, bearer: str, chosen: tuple[str, ...], known: Mapping[str, str], *more: str
) -> "subprocess.CompletedProcess[str]":
    """Let schemathesis ask the instance, all checks on. known: parameters by name, instead of invented ones."""
    lines = "\n".join(f'{name} = "{value}"' for name, value in known.items())
    (place / "schemathesis.toml").write_text(CONFIG.format(known=lines))
    return subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("run", f"{url}/openapi.json", "-H", f"Authorization: Bearer {bearer}"),
            *("--no-color", "--continue-on-failure", *chosen, *more),
        ],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )


def known_ids(http: httpx.Client, agent_id: str, smtp: tuple[str, int]) -> dict[str, str]:
    """Ids of things that are there: a mailbox, its lease, a mail and what else the signed-in tenant has made."""
    order = {"agent_id": agent_id, "purpose": "described", "ttl_hours": 24}
    lease = http.post("/v2/mailboxes/leases", json=order).json()
    letter = {"mailbox_id": lease["mailbox_id"], "to": lease["address"], "subject": "x", "text": "y"}
    sent = http.post("/v2/messages/send", json=letter).json()
    hook = {"event_types": ["message.received"], "target_url": "https://hooks.example/described"}
    made = http.post("/v2/webhooks", json=hook).json()
    domain = http.post("/v2/domains", json={"domain": "described.mail-example.org"}).json()
    with smtplib.SMTP(*smtp, timeout=20) as line:
        line.sendmail("sender@shop.example", [lease["address"]], code_mail(1))
    awaited = {"mailbox_id": lease["mailbox_id"], "timeout_s": 20, "has": "otp", "since": "2020-01-01T00:00:00Z"}
    message = http.get("/v2/messages/wait", params=awaited, timeout=30).json()
    found = {**sent, **made, **domain, **message, **lease, "agent_id": agent_id}  # a webhook's account_id is null
    return {name: found[name] for name in _KNOWN}


def hold_to_it(seconds: float, tell: Callable[[str], None]) -> bool:
    """All operations for so long, with invented ids and with true ones; whether all kept to the description.

    Each pass has an instance of its own: as an admin it also changes prices, and shuts out whoever comes next.
    """
    place = Path(tempfile.mkdtemp(prefix="leasebox-described-"))
    place.chmod(0o711)
    admin = Account.create()
    ended = []
    for number, each in enumerate(_PASSES):
        with up(place / f"home{number}", **settings(admin)) as instance:
            ended.append(_run(instance, place, admin, each, seconds, tell))
    if all(ended):
        shutil.rmtree(place)
    else:
        tell(f"the logs of the instances are in {place}")
    return all(ended)


def _run(
    instance: Instance, place: Path, admin: LocalAccount, one: Pass, seconds: float, tell: Callable[[str], None]
) -> bool:
    with httpx.Client(base_url=instance.url, timeout=30) as http:
        tenant = Account.create()
        owner = session(http, TENANTS.path, tenant)
        http.headers["authorization"] = f"Bearer {owner['access_token']}"
        smtp = (instance.smtp_host, instance.smtp_port)
        known = known_ids(http, owner["agent_id"], smtp) if one.is_with_ids else {}
        if one.path == ADMINS.path:
            known |= {"tenant_id": owner["tenant_id"]} if known else {}
        bearer = session(http, one.path, admin if one.path == ADMINS.path else tenant)["access_token"]
    took = f"{max(_LEAST_S, seconds * one.part):.0f}"
    words = ("--max-examples", "1000000", "--max-time", took, "--phases", "examples,coverage,fuzzing,stateful")
    done = check(instance.url, place, bearer, one.chosen, known, *words)
    tell(done.stdout[-20_000:] + done.stderr[-2_000:] if done.returncode else f"{one.name}: {_counted(done.stdout)}")
    return done.returncode == 0


def _counted(said: str) -> str:
    lines = (line.strip() for line in said.splitlines())
    return ", ".join(line for line in lines if line.startswith(("Tested:", "Selected:")) or " generated, " in line)
