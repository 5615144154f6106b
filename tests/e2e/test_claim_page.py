"""A claim on a running leasebox: the guide's own commands ask and wait, a person opens the page and approves."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.claiming import form_token
from tests.instance import Instance, up

WAIT_S = 30


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with up(tmp_path_factory.mktemp("claim") / "home", LEASEBOX_CLAIM_RATE="0", LEASEBOX_WORKERS="2") as running:
        yield running


def commands(url: str) -> str:
    """The guide's chapter about claims, as this instance serves it."""
    guide = httpx.get(f"{url}/agents-guide.md").text
    [chapter] = [each for each in re.split(r"(?m)^## ", guide) if "/v2/claims" in each and "```bash" in each]
    blocks = re.findall(r"```bash\n(.*?)```", chapter, re.DOTALL)
    assert len(blocks) == 2
    return "set -eu\n" + "\n".join(blocks) + '\nprintf "%s" "$TOKEN" > token\n'


def press(claim_url: str, decision: str) -> httpx.Response:
    """What a browser does: the page, its cookie, its form, and the page that it is led back to."""
    with httpx.Client(follow_redirects=True) as browser:
        page = browser.get(claim_url)
        form = {"form_token": form_token(page.text), "decision": decision}
        origin = "/".join(claim_url.split("/")[:3])
        return browser.post(claim_url, data=form, headers={"origin": origin})


def claim_url_of(agent: "subprocess.Popen[str]") -> str:
    assert agent.stdout is not None
    for line in agent.stdout:
        if found := re.search(r"http://\S+/claims/\S+", line):
            return found[0]
    return ""


@pytest.mark.parametrize(("decision", "says"), [("approve", "Approved"), ("decline", "Declined")])
def test_the_guides_commands_wait_for_a_person(instance: Instance, tmp_path: Path, decision: str, says: str) -> None:
    if not (shutil.which("curl") and shutil.which("jq") and shutil.which("bash")):
        pytest.skip("curl, jq or bash is absent")
    script = commands(instance.url).replace("my-agent", f"my-agent-{decision}")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    with subprocess.Popen(
        ["bash", "-c", script], cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True
    ) as agent:
        page = press(claim_url_of(agent), decision)
        assert (page.status_code, f"<h1>{says}</h1>" in page.text) == (200, True)
        assert agent.wait(WAIT_S) == 0
    key = (tmp_path / "token").read_text()
    answer = httpx.get(f"{instance.url}/v2/mailboxes/accounts", headers={"authorization": f"Bearer {key}"})
    if decision == "decline":
        assert (key, answer.status_code) == ("null", 401)
    else:
        assert [each["address"] for each in answer.json()["items"]] == ["my-agent-approve@inbox.leasebox.test"]


def test_the_key_is_given_until_it_is_used_by_whichever_process(instance: Instance) -> None:
    claim = httpx.post(f"{instance.url}/v2/claims", json={"name": "once"}).json()
    headers = {"authorization": f"Bearer {claim['claim_token']}"}
    assert press(claim["claim_url"], "approve").status_code == 200

    def asked() -> list[str | None]:
        path = f"{instance.url}/v2/claims/{claim['session_id']}"
        return [httpx.get(path, headers=headers).json()["api_key"] for _ in range(3)]

    (key,) = set(asked())
    assert httpx.get(f"{instance.url}/v2/auth/me", headers={"authorization": f"Bearer {key}"}).status_code == 200
    assert asked() == [None] * 3
