"""Environment and secret files → one frozen `Settings`, read once; every fault is reported together."""

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from leasebox import config_text as text_of
from leasebox.config_text import Address, AdminWallet, Network, Resolver
from leasebox.infra import master_key
from leasebox.values.rate import Rate
from leasebox.values.secret import Secret

# These belong to the agent's commands and to the supervisor; they are no settings of the server.
FOREIGN = frozenset({"LEASEBOX_URL", "LEASEBOX_KEY_FILE", "LEASEBOX_TOKEN", "LEASEBOX_READY_FD"})

# Kubernetes puts these into every container beside a Service named leasebox or leasebox-….
_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?$")

ROLE_NAMES = ("http", "smtp", "parser", "worker")


class ConfigFaults(Exception):
    """Settings that cannot be used: one line for each in `faults`, none of which shows a secret."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an operator can set; `DOCUMENTED` says what each means."""

    home: Path
    http: Address
    smtp: Address
    submission: Address
    imap: Address
    public_url: str
    mail_domains: tuple[str, ...]
    mx_host: str | None
    spf: str | None
    chain_id: int
    rpc_url: Secret | None
    secret: Secret
    secret_previous: Secret | None
    admin_wallets: tuple[AdminWallet, ...]
    relay: Secret | None
    send_at_once: int
    send_per_domain: int
    mx_allow: tuple[Network, ...]
    database_url: Secret | None
    redis_url: Secret | None
    statement_cache: int
    postgres_bin: Path | None
    prices: Path | None
    workers: int
    signin_rate: Rate
    tenant_rate: Rate
    claim_rate: Rate
    claim_confirm: Literal["page", "headless", "off"]
    api_rate: Rate
    smtp_rate: Rate
    smtp_connections: int
    trusted_proxies: tuple[Network, ...]
    webhook_allow: tuple[Network, ...]
    retention_hours: int
    name_hold_days: int
    lease_quota_mib: int
    lease_quota_mails: int
    daily_sends: int
    max_mail_mib: int
    dns: Resolver
    tls_cert: Path | None
    tls_key: Path | None
    log_level: str
    log_format: str | None

    @property
    def mail_domain(self) -> str:
        """The main domain: where an address goes when its tenant names none."""
        return self.mail_domains[0]


class Setting(NamedTuple):
    """One row of the settings table; `read` raises ValueError saying what it expects."""

    name: str
    default: str
    meaning: str
    read: Callable[[str], Any]

    @property
    def field(self) -> str:
        """The name of its field in `Settings`."""
        return _FIELDS.get(self.name) or self.name.removeprefix("LEASEBOX_").lower()

    @property
    def secret(self) -> bool:
        """Whether the value is redacted and may also come from the file named by `<name>_FILE`."""
        return self.name in _SECRETS


_FIELDS = {"LEASEBOX_MAIL_DOMAIN": "mail_domains", "DATABASE_STATEMENT_CACHE": "statement_cache"}
_SECRETS = {
    "DATABASE_URL",
    "REDIS_URL",
    "LEASEBOX_SECRET",
    "LEASEBOX_SECRET_PREVIOUS",
    "LEASEBOX_RELAY",
    "LEASEBOX_RPC_URL",
}

