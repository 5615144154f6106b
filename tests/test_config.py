"""Settings: defaults as the contract states them, every fault at once, no secret in any of them."""

from pathlib import Path

import pytest

from leasebox import config
from leasebox.config import DOCUMENTED, ConfigFaults, Settings
from leasebox.config_text import Address
from leasebox.infra import master_key
from leasebox.values.rate import Rate
from leasebox.values.secret import Secret

CANARY = "canary-5up3r-s3cret-value-0123456789abcdef"
DATABASE = "postgresql://leasebox:pw@db.example/leasebox"
# Contract §9, and the settings of this instance's own that came with its features.
CONTRACT = """
LEASEBOX_HOME LEASEBOX_HTTP LEASEBOX_SMTP LEASEBOX_SUBMISSION LEASEBOX_IMAP LEASEBOX_PUBLIC_URL LEASEBOX_MAIL_DOMAIN
LEASEBOX_CHAIN_ID LEASEBOX_RPC_URL LEASEBOX_SECRET LEASEBOX_ADMIN_WALLETS LEASEBOX_RELAY DATABASE_URL REDIS_URL
LEASEBOX_PRICES LEASEBOX_WORKERS LEASEBOX_SIGNIN_RATE LEASEBOX_TENANT_RATE LEASEBOX_CLAIM_RATE LEASEBOX_API_RATE
LEASEBOX_SMTP_RATE LEASEBOX_SMTP_CONNECTIONS LEASEBOX_TRUSTED_PROXIES LEASEBOX_WEBHOOK_ALLOW LEASEBOX_LOG_LEVEL
""".split()


def load(home: Path, **environ: str) -> Settings:
    return config.load({"LEASEBOX_HOME": str(home), **environ})


def faults_of(home: Path, **environ: str) -> list[str]:
    with pytest.raises(ConfigFaults) as caught:
        load(home, **environ)
    return caught.value.faults


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("http", Address("127.0.0.1", 8080)),
        ("smtp", Address("127.0.0.1", 2525)),
        ("submission", Address("127.0.0.1", 2587)),
        ("imap", Address("127.0.0.1", 2143)),
        ("public_url", "http://127.0.0.1:8080"),
        ("mail_domains", ("inbox.leasebox.test",)),
        ("mail_domain", "inbox.leasebox.test"),
        ("chain_id", 84532),
        ("rpc_url", None),
        ("relay", None),
        ("send_at_once", 50),
        ("send_per_domain", 5),
        ("mx_allow", ()),
        ("database_url", None),
        ("redis_url", None),
        ("admin_wallets", ()),
        ("workers", 1),
        ("signin_rate", Rate(60, 60)),
        ("tenant_rate", Rate(20, 3600)),
        ("claim_rate", Rate(10, 3600)),
        ("claim_confirm", "page"),
        ("api_rate", Rate(120, 1)),
        ("smtp_rate", Rate(300, 60)),
        ("smtp_connections", 30),
        ("trusted_proxies", ()),
        ("webhook_allow", ()),
        ("retention_hours", 72),
        ("name_hold_days", 90),
        ("lease_quota_mib", 100),
        ("lease_quota_mails", 1000),
        ("daily_sends", 10_000),
        ("max_mail_mib", 25),
        ("log_level", "info"),
        ("log_format", None),
    ],
)
def test_defaults(tmp_path: Path, field: str, value: object) -> None:
    assert getattr(load(tmp_path), field) == value


def test_home_defaults_to_the_users_own_share() -> None:
    assert config.load({"HOME": "/nowhere/ann"}).home == Path("/nowhere/ann/.local/share/leasebox")
    assert config.load({"HOME": "/nowhere/ann", "LEASEBOX_HOME": "~/box"}).home == Path("/nowhere/ann/box")


def test_every_field_is_documented_once_and_every_setting_has_a_field() -> None:
    assert sorted(setting.field for setting in DOCUMENTED) == sorted(Settings.__struct_fields__)
    assert {setting.name for setting in DOCUMENTED} >= set(CONTRACT)
    assert all(setting.meaning for setting in DOCUMENTED)


def test_an_empty_value_counts_as_none(tmp_path: Path) -> None:
    settings = load(tmp_path, LEASEBOX_HTTP="", LEASEBOX_RELAY=" ", DATABASE_URL="", LEASEBOX_WORKERS="")
    assert (settings.http.port, settings.relay, settings.database_url, settings.workers) == (8080, None, None, 1)


