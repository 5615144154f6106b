"""What sending is given of the settings."""

from pathlib import Path

from leasebox.sending import return_path
from leasebox.values.addresses import Mailbox
from leasebox.values.ids import SendAttemptId
from leasebox.values.keys import Purpose, ring
from leasebox.wiring import process
from leasebox.wiring.sending import house_addresses, send_policy
from tests.fakes.clock import FakeClock
from tests.kit import settings_for


def test_the_operators_settings_are_in_it(tmp_path: Path) -> None:
    more = {"LEASEBOX_DAILY_SENDS": "7", "LEASEBOX_MX_HOST": "mx.here.example"}
    settings = settings_for("postgresql://x", "redis://x", str(tmp_path), **more)
    policy = send_policy(settings)
    assert (policy.hostname, policy.leases, policy.daily_limit) == (
        "mx.here.example",
        process.lease_policy(settings),
        7,
    )


def test_the_house_knows_its_roles_and_its_return_paths(tmp_path: Path) -> None:
    settings = settings_for("postgresql://x", "redis://x", str(tmp_path))
    attempt = SendAttemptId.new(FakeClock().now())
    path = return_path.make(ring(settings.secret, None, Purpose.RETURN_PATH), attempt, "inbox.leasebox.test")
    errands = {}
    for text in (path, "postmaster@inbox.leasebox.test", "postmaster@elsewhere.example", f"x{path}"):
        found = house_addresses(settings).errand(Mailbox.parse(text))
        errands[text] = None if found is None else found.purpose
    assert list(errands.values()) == ["return_path", "house", None, None]
