"""`/openapi.json` is true: schemathesis sends what it allows and what it forbids; every answer must be as it says.

`make fuzz` does the same for minutes, with ids of things that are there.
"""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from tests.faults import described
from tests.faults.described import ADMINS, TENANTS, Pass
from tests.instance import Instance, up

ADMIN = Account.create()


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with up(tmp_path_factory.mktemp("openapi") / "home", **described.settings(ADMIN)) as running:
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("one", "wallet"), [(TENANTS, Account.create()), (ADMINS, ADMIN)], ids=[TENANTS.name, ADMINS.name]
)
def test_every_answer_is_as_the_description_says(
    instance: Instance, tmp_path: Path, one: Pass, wallet: LocalAccount
) -> None:
    with httpx.Client(base_url=instance.url) as http:
        bearer = described.session(http, one.path, wallet)["access_token"]
    words = ("--max-examples", "12", "--phases", "examples,coverage,fuzzing")
    done = described.check(instance.url, tmp_path, bearer, one.chosen, {}, *words)
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]


def test_every_route_that_needs_a_credential_says_so(instance: Instance) -> None:
    described = httpx.get(f"{instance.url}/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if operation.get("security") != [{}]:
                answer = httpx.request(method.upper(), instance.url + path.replace("{", "").replace("}", ""), json={})
                assert answer.status_code == 401, (method, path, answer.text)


@pytest.mark.parametrize("one", [TENANTS, ADMINS], ids=lambda one: one.name)
def test_bodies_that_are_too_large_or_no_json_are_refused_as_described(instance: Instance, one: Pass) -> None:
    wallet = ADMIN if one is ADMINS else Account.create()
    described_all = httpx.get(f"{instance.url}/openapi.json").json()["paths"]
    with httpx.Client(base_url=instance.url) as http:
        bearer = described.session(http, one.path, wallet)["access_token"]
        http.headers["authorization"] = f"Bearer {bearer}"
        for path, operations in described_all.items():
            if path.startswith("/v2/admin") != (one is ADMINS):
                continue
            for method, operation in operations.items():
                if "requestBody" not in operation:
                    continue
                told = operation["responses"]
                large = b" " * ((40 if path == "/v2/messages/send" else 2) << 20)
                for body, kind in ((b"a=b", "text/plain"), (large, "application/json")):
                    answer = http.request(method.upper(), path, content=body, headers={"content-type": kind})
                    assert str(answer.status_code) in told, (method, path, answer.text)
                    assert answer.json()["fix"]
                    if "{" not in path and {"bearer": []} in operation["security"]:
                        assert answer.status_code == (415 if kind == "text/plain" else 413), (method, path, answer.text)
