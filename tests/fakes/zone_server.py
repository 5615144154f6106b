"""A real DNS server on loopback, UDP and TCP, whose answers a test may change while it runs."""

import socket
import struct
import threading
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

_UDP_OCTETS = 1232


class ZoneServer:
    """`zone` maps `"txt name"` (or a, aaaa, mx, ptr) to records as a zone file writes them.

    Names with records, and those above them, exist. SERVFAIL for `broken` names; says nothing while `mute`.
    """

    def __init__(self, zone: Mapping[str, list[str]] | None = None, broken: Collection[str] = ()) -> None:
        self.zone = dict(zone or {})
        self.broken = set(broken)
        self.mute = False
        self.questions = 0
        self._udp, self._tcp = _sockets()
        self.port: int = self._udp.getsockname()[1]
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def publish(self, records: Mapping[str, list[str]]) -> None:
        """Add records, or replace those of the same name and type."""
        self.zone = {**self.zone, **records}

    def withdraw(self, *keys: str) -> None:
        """Take records away."""
        self.zone = {key: texts for key, texts in self.zone.items() if key not in keys}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            try:
                packet, client = self._udp.recvfrom(4096)
            except OSError:
                return
            self.questions += 1
            if not self.mute:
                self._udp.sendto(self._answer(packet, _UDP_OCTETS), client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                (size,) = struct.unpack("!H", connection.recv(2))
                answer = self._answer(connection.recv(size), 65_535)
                connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, packet: bytes, at_most: int) -> bytes:
        query = dns.message.from_wire(packet)
        asked = query.question[0]
        reply = dns.message.make_response(query)
        reply.flags |= dns.flags.RA
        name = asked.name.to_text(omit_final_dot=True).lower()
        zone = self.zone
        texts = zone.get(f"{asked.rdtype.name.lower()} {name}", [])
        if name in self.broken:
            reply.set_rcode(dns.rcode.SERVFAIL)
        elif texts:
            reply.answer.append(dns.rrset.from_text_list(asked.name, 60, "IN", asked.rdtype.name, texts))
        elif not any(key.partition(" ")[2] == name or key.endswith(f".{name}") for key in zone):
            reply.set_rcode(dns.rcode.NXDOMAIN)
        wire = reply.to_wire()
        if len(wire) > at_most:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            wire = reply.to_wire()
        return wire


def _sockets() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one free port."""
    while True:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            tcp.bind(udp.getsockname())
            tcp.listen()
        except OSError:
            udp.close()
            tcp.close()
        else:
            return udp, tcp
