"""Listening addresses: free, taken, or not ours."""

import socket

import pytest

from leasebox.infra import ports


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_port_zero_is_a_free_one(host: str) -> None:
    port = ports.claim(host, 0)
    assert port > 0
    assert ports.claim(host, port) == port


def test_a_listener_holds_its_port_even_if_it_would_share_it() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(OSError, match="is in use by another program"):
            ports.claim("127.0.0.1", listener.getsockname()[1])


def test_a_connection_that_lingers_does_not_hold_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = listener.accept()
        served.close()
        client.close()
    assert ports.claim("127.0.0.1", port) == port


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(OSError, match="is no address of this machine"):
        ports.claim(host, 0)