def test_every_fault_is_reported_together(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        LEASEBOX_HTTP="8080",
        LEASEBOX_SIGNIN_RATE="often",
        LEASEBOX_WORKERS="0",
        LEASEBOX_SMTQ="127.0.0.1:25",
        LEASEBOX_PRICES=str(tmp_path / "absent.toml"),
        LEASEBOX_TLS_CERT=__file__,
        DATABASE_URL=DATABASE,
    )
    assert [fault.split(":")[0] for fault in faults] == [
        "LEASEBOX_SMTQ",
        "LEASEBOX_HTTP",
        "LEASEBOX_PRICES",
        "LEASEBOX_WORKERS",
        "LEASEBOX_SIGNIN_RATE",
        "LEASEBOX_TLS_CERT",
        "LEASEBOX_SECRET",
    ]
    assert all("\n" not in fault for fault in faults)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("LEASEBOX_HTPP", "did you mean LEASEBOX_HTTP?"),
        ("LEASEBOX_DATABASE_URL", "did you mean DATABASE_URL?"),
        ("LEASEBOX_HTTP_FILE", "no such setting"),
        ("LEASEBOX_XYZZY_PLUGH", "no such setting"),
    ],
)
def test_an_unknown_name_is_a_fault_with_the_nearest_one(tmp_path: Path, name: str, hint: str) -> None:
    (fault,) = faults_of(tmp_path, **{name: "1"})
    assert fault.startswith(f"{name}: ")
    assert hint in fault


@pytest.mark.parametrize(
    "name",
    [
        "LEASEBOX_URL",
        "LEASEBOX_KEY_FILE",
        "LEASEBOX_TOKEN",
        "LEASEBOX_PORT",
        "LEASEBOX_SERVICE_HOST",
        "LEASEBOX_SMTP_SERVICE_PORT_MAIL",
        "LEASEBOX_PORT_8080_TCP_ADDR",
        "SOMETHING_ELSE",
    ],
)
def test_what_belongs_to_others_is_let_alone(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, **{name: "tcp://10.0.0.1:1"}).workers == 1


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "LEASEBOX_SECRET", "LEASEBOX_RELAY", "LEASEBOX_RPC_URL"])
def test_secrets_may_stand_in_files(tmp_path: Path, name: str) -> None:
    texts = {"DATABASE_URL": DATABASE, "REDIS_URL": "redis://h/1", "LEASEBOX_RELAY": "smtp://a:b@h:587"}
    text = texts.get(name, "https://rpc.example/" + CANARY)
    file = tmp_path / "given"
    file.write_text(text + "\n")
    environ = {"LEASEBOX_SECRET": CANARY} if name == "DATABASE_URL" else {}
    settings = load(tmp_path, **environ, **{f"{name}_FILE": str(file)})
    field = next(setting.field for setting in DOCUMENTED if setting.name == name)
    assert getattr(settings, field) == Secret(text)
    assert faults_of(tmp_path, **environ, **{name: text, f"{name}_FILE": str(file)}) == [
        f"{name}: set it or {name}_FILE, not both"
    ]
    file.unlink()
    assert faults_of(tmp_path, **environ, **{f"{name}_FILE": str(file)})[0].startswith(
        f"{name}: cannot read {name}_FILE"
    )


def test_no_fault_and_no_repr_shows_a_secret(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        DATABASE_URL=f"mysql://u:{CANARY}@h/d",
        REDIS_URL=f"http://:{CANARY}@h",
        LEASEBOX_RELAY=f"smtp://u:{CANARY}@h:587/{CANARY}",
        LEASEBOX_RPC_URL=f"ftp://{CANARY}",
        LEASEBOX_SECRET=CANARY[:20],
    )
    assert len(faults) == 5
    assert "canary" not in "".join(faults)
    settings = load(
        tmp_path,
        DATABASE_URL=f"postgresql://u:{CANARY}@h/d",
        REDIS_URL=f"redis://:{CANARY}@h",
        LEASEBOX_RELAY=f"smtp://u:{CANARY}@h:587",
        LEASEBOX_RPC_URL=f"https://rpc.example/{CANARY}",
        LEASEBOX_SECRET=CANARY,
    )
    assert "canary" not in repr(settings)


def test_a_database_of_ones_own_needs_a_secret(tmp_path: Path) -> None:
    assert faults_of(tmp_path, DATABASE_URL=DATABASE)[0].startswith("LEASEBOX_SECRET: required with DATABASE_URL")
    assert faults_of(tmp_path, LEASEBOX_SECRET="x" * 31) == ["LEASEBOX_SECRET: expected at least 32 characters, got 31"]
    assert load(tmp_path, DATABASE_URL=DATABASE, LEASEBOX_SECRET="x" * 32).secret == Secret("x" * 32)


