"""Refusals of custom domains."""

from leasebox.values.errors import Conflict, Forbidden, Unavailable, Unprocessable


class DomainRefused(Unprocessable):
    fix = "Use a domain of your own with at least two labels, such as mail.example.com."


class DomainExists(Conflict):
    reason = "domain_exists"
    fix = "Find it with GET /v2/domains, publish its records and call POST /v2/domains/{domain_id}/verify."


class TooManyDomains(Conflict):
    reason = "too_many_domains"
    fix = "Verify or delete one of those that wait (GET /v2/domains), then add the next."


class DomainTaken(Conflict):
    reason = "domain_taken"
    fix = "Have the other tenant delete it, or remove its _leasebox TXT record and verify again after three days."


class DomainInUse(Conflict):
    reason = "domain_in_use"
    fix = "Release the leases on it (GET /v2/mailboxes/leases), or wait until they end; then delete it."


class DomainBlocked(Forbidden):
    reason = "domain_blocked"
    fix = "Ask the operator of this instance why it was unverified."


class DnsSilent(Unavailable):
    fix = "Nothing was changed; try again after the seconds in Retry-After, and check that the domain's servers answer."


class DnsOff(Conflict):
    """409: the operator has turned DNS off, so that nothing can be verified here."""

    reason = "dns_off"
    fix = "Ask the operator of this instance to let it use DNS (LEASEBOX_DNS)."
