"""All declared tables in one place: what the migrations must equal."""

from leasebox.audit import tables as audit
from leasebox.billing import tables as billing
from leasebox.identity import tables as identity
from leasebox.infra import facts_log, kept_answers
from leasebox.infra.db import metadata
from leasebox.leases import tables as leases
from leasebox.mail import tables as mail

__all__ = ["audit", "billing", "facts_log", "identity", "kept_answers", "leases", "mail", "metadata"]
