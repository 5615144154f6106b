"""TLS for our doors: a self-made certificate where the operator brings none, and how strict a door is."""

import fcntl
import ipaddress
import os
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leasebox.values.addresses import canonical_domain
from leasebox.values.clock import Clock

LIFETIME = timedelta(days=365)
RENEWAL = timedelta(days=30)
# Peers whose clocks run behind ours must not see a certificate from the future.
_CLOCK_SKEW = timedelta(hours=1)
_MAX_COMMON_NAME = 64


class CertificatePair(NamedTuple):
    """Two PEM files: the certificate and its private key."""

    certificate: Path
    key: Path


def ensure_certificate(folder: Path, hostnames: Sequence[str], clock: Clock) -> CertificatePair:
    """The self-made certificate in `folder` for these host names or addresses, made anew if it will not do.

    It will not do if it ends within 30 days, misses a name, or does not belong to its key. Made: EC P-256, a year long,
    the key readable by its owner only. Processes that start at once wait for each other. Raises OSError if the folder
    cannot be written, ValueError for no name or one that is no host name.
    """
    if not hostnames:
        raise ValueError("a certificate needs a host name")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    pair = CertificatePair(folder / "smtp-cert.pem", folder / "smtp-key.pem")
    with _lock(folder / ".tls.lock"):
        if not _will_do(pair, hostnames, clock.now()):
            _make(pair, hostnames, clock.now())
    return pair


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server's context: TLS 1.2 or later, no compression, no renegotiation.

    Raises OSError or ssl.SSLError if the pair cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate, key)
    return context


def _will_do(pair: CertificatePair, hostnames: Sequence[str], now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, TypeError, x509.ExtensionNotFound):
        return False
    fresh = certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEWAL
    return fresh and key.public_key() == certificate.public_key() and set(names) >= set(map(_name, hostnames))


def _make(pair: CertificatePair, hostnames: Sequence[str], now: datetime) -> None:
    names = list(dict.fromkeys(map(_name, hostnames)))
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostnames[0][:_MAX_COMMON_NAME])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # A crash in between leaves a pair that does not match, which the next start sees and mends.
    _write(pair.key, secret, 0o600)
    _write(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(canonical_domain(text))


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file whole, never showing it half written nor with wider rights than `mode`."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
