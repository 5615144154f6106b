"""Postfix as Debian ships it, with a configuration and a queue of its own: every mail is queued durably, then held.

Held mail costs Postfix no delivery, so what is measured is what it does before its 250: the queue file and its fsync.
"""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.peers import place
from tests.bench.peers.place import Absent, Peer

NAME = "Postfix, queueing"
_MASTER_PROGRAM = Path("/usr/lib/postfix/sbin/master")
_MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/lib
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.inbox.example
mydestination =
mynetworks = 127.0.0.1/32
relay_domains = inbox.example
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
default_process_limit = 128
default_transport = error:none
alias_maps =
alias_database =
local_recipient_maps =
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
"""
_MASTER = """
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_QUEUES = "active bounce corrupt defer deferred flush hold incoming private saved trace"


@contextmanager
def serving() -> Iterator[Peer]:
    """Raises Absent."""
    if not _MASTER_PROGRAM.exists():
        raise Absent("no Postfix (Debian's package postfix)")
    if os.geteuid() != 0:
        raise Absent("Postfix starts as root only")
    with place.folder() as folder:
        port = place.free_port()
        _configure(folder, port)
        argv = [str(_MASTER_PROGRAM), "-c", str(folder / "etc"), "-d"]
        with place.serving(argv, port, folder / "said", cwd="/") as peer:
            yield peer


def version() -> str:
    """Raises Absent."""
    return place.run([place.program("postconf", "postfix"), "-d", "-h", "mail_version"], Path("/"), 10).strip()


def _configure(folder: Path, port: int) -> None:
    mailer, droppers = pwd.getpwnam("postfix"), grp.getgrnam("postdrop")
    for name in ("etc", "lib", "log", "queue", "queue/pid"):
        (folder / name).mkdir()
    os.chown(folder / "lib", mailer.pw_uid, mailer.pw_gid)
    (folder / "etc" / "main.cf").write_text(_MAIN.format(folder=folder))
    (folder / "etc" / "master.cf").write_text(_MASTER.format(port=port).lstrip())
    for name in _QUEUES.split():
        (folder / "queue" / name).mkdir(mode=0o700)
        os.chown(folder / "queue" / name, mailer.pw_uid, 0)
    for name, mode in (("maildrop", 0o730), ("public", 0o710)):
        (folder / "queue" / name).mkdir()
        os.chown(folder / "queue" / name, mailer.pw_uid, droppers.gr_gid)
        (folder / "queue" / name).chmod(mode)
