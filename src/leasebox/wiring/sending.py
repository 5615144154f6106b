"""What sending needs of an instance's settings."""

from leasebox.config import Settings
from leasebox.mail.house import HouseAddresses
from leasebox.sending import return_path
from leasebox.sending.model import SendPolicy
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
