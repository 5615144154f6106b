"""The logs that are sealed. A slice above brings its own `Log` and has it sealed by the same job (wiring/worker.py)."""

from leasebox.audit.entries import audit_entry, fact_entry
from leasebox.audit.tables import Log, audit_rows
from leasebox.infra.facts_log import facts
from leasebox.values.ids import AuditId, EventId

AUDIT = Log("audit", audit_rows, AuditId, audit_entry)
FACTS = Log("facts", facts, EventId, fact_entry)
