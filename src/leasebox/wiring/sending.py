"""What sending needs of an instance's settings, and what goes when a lease's mail does."""

from collections.abc import Sequence

from leasebox.config import Settings
from leasebox.infra.db import Tx
from leasebox.mail import service as mail
from leasebox.mail.house import HouseAddresses
from leasebox.sending import retention, return_path
from leasebox.sending.model import SendPolicy
from leasebox.values.ids import LeaseId
from leasebox.values.keys import Purpose, ring
from leasebox.wiring import process
from leasebox.wiring.domains import mx_host


def send_policy(settings: Settings) -> SendPolicy:
    """The operator's settings of sending."""
    policy = process.lease_policy(settings)
    return SendPolicy(mx_host(settings), policy, settings.daily_sends, house_addresses(settings))


def house_addresses(settings: Settings) -> HouseAddresses:
    """The role addresses of this instance, and its return paths."""
    paths = ring(settings.secret, settings.secret_previous, Purpose.RETURN_PATH)
    return HouseAddresses(settings.mail_domains, lambda local: return_path.read(paths, local))


async def erase_of_leases(tx: Tx, lease_ids: Sequence[LeaseId]) -> int:
    """Erase the mail of leases, and let their send attempts go; how many messages."""
    await retention.leave_of_leases(tx, lease_ids)
    return await mail.erase_of_leases(tx, lease_ids)
