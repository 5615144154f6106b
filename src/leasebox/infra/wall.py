"""Behind whose wall this task works: what row-level security shows PostgreSQL's statements (migration 0012).

Every statement names its tenant by itself. Should one forget it, the wall still stands: where a task works for a
tenant, the database shows and takes that tenant's rows only. It is set where a caller becomes known, lasts for the
task and the tasks that it starts, and ends with its request at the edge. Nobody known is the system: it sees all.

Which tables stand behind it: `leasebox.tables`. How it reaches the database: `infra.db`.
"""

from contextvars import ContextVar, Token
from types import TracebackType

from sqlalchemy import DDL, Table, event

from leasebox.values.ids import TenantId

SETTING = "leasebox.tenant"
"""The setting of PostgreSQL that policies look at: a tenant's UUID as 32 hexadecimal digits; unset or empty: all."""

SYSTEM = ""
_BEHIND: ContextVar[str] = ContextVar("behind", default=SYSTEM)


def current() -> str:
    """What `SETTING` is to be for this task: hexadecimal digits, or `SYSTEM`."""
    return _BEHIND.get()


def enter(tenant_id: TenantId) -> None:
    """From here on this task works for a tenant; to be called within an `outside` or `behind` that ends it."""
    _BEHIND.set(tenant_id.hex)


class _Within:
    """Sets whose wall it is, and what it was before afterwards. A class: `contextmanager` costs a microsecond more."""

    __slots__ = ("_setting", "_token")

    def __init__(self, setting: str) -> None:
        self._setting = setting
        self._token: Token[str] | None = None

    def __enter__(self) -> None:
        self._token = _BEHIND.set(self._setting)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        _BEHIND.reset(self._token)


def behind(tenant_id: TenantId) -> _Within:
    """The block works for a tenant."""
    return _Within(tenant_id.hex)


def outside(why: str) -> _Within:
    """The block works for the system, also where its task works for a tenant. why: for whoever reads the code."""
    assert why
    return _Within(SYSTEM)


# The subselect has no reference to the row, so it is evaluated once a statement. A planner that knows nothing of a
# function takes half of the rows to pass `coalesce`; an `=` or `OR` would have it believe in a handful.
_TENANT = f"(SELECT nullif(current_setting('{SETTING}', true), '')::uuid)"
OWN = f"coalesce(tenant_id = {_TENANT}, true)"
"""Policy of rows that are a tenant's own; `tenant_id` is never null there."""


def keep_own(*tables: Table) -> None:
    """Rows of other tenants are neither seen nor written."""
    for table in tables:
        _policy(table, f"USING ({OWN})")


def keep_itself(table: Table) -> None:
    """The same for the table whose `id` is the tenant's."""
    _policy(table, f"USING (coalesce(id = {_TENANT}, true))")


def keep_own_or_nobodys(table: Table) -> None:
    """The same for a table whose `tenant_id` may be null: such rows are the system's."""
    _policy(table, f"USING ({_TENANT} IS NULL OR coalesce(tenant_id = {_TENANT}, false))")


def keep_children(parent: str, key: str, column: str, *tables: Table) -> None:
    """Rows that belong to a row of `parent`, by `column` as its `key`, are seen and changed by who sees the parent.

    They are added by whoever adds the parent, often in one statement that does not see it yet, so adding is open.
    """
    for table in tables:
        seen = f"EXISTS (SELECT FROM {parent} p WHERE p.{key} = {table.name}.{column})"
        _policy(table, f"USING (CASE WHEN {_TENANT} IS NULL THEN true ELSE {seen} END) WITH CHECK (true)")


def keep_writing(table: Table) -> None:
    """Rows may be looked at and taken over by everybody; what is written must be the writer's own."""
    _policy(table, f"USING ({OWN})")
    _add(table, "CREATE POLICY wall_sight ON %(name)s FOR SELECT USING (true)")
    _add(table, f"CREATE POLICY wall_taking ON %(name)s FOR UPDATE USING (true) WITH CHECK ({OWN})")


def _policy(table: Table, rule: str) -> None:
    # FORCE: our login role owns the tables, and owners are let pass otherwise.
    _add(table, "ALTER TABLE %(name)s ENABLE ROW LEVEL SECURITY")
    _add(table, "ALTER TABLE %(name)s FORCE ROW LEVEL SECURITY")
    _add(table, "CREATE POLICY wall ON %(name)s %(rule)s", rule)


def _add(table: Table, statement: str, rule: str = "") -> None:
    made = DDL(statement, context={"name": table.name, "rule": rule})  # type: ignore[no-untyped-call]
    event.listen(table.metadata, "after_create", made)