DOCUMENTED: tuple[Setting, ...] = (
    Setting(
        "LEASEBOX_HOME",
        "~/.local/share/leasebox",
        "Directory of the embedded engines' data, their logs and the generated master key",
        text_of.directory,
    ),
    Setting("LEASEBOX_HTTP", "127.0.0.1:8080", "Address of the HTTP API; port 0 takes a free one", text_of.address),
    Setting("LEASEBOX_SMTP", "127.0.0.1:2525", "Address where mail comes in", text_of.address),
    Setting("LEASEBOX_SUBMISSION", "127.0.0.1:2587", "Address where mailboxes hand in mail", text_of.address),
    Setting("LEASEBOX_IMAP", "127.0.0.1:2143", "Address where mailboxes are read by IMAP", text_of.address),
    Setting(
        "LEASEBOX_PUBLIC_URL",
        "http://<LEASEBOX_HTTP>",
        "How agents reach the API from outside; also the domain they sign in to",
        text_of.public_url,
    ),
    Setting(
        "LEASEBOX_MAIL_DOMAIN",
        "inbox.leasebox.test",
        "Domains of the addresses, separated by commas; the first is the main one",
        text_of.domains,
    ),
    Setting(
        "LEASEBOX_MX_HOST",
        "this machine's name, else the main domain",
        "Host name that MX records point at, with the addresses of all machines that serve SMTP",
        text_of.host_name,
    ),
    Setting(
        "LEASEBOX_SPF",
        "the addresses of that host",
        "SPF record that domains publish, such as `v=spf1 include:relay.example ~all` where mail leaves by a relay",
        text_of.spf,
    ),
    Setting("LEASEBOX_CHAIN_ID", "84532", "EIP-155 chain that wallets sign for", text_of.whole(1, 2**53)),
    Setting("LEASEBOX_RPC_URL", "", "JSON-RPC endpoint of that chain; none: nothing is asked of it", text_of.rpc_url),
    Setting(
        "LEASEBOX_SECRET",
        "generated into the home",
        "Master key of 32 or more characters, the same for all roles; required with `DATABASE_URL`",
        text_of.master_key,
    ),
    Setting(
        "LEASEBOX_SECRET_PREVIOUS",
        "",
        "The other master key while it is changed: what it sealed and signed stays good (see Changing the master key)",
        text_of.master_key,
    ),
    Setting(
        "LEASEBOX_ADMIN_WALLETS",
        "",
        "Wallets that administer, separated by commas: `0x…` owns, `0x…:operator`, `0x…:auditor` and `0x…:viewer` may "
        "less; none: administration is closed",
        text_of.admin_wallets,
    ),
    Setting(
        "LEASEBOX_RELAY",
        "",
        "`smtp://user:password@host:port` or `smtps://…` for outgoing mail, with `?tls=verify` (the default with a "
        "user), `require`, `opportunistic` or `off`; none: direct MX",
        text_of.relay,
    ),
    Setting("LEASEBOX_SEND_AT_ONCE", "50", "Mails handed over at once", text_of.whole(1, 1_000)),
    Setting("LEASEBOX_SEND_PER_DOMAIN", "5", "Of these, to one domain of recipients", text_of.whole(1, 1_000)),
    Setting(
        "LEASEBOX_MX_ALLOW",
        "",
        "Networks where the mail servers of others may be, besides public ones, such as `10.0.0.0/8`",
        text_of.networks,
    ),
    Setting("DATABASE_URL", "", "PostgreSQL 15 or newer to use instead of the embedded one", text_of.database_url),
    Setting("REDIS_URL", "", "Redis or Valkey to use instead of the embedded one", text_of.redis_url),
    Setting(
        "DATABASE_STATEMENT_CACHE",
        "256",
        "Prepared statements kept per connection; 0 behind PgBouncer in transaction mode",
        text_of.whole(0, 10_000),
    ),
    Setting(
        "LEASEBOX_POSTGRES_BIN",
        "",
        "Directory of `initdb` and `postgres` for the embedded engine; none: the packaged ones",
        text_of.programs,
    ),
    Setting(
        "LEASEBOX_PRICES", "", "TOML file of meters: allowance, window, price; none: as listed below", text_of.prices
    ),
    Setting("LEASEBOX_WORKERS", "1", "HTTP processes", text_of.whole(1, 64)),
    Setting("LEASEBOX_SIGNIN_RATE", "60/min", "Sign-in challenges per client address", text_of.rate),
    Setting("LEASEBOX_TENANT_RATE", "20/h", "New tenants per client address", text_of.rate),
    Setting("LEASEBOX_CLAIM_RATE", "10/h", "Claims per client address", text_of.rate),
    Setting(
        "LEASEBOX_CLAIM_CONFIRM",
        "page",
        "Who approves claims, mailboxes without a wallet: `page`: a person; `headless`: the agent too; `off`: nobody",
        text_of.word("page", "headless", "off"),
    ),
    Setting("LEASEBOX_API_RATE", "120/s", "Calls per tenant", text_of.rate),
    Setting("LEASEBOX_SMTP_RATE", "300/min", "Mails by SMTP per client address", text_of.rate),
    Setting(
        "LEASEBOX_SMTP_CONNECTIONS",
        "30",
        "SMTP connections at once per client address; 0 for no cap",
        text_of.whole(0, 100_000),
    ),
    Setting(
        "LEASEBOX_TRUSTED_PROXIES",
        "",
        "Networks whose `X-Forwarded-For` or PROXY line counts, separated by commas",
        text_of.networks,
    ),
    Setting(
        "LEASEBOX_WEBHOOK_ALLOW",
        "",
        "Networks that webhooks may reach besides public ones, such as `127.0.0.0/8`",
        text_of.networks,
    ),
    Setting(
        "LEASEBOX_RETENTION_HOURS", "72", "Hours that mail is kept after its lease ended", text_of.whole(0, 87_600)
    ),
    Setting(
        "LEASEBOX_NAME_HOLD_DAYS", "90", "Days that a chosen name is held for its last tenant", text_of.whole(0, 36_500)
    ),
    Setting("LEASEBOX_LEASE_QUOTA_MIB", "100", "MiB of mail per lease", text_of.whole(1, 1_000_000)),
    Setting("LEASEBOX_LEASE_QUOTA_MAILS", "1000", "Mails per lease", text_of.whole(1, 100_000_000)),
    Setting(
        "LEASEBOX_DAILY_SENDS",
        "10000",
        "Recipients that a mailbox may send to in a UTC day, where an admin set no limit of its own",
        text_of.whole(0, 2**31 - 1),
    ),
    Setting("LEASEBOX_MAX_MAIL_MIB", "25", "MiB of one mail (SMTP SIZE)", text_of.whole(1, 1_000)),
    Setting(
        "LEASEBOX_DNS",
        "system",
        "Resolvers for SPF, DKIM, DMARC and MX: `system`, addresses separated by commas, or `off`",
        text_of.resolver,
    ),
    Setting("LEASEBOX_TLS_CERT", "", "PEM certificate chain for STARTTLS; none: a self-made one", text_of.readable),
    Setting("LEASEBOX_TLS_KEY", "", "PEM key of that certificate", text_of.readable),
    Setting(
        "LEASEBOX_LOG_LEVEL",
        "info",
        "`debug`, `info`, `warning` or `error`",
        text_of.word("debug", "info", "warning", "error"),
    ),
    Setting(
        "LEASEBOX_LOG_FORMAT",
        "text on a terminal, else json",
        "`json`: one object a line; `text`: for people",
        text_of.word("json", "text"),
    ),
)
# What `default` means to a reader; the other defaults describe what happens without a value.
_DESCRIBED = {"LEASEBOX_PUBLIC_URL", "LEASEBOX_SECRET", "LEASEBOX_LOG_FORMAT", "LEASEBOX_MX_HOST", "LEASEBOX_SPF"}
_EMPTY: dict[str, Any] = {"admin_wallets": (), "trusted_proxies": (), "webhook_allow": (), "mx_allow": ()}


