"""Row-level security: a statement in a tenant's request sees and writes that tenant's rows only (infra/wall.py)."""

from alembic import op

revision = "0012"
down_revision = "0011"

_TENANT = "(SELECT nullif(current_setting('leasebox.tenant', true), '')::uuid)"
_OWN = f"coalesce(tenant_id = {_TENANT}, true)"
_TABLES_OF_TENANTS = """
wallets agents sessions api_keys kept_answers facts fact_positions allowance_counters payment_proofs usage_events
tenant_funds ledger_transfers spend_caps low_balances invoices mailboxes leases domains messages cooldowns send_attempts
suppressions mailbox_sends webhooks webhook_deliveries
"""
# Table, and the parent's table and key that its column refers to.
_CHILDREN = """
invoice_lines.invoice_id invoices.id
invoice_events.invoice_id invoices.id
invoice_settlements.invoice_id invoices.id
credit_notes.invoice_id invoices.id
credit_note_charges.note_id credit_notes.id
thread_references.lease_id leases.id
dkim_keys.domain_id domains.id
mails.id messages.mail_id
mail_bodies.mail_id messages.mail_id
send_recipients.attempt_id send_attempts.id
send_hops.attempt_id send_attempts.id
send_tries.attempt_id send_attempts.id
outgoing_contents.attempt_id send_attempts.id
webhook_secrets.webhook_id webhooks.id
webhook_lanes.webhook_id webhooks.id
webhook_attempts.delivery_id webhook_deliveries.id
"""


def upgrade() -> None:
    _keep("tenants", f"USING (coalesce(id = {_TENANT}, true))")
    for table in _TABLES_OF_TENANTS.split():
        _keep(table, f"USING ({_OWN})")
    _keep("audit_rows", f"USING ({_TENANT} IS NULL OR coalesce(tenant_id = {_TENANT}, false))")
    _keep("addresses", f"USING ({_OWN})")
    op.execute("CREATE POLICY wall_sight ON addresses FOR SELECT USING (true)")
    op.execute(f"CREATE POLICY wall_taking ON addresses FOR UPDATE USING (true) WITH CHECK ({_OWN})")
    for line in _CHILDREN.strip().splitlines():
        child, _, parent = line.partition(" ")
        seen = f"EXISTS (SELECT FROM {parent.partition('.')[0]} p WHERE p.{parent.partition('.')[2]} = {child})"
        rule = f"USING (CASE WHEN {_TENANT} IS NULL THEN true ELSE {seen} END) WITH CHECK (true)"
        _keep(child.partition(".")[0], rule)


def _keep(table: str, rule: str) -> None:
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY wall ON {table} {rule}")
