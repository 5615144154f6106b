"""All declared tables in one place: what the migrations must equal."""

from leasebox.audit import tables as audit
from leasebox.identity import tables as identity
from leasebox.infra import facts_log
from leasebox.infra.db import metadata
from leasebox.leases import tables as leases
from leasebox.mail import tables as mail

__all__ = ["audit", "facts_log", "identity", "leases", "mail", "metadata"]