def load(environ: Mapping[str, str]) -> Settings:
    """Read all settings. Touches no file but the named ones and `home/secret…`, and writes none.

    Without LEASEBOX_SECRET and DATABASE_URL the master key comes from `home/secret`; where that is missing a fresh one
    is drawn, which `keep_secret` writes down. Raises ConfigFaults with a line for every fault.
    """
    faults = _strangers(environ)
    fields: dict[str, Any] = {}
    for setting in DOCUMENTED:
        try:
            text = _text(setting, environ)
            fields[setting.field] = setting.read(text) if text else _EMPTY.get(setting.field)
        except ValueError as fault:
            faults.append(f"{setting.name}: {fault}")
    faults += _contradictions(fields)
    if "secret" in fields and fields["secret"] is None:
        try:
            fields["secret"] = _own_secret(fields.get("home"), fields.get("database_url"))
            fields["secret_previous"] = fields.get("secret_previous") or _own_previous(fields.get("home"))
        except ValueError as fault:
            faults.append(f"LEASEBOX_SECRET: {fault}")
    if faults:
        raise ConfigFaults(faults)
    fields["public_url"] = fields["public_url"] or _local_url(fields["http"])
    return Settings(**fields)


def keep_secret(settings: Settings) -> None:
    """Write the master key to `home/secret` (0600) unless one is there or DATABASE_URL is set, and note its use.

    Call it while holding the home's lock, so that two first runs cannot draw two keys. Raises OSError.
    """
    if settings.database_url is None:
        master_key.keep(settings.home, settings.secret)
        master_key.note_use(settings.home, settings.secret)


