"""Targets, and the master key's change: what the routes' tests do not reach."""

from ipaddress import ip_network

import pytest

from leasebox.infra.reseal import reseal
from leasebox.values.keys import Purpose, ring
from leasebox.values.secret import Secret
from leasebox.webhooks import service
from leasebox.webhooks.errors import TargetRefused
from tests import kit_mail
from tests.kit import SECRET, House
from tests.webhooks.hooks import hook

NEWER = Secret("another master key that only tests use, 40+")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://127.0.0.1/", "address"),
        ("http://[fd00::1]/", "address"),
        ("http://0x7f.1/", "numeric_host"),
        ("http://u:p@hooks.example/", "userinfo"),
        ("http://hooks.example:22/", "port"),
        ("/relative", "not_absolute"),
    ],
)
def test_a_target_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(TargetRefused) as refused:
        service.target_of(text, ())
    assert refused.value.fields["reason"] == reason


def test_names_are_not_judged_yet_and_allowed_networks_are() -> None:
    assert service.target_of("HTTP://Internal:8080", ()) == "http://internal:8080/"
    assert service.target_of("http://10.1.2.3/x", (ip_network("10.0.0.0/8"),)) == "http://10.1.2.3/x"


async def test_secrets_are_sealed_anew_once_and_only_with_the_key_before(run: House) -> None:
    agent = await run.agent()
    for _ in range(3):
        await hook(agent, "https://hooks.example/in")
    alone = ring(NEWER, None, Purpose.WEBHOOK_SECRET)
    both = ring(NEWER, Secret(SECRET), Purpose.WEBHOOK_SECRET)
    assert len(await reseal(run.db, service.sealed_secrets(alone))) == 3, "nobody can open them"
    batches: list[int] = []
    for _ in range(2):
        assert await reseal(run.db, service.sealed_secrets(both), batches.append, 2) == []
    assert batches == [2, 1, 0]
    kids = await kit_mail.rows(run, "SELECT DISTINCT kid FROM webhook_secrets")
    assert [row["kid"] for row in kids] == [both.current.kid]
