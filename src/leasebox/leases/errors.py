"""Refusals of leases."""

from leasebox.values.errors import Conflict, Forbidden, Gone, Unavailable, Unprocessable


class AddressTaken(Conflict):
    code = "address_taken"
    fix = "Choose another local_part, or leave it out to get a generated one."


class NameRefused(Unprocessable):
    fix = "Use 1 to 40 of a-z, 0-9 and hyphen, no hyphen at either end, or leave local_part out."


class UnknownDomain(Unprocessable):
    fix = "Use one of mailbox_domains of GET /v2/meta/runtime, a verified one of GET /v2/domains, or leave domain out."


class LeaseEnded(Gone):
    code = "lease_ended"
    fix = "Lease a mailbox anew with POST /v2/mailboxes/leases; its mail stays readable until the retention ends."


class MailboxPaused(Forbidden):
    code = "mailbox_paused"
    fix = "Resume it with POST /v2/mailboxes/leases/{lease_id}/resume."


class MailboxFrozen(Forbidden):
    code = "mailbox_frozen"
    fix = "Ask the operator of this instance why it was frozen."


class NoFreeAddress(Unavailable):
    fix = "Try again."