def for_role(environ: Mapping[str, str], settings: Settings, database_url: str, redis_url: str) -> dict[str, str]:
    """The environment of a role: the operator's, with the secrets and engines that this run settled on."""
    settled = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "LEASEBOX_SECRET": settings.secret.reveal()}
    if settings.secret_previous is not None:
        settled["LEASEBOX_SECRET_PREVIOUS"] = settings.secret_previous.reveal()
    kept = {name: text for name, text in environ.items() if name.removesuffix("_FILE") not in settled}
    return kept | settled | {"LEASEBOX_HOME": str(settings.home)}


def _text(setting: Setting, environ: Mapping[str, str]) -> str:
    text = environ.get(setting.name, "").strip()
    if setting.name == "LEASEBOX_HOME":
        return _home(text or setting.default, environ)
    if setting.secret and (path := environ.get(f"{setting.name}_FILE", "").strip()):
        if text:
            raise ValueError(f"set it or {setting.name}_FILE, not both")
        text = _contents(Path(path), f"{setting.name}_FILE")
    return text or ("" if setting.name in _DESCRIBED else setting.default)


def _contents(path: Path, name: str) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise ValueError(f"cannot read {name} {path}: {text_of.reason(fault)}") from None
    if not text:
        raise ValueError(f"{name} {path} is empty")
    return text


def _home(text: str, environ: Mapping[str, str]) -> str:
    if text == "~" or text.startswith("~/"):
        text = (environ.get("HOME") or str(Path.home())) + text[1:]
    return text


def _strangers(environ: Mapping[str, str]) -> list[str]:
    names = [setting.name for setting in DOCUMENTED]
    known = {*names, *(f"{name}_FILE" for name in _SECRETS), *FOREIGN}
    faults = []
    for name in sorted(environ):
        if name.startswith("LEASEBOX_") and name not in known and not _KUBERNETES.search(name):
            bare = name.removeprefix("LEASEBOX_")
            near = [bare] if bare in known else difflib.get_close_matches(name, sorted(known), n=1)
            faults.append(f"{name}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    return faults


def _contradictions(fields: dict[str, Any]) -> list[str]:
    faults = []
    taken: dict[Address, str] = {}
    for field in ("http", "smtp", "submission", "imap"):
        address = fields.get(field)
        name = f"LEASEBOX_{field.upper()}"
        if address is not None and address.port and taken.setdefault(address, name) != name:
            faults.append(f"{name}: {address} is already the address of {taken[address]}")
    if (fields.get("tls_cert") is None) != (fields.get("tls_key") is None) and {"tls_cert", "tls_key"} <= fields.keys():
        faults.append("LEASEBOX_TLS_CERT: set it together with LEASEBOX_TLS_KEY, or neither")
    return faults


def _own_secret(home: Path | None, database_url: Secret | None) -> Secret:
    if database_url is not None:
        raise ValueError(
            f"required with DATABASE_URL: {text_of.SECRET_CHARS} or more characters, the same for all roles"
        )
    if home is not None and (path := master_key.current(home)).exists():
        return text_of.master_key(_contents(path, "the home's"))
    return master_key.fresh()


def _own_previous(home: Path | None) -> Secret | None:
    if home is not None and (path := master_key.previous(home)).exists():
        return text_of.master_key(_contents(path, "the home's"))
    return None


def _local_url(http: Address) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(http.host, http.host)  # noqa: S104
    return f"http://{Address(host, http.port)}"
