"""All declared tables in one place: what the migrations must equal."""

from leasebox.admin import tables as admin
from leasebox.audit import tables as audit
from leasebox.billing import invoice_tables as invoices
from leasebox.billing import tables as billing
from leasebox.identity import tables as identity
from leasebox.infra import facts_log, facts_order, kept_answers
from leasebox.infra.db import metadata
from leasebox.leases import tables as leases
from leasebox.mail import tables as mail
from leasebox.sending import tables as sending
from leasebox.webhooks import tables as webhooks

__all__ = [
    "admin",
    "audit",
    "billing",
    "facts_log",
    "facts_order",
    "identity",
    "invoices",
    "kept_answers",
    "leases",
    "mail",
    "metadata",
    "sending",
    "webhooks",
]
