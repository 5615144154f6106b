"""`/openapi.json` is true: schemathesis sends what it allows and what it forbids; every answer must be as it says."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.instance import Instance, up
from tests.kit import sign

# What is valid by its schema may still be refused for its meaning: a chain that is not served, a time in the past, a
# text that is no sign-in message. So "valid data is accepted" is the one check that cannot hold for every route.
CONFIG = """
[parameters]
timeout_s = 1

[checks]
positive_data_acceptance.enabled = false
"""
ADMIN = Account.create()
# Signing out, or disabling its own agent, would end the session that all other calls need.
TENANTS = ("--exclude-path-regex", "^/v2/admin", "--exclude-operation-id", "sign_out")
TENANTS += ("--exclude-operation-id", "change_agent")
ADMINS = ("--include-path-regex", "^/v2/admin", "--exclude-operation-id", "admin_sign_out")


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> "Instance":
    with up(
        tmp_path_factory.mktemp("openapi") / "home",
        LEASEBOX_API_RATE="0",
        LEASEBOX_SIGNIN_RATE="0",
        LEASEBOX_CLAIM_RATE="0",
        LEASEBOX_CLAIM_CONFIRM="headless",
        LEASEBOX_TENANT_RATE="0",
        LEASEBOX_ADMIN_WALLETS=ADMIN.address,
    ) as running:
        yield running  # type: ignore[misc]


def token(url: str, path: str, wallet: LocalAccount) -> str:
    with httpx.Client(base_url=url) as http:
        message = http.post(f"{path}/challenge", json={"wallet_address": wallet.address}).json()["message"]
        body = {"message": message, "signature": sign(wallet, message)}
        return str(http.post(f"{path}/verify", json=body).json()["access_token"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("path", "wallet", "chosen"),
    [("/v2/auth/siwe", Account.create(), TENANTS), ("/v2/admin/auth", ADMIN, ADMINS)],
    ids=["tenants", "admins"],
)
def test_every_answer_is_as_the_description_says(
    instance: Instance, tmp_path: Path, path: str, wallet: LocalAccount, chosen: tuple[str, ...]
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    examples = os.environ.get("SCHEMATHESIS_EXAMPLES", "12")
    bearer = token(instance.url, path, wallet)
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("run", f"{instance.url}/openapi.json", "-H", f"Authorization: Bearer {bearer}"),
            *("--max-examples", examples, "--phases", "examples,coverage,fuzzing", "--no-color"),
            *chosen,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]


def test_every_route_that_needs_a_credential_says_so(instance: Instance) -> None:
    described = httpx.get(f"{instance.url}/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") != [{}]:
                answer = httpx.request(method.upper(), instance.url + path.replace("{", "").replace("}", ""), json={})
                assert answer.status_code == 401, (method, path, answer.text)
