"""Listening addresses, looked at before anything is started."""

import errno
import socket


def claim(host: str, port: int) -> int:
    """The port if it is free on `host`, a free one for port 0. Nothing stays bound, so it is a look, not a lock.

    Raises OSError with a text for the operator.
    """
    try:
        family, kind, proto, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as fault:
        raise OSError(fault.errno, f"{host} is no address of this machine") from None
    with socket.socket(family, kind, proto) as probe:
        # As servers do: a connection that still lingers on the port does not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
            probe.listen(1)
        except OSError as fault:
            raise OSError(fault.errno, _REASONS.get(fault.errno or 0, fault.strerror)) from None
        bound: int = probe.getsockname()[1]
    return bound


_REASONS = {
    errno.EADDRINUSE: "is in use by another program",
    errno.EADDRNOTAVAIL: "is no address of this machine",
    errno.EACCES: "needs rights that this user does not have (ports below 1024)",
}
