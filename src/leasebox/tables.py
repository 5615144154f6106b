"""All declared tables in one place: what the migrations must equal, and which of them stand behind the wall.

What holds rows of tenants stands behind it (`infra.wall`), so that a statement which forgets its tenant finds nothing
of others. `EXEMPT` names the rest that has to do with tenants, each with the reason.
"""

from leasebox.admin import tables as admin
from leasebox.audit import tables as audit
from leasebox.billing import invoice_tables as invoices
from leasebox.billing import tables as billing
from leasebox.identity import tables as identity
from leasebox.infra import facts_log, facts_order, kept_answers, wall
from leasebox.infra.db import metadata
from leasebox.leases import tables as leases
from leasebox.mail import tables as mail
from leasebox.sending import tables as sending
from leasebox.webhooks import tables as webhooks

__all__ = [
    "EXEMPT",
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

wall.keep_itself(identity.tenants)
wall.keep_own(
    identity.wallets,
    identity.agents,
    identity.sessions,
    identity.api_keys,
    kept_answers.kept_answers,
    facts_log.facts,
    facts_order.fact_positions,
    billing.allowance_counters,
    billing.payment_proofs,
    billing.usage_events,
    billing.tenant_funds,
    billing.ledger_transfers,
    billing.spend_caps,
    billing.low_balances,
    invoices.invoices,
    leases.mailboxes,
    leases.leases,
    leases.domains,
    mail.messages,
    sending.cooldowns,
    sending.send_attempts,
    sending.suppressions,
    sending.mailbox_sends,
    webhooks.webhooks,
    webhooks.webhook_deliveries,
)
wall.keep_own_or_nobodys(audit.audit_rows)
# A name that was somebody else's is taken over by one upsert, which looks at the row as it was.
wall.keep_writing(leases.addresses)
wall.keep_children(
    "invoices",
    "id",
    "invoice_id",
    invoices.invoice_lines,
    invoices.invoice_events,
    invoices.invoice_settlements,
    invoices.credit_notes,
)
wall.keep_children("credit_notes", "id", "note_id", invoices.credit_note_charges)
wall.keep_children("leases", "id", "lease_id", mail.thread_references)
wall.keep_children("domains", "id", "domain_id", leases.dkim_keys)
# One mail may be several tenants' message; whoever has one of them sees it.
wall.keep_children("messages", "mail_id", "id", mail.mails)
wall.keep_children("messages", "mail_id", "mail_id", mail.mail_bodies)
wall.keep_children(
    "send_attempts",
    "id",
    "attempt_id",
    sending.send_recipients,
    sending.send_hops,
    sending.send_tries,
    sending.outgoing_contents,
)
wall.keep_children("webhooks", "id", "webhook_id", webhooks.webhook_secrets, webhooks.webhook_lanes)
wall.keep_children("webhook_deliveries", "id", "delivery_id", webhooks.webhook_attempts)

EXEMPT = {
    "message_search": "words by which a message is found; behind the wall its index would not be used",
    "claims": "a stranger's wish, decided by whoever has its link; it has no tenant",
    "rate_overrides": "every process keeps the limits of all tenants in memory, whoever's call made it look",
}
"""Tables with something of tenants in them that stay outside."""
