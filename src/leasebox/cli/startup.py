"""What the operator's commands share: settings or a refusal, free ports, engines for as long as a block lasts."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from leasebox import config
from leasebox.cli import refuse
from leasebox.config import ConfigFaults, Settings
from leasebox.config_text import Address
from leasebox.infra import ports
from leasebox.infra.embedded import Engines, EngineUrls
from leasebox.infra.engine import EngineFault

# The roles that listen so far, and the setting of each one's address.
LISTENING = {"http": "LEASEBOX_HTTP", "smtp": "LEASEBOX_SMTP", "submission": "LEASEBOX_SUBMISSION"}


def load(environ: Mapping[str, str]) -> Settings:
    """The settings; refuses with a line for every fault."""
    try:
        return config.load(environ)
    except ConfigFaults as fault:
        refuse(fault.faults)


def with_ports(
    environ: Mapping[str, str], settings: Settings, wanted: Mapping[str, str]
) -> tuple[dict[str, str], Settings]:
    """The settings with a free port in place of each 0, so that all roles agree on it; refuses ports in use.

    wanted: the fields of Settings that hold the addresses, with the names of their settings.
    """
    settled, faults = dict(environ), []
    for field, name in wanted.items():
        address: Address = getattr(settings, field)
        try:
            settled[name] = str(Address(address.host, ports.claim(address.host, address.port)))
        except OSError as fault:
            faults.append(f"{name}: {address} {fault.strerror}")
    if faults:
        refuse(faults)
    return settled, load(settled)


def _nothing(engines: Engines) -> None:
    del engines


@contextmanager
def engines_of(
    settings: Settings, *, meanwhile: Callable[[Engines], None] = _nothing
) -> Iterator[tuple[Engines, str, str]]:
    """The home's engines, without those that the settings replace, and the URLs of database and Redis.

    meanwhile: called once the home is ours, before the engines are started. Refuses when an engine cannot run or the
    home is in use. Once the block ends nothing interrupts their shutdown.
    """
    given = {"postgres": settings.database_url, "valkey": settings.redis_url}
    wanted = [name for name, url in given.items() if url is None]
    engines = Engines(settings.home, wanted=wanted, programs=settings.postgres_bin)
    try:
        engines.claim()
        meanwhile(engines)
        urls = engines.start()
    except EngineFault as fault:
        refuse([str(fault)])
    try:
        yield engines, *_chosen(settings, urls)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        engines.stop()


def _chosen(settings: Settings, urls: EngineUrls) -> tuple[str, str]:
    database = settings.database_url.reveal() if settings.database_url else urls.database_url
    redis = settings.redis_url.reveal() if settings.redis_url else urls.redis_url
    return database or "", redis or ""