def test_the_generated_secret_is_kept_for_our_eyes_only(tmp_path: Path) -> None:
    first = load(tmp_path)
    assert len(first.secret.reveal()) >= 32
    assert not (tmp_path / "secret").exists()
    config.keep_secret(first)
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert load(tmp_path).secret == first.secret
    config.keep_secret(load(tmp_path, LEASEBOX_SECRET=CANARY))
    assert load(tmp_path).secret == first.secret


def test_a_secret_that_is_not_this_homes_is_not_kept(tmp_path: Path) -> None:
    config.keep_secret(load(tmp_path, DATABASE_URL=DATABASE, LEASEBOX_SECRET=CANARY))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "fault"), [("short", "at least 32 characters"), ("", "is empty")])
def test_a_spoilt_secret_file_is_a_fault(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / "secret").write_text(content)
    (line,) = faults_of(tmp_path)
    assert line.startswith("LEASEBOX_SECRET: ")
    assert fault in line


@pytest.mark.parametrize(
    ("environ", "fault"),
    [
        (
            {"LEASEBOX_SMTP": "127.0.0.1:8080"},
            "LEASEBOX_SMTP: 127.0.0.1:8080 is already the address of LEASEBOX_HTTP",
        ),
        ({"LEASEBOX_TLS_CERT": __file__}, "LEASEBOX_TLS_CERT: set it together with LEASEBOX_TLS_KEY, or neither"),
        ({"LEASEBOX_TLS_KEY": __file__}, "LEASEBOX_TLS_CERT: set it together with LEASEBOX_TLS_KEY, or neither"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path: Path, environ: dict[str, str], fault: str) -> None:
    assert faults_of(tmp_path, **environ) == [fault]


def test_free_ports_do_not_collide(tmp_path: Path) -> None:
    assert load(tmp_path, LEASEBOX_HTTP="127.0.0.1:0", LEASEBOX_SMTP="127.0.0.1:0").http.port == 0


@pytest.mark.parametrize(
    ("http", "url"),
    [("0.0.0.0:80", "http://127.0.0.1:80"), ("[::]:80", "http://[::1]:80"), ("box:81", "http://box:81")],
)
def test_the_public_url_follows_the_http_address(tmp_path: Path, http: str, url: str) -> None:
    assert load(tmp_path, LEASEBOX_HTTP=http).public_url == url
    assert load(tmp_path, LEASEBOX_HTTP=http, LEASEBOX_PUBLIC_URL="https://x.org").public_url == "https://x.org"


def test_a_role_reads_what_this_run_settled_on(tmp_path: Path) -> None:
    (tmp_path / "relay").write_text("smtp://a:b@h:587")
    (tmp_path / "given").write_text(CANARY)
    environ = {
        "LEASEBOX_HOME": str(tmp_path),
        "LEASEBOX_SECRET_FILE": str(tmp_path / "given"),
        "LEASEBOX_RELAY_FILE": str(tmp_path / "relay"),
        "LEASEBOX_WORKERS": "3",
    }
    settings = config.load(environ)
    role = config.load(config.for_role(environ, settings, DATABASE, "redis://h/0"))
    assert (role.secret, role.relay, role.workers) == (settings.secret, settings.relay, 3)
    assert (role.database_url, role.redis_url) == (Secret(DATABASE), Secret("redis://h/0"))


def test_while_a_home_changes_its_key_every_role_knows_both(tmp_path: Path) -> None:
    first = load(tmp_path)
    config.keep_secret(first)
    made = master_key.change(tmp_path, first.secret)
    settings = load(tmp_path)
    assert (settings.secret, settings.secret_previous) == (made, first.secret)
    role = config.load(config.for_role({"LEASEBOX_HOME": str(tmp_path)}, settings, DATABASE, "redis://h/0"))
    assert (role.secret, role.secret_previous) == (made, first.secret)
    config.keep_secret(settings)
    assert master_key.used(tmp_path) == master_key.name_of(made)
    assert load(tmp_path, LEASEBOX_SECRET=CANARY).secret_previous is None, "the operator's key has none of the home's"
    assert load(tmp_path, LEASEBOX_SECRET_PREVIOUS=CANARY).secret_previous == Secret(CANARY)
    master_key.forget_previous(tmp_path)
    assert load(tmp_path).secret_previous is None
