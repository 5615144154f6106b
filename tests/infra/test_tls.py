"""The self-made certificate: made once, kept while good, made anew when not, and usable."""

import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from leasebox.infra.tls import LIFETIME, CertificatePair, ensure_certificate, server_context

NAMES = ["mx.inbox.example", "127.0.0.1"]


class FixedClock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


CLOCK = FixedClock(datetime.now(UTC))


def _ensure(folder: Path, names: list[str] | None = None, later: timedelta = timedelta()) -> CertificatePair:
    return ensure_certificate(folder, names or NAMES, FixedClock(CLOCK.at + later))


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_made_once_with_a_private_key_for_its_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "tls"
    pair = _ensure(folder)
    before = [path.read_bytes() for path in pair]
    assert _ensure(folder) == pair
    assert [path.read_bytes() for path in pair] == before
    assert (_mode(folder), _mode(pair.key)) == (0o700, 0o600)
    assert b"PRIVATE KEY" not in before[0]
    assert sorted(path.name for path in folder.iterdir()) == [".tls.lock", "smtp-cert.pem", "smtp-key.pem"]


def test_what_it_says(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(_ensure(tmp_path).certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["mx.inbox.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certificate.not_valid_before_utc <= CLOCK.at < certificate.not_valid_after_utc
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"


@pytest.mark.parametrize(("days_left", "kept"), [(31, True), (30, False), (1, False), (-1, False)])
def test_renewed_when_it_ends_within_thirty_days(tmp_path: Path, days_left: int, kept: object) -> None:
    before = _ensure(tmp_path).certificate.read_bytes()
    after = _ensure(tmp_path, later=LIFETIME - timedelta(days=days_left)).certificate.read_bytes()
    assert (before == after) is kept


def test_renewed_when_a_name_is_missing_but_not_when_one_is_gone(tmp_path: Path) -> None:
    before = _ensure(tmp_path).certificate.read_bytes()
    assert _ensure(tmp_path, NAMES[:1]).certificate.read_bytes() == before
    assert _ensure(tmp_path, [*NAMES, "b.example"]).certificate.read_bytes() != before


@pytest.mark.parametrize("name", ["smtp-cert.pem", "smtp-key.pem"])
@pytest.mark.parametrize("harm", ["gone", "empty", "garbage", "foreign"])
def test_mended_when_harmed(tmp_path: Path, name: str, harm: str) -> None:
    _ensure(tmp_path / "a")
    harmed = tmp_path / "a" / name
    if harm == "gone":
        harmed.unlink()
    else:
        foreign = _ensure(tmp_path / "b").certificate.with_name(name).read_bytes()
        harmed.write_bytes({"empty": b"", "garbage": b"\xff-----BEGIN", "foreign": foreign}[harm])
    pair = _ensure(tmp_path / "a")
    assert server_context(*pair).cert_store_stats() is not None
    assert _mode(pair.key) == 0o600


def test_a_draft_left_by_a_crash_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "smtp-key.new").write_bytes(b"half")
    (tmp_path / "smtp-key.new").chmod(0o644)
    assert _mode(_ensure(tmp_path).key) == 0o600


def test_many_at_once_agree(tmp_path: Path) -> None:
    seen: list[bytes] = []
    threads = [threading.Thread(target=lambda: seen.append(_ensure(tmp_path).key.read_bytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


@pytest.mark.parametrize("names", [[], ["not a name"], [""]])
def test_what_names_no_host_is_refused(tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(ValueError, match=r"host name|domain"):
        ensure_certificate(tmp_path, names, CLOCK)


def test_an_international_name_stands_in_its_ascii_form(tmp_path: Path) -> None:
    certificate = x509.load_pem_x509_certificate(_ensure(tmp_path, ["Bücher.example"]).certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["xn--bcher-kva.example"]


def test_a_name_longer_than_a_common_name_is_whole_in_the_alternatives(tmp_path: Path) -> None:
    long = "x" * 60 + ".inbox.example"
    certificate = x509.load_pem_x509_certificate(_ensure(tmp_path, [long]).certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [long]


@pytest.mark.parametrize(
    ("version", "outcome"),
    [(ssl.TLSVersion.TLSv1_1, None), (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_1_2_is_the_least(tmp_path: Path, version: ssl.TLSVersion, outcome: str | None) -> None:
    pair = _ensure(tmp_path)
    client_context = ssl.create_default_context(cafile=str(pair.certificate))
    client_context.set_ciphers("ALL:@SECLEVEL=0")
    client_context.minimum_version = client_context.maximum_version = version
    server_in, client_in = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context(*pair).wrap_bio(server_in, client_in, server_side=True)
    client = client_context.wrap_bio(client_in, server_in, server_hostname="mx.inbox.example")
    assert _handshake(client, server) == outcome


def _handshake(client: ssl.SSLObject, server: ssl.SSLObject) -> str | None:
    """The version agreed on in memory, None if they do not agree; the client verifies the name."""
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return None
    return client.version()
