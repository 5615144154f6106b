"""What we sign is verified by the libraries that receivers use: PyPI's and npm's `standardwebhooks` and `svix`."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as StandardWebhook
from svix.webhooks import Webhook as SvixWebhook

from leasebox.values.ids import EventId
from leasebox.webhooks import signing

BODY = '{"event_id":"evt_1","type":"message.received","data":{"ümlaut":"✓","quote":"\\""}}'.encode()
NODE = """
const {Webhook} = require(process.argv[2]);
let text = "";
process.stdin.on("data", (part) => (text += part)).on("end", () => {
  const {secrets, headers, body, spoiled} = JSON.parse(text);
  for (const secret of secrets) new Webhook(secret).verify(body, headers);
  let refused = false;
  try { new Webhook(secrets[0]).verify(spoiled, headers); } catch { refused = true; }
  console.log(refused ? "verified" : "too trusting");
});
"""


def signed() -> dict[str, object]:
    """A request signed with a present and an old secret, as it is on the wire."""
    now = datetime.now(UTC)
    good = [signing.make_secret(), signing.make_secret()]
    headers = signing.headers(good, EventId.new(now), now, BODY)
    body = BODY.decode()
    return {
        "secrets": [each.reveal() for each in good],
        "headers": headers,
        "body": body,
        "spoiled": body.replace("evt_1", "evt_2"),
    }


def test_the_python_libraries_verify_with_either_secret() -> None:
    one = signed()
    for secret in one["secrets"]:  # type: ignore[attr-defined]
        told = StandardWebhook(secret).verify(BODY, one["headers"])  # type: ignore[arg-type]
        assert told["type"] == "message.received"
        SvixWebhook(secret).verify(BODY, one["headers"])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which npm has installed both."""
    folder = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        pytest.skip("npm is absent")
    (folder / "package.json").write_text("{}")
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "standardwebhooks", "svix"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("the network that npm needs is absent")
    if done.returncode:
        pytest.skip("the network that npm needs is absent")
    return folder


@pytest.mark.parametrize("library", ["standardwebhooks", "svix"])
def test_the_node_libraries_verify_with_either_secret(installed: Path, library: str) -> None:
    (installed / "verify.js").write_text(NODE)
    done = subprocess.run(
        ["node", "verify.js", library],
        cwd=installed,
        input=json.dumps(signed()),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "verified", done.stderr
