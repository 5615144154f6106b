"""A DNS server on a loopback port that answers as tests tell it, and may answer differently each time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import dns.message
import dns.rrset

Answer = Callable[[str, str, int], list[str] | None]


class NameServer(asyncio.DatagramProtocol):
    """answer: (name, kind, how often it was asked before) to records; None: silence. asked: the questions."""

    def __init__(self, answer: Answer, ttl: int = 0) -> None:
        self._answer = answer
        self._ttl = ttl
        self._transport: Any = None
        self.asked: Counter[str] = Counter()
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, octets: bytes, address: Any) -> None:
        question = dns.message.from_wire(octets)
        (asked,) = question.question
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        records = self._answer(name, kind, self.asked[f"{kind} {name}"])
        self.asked[f"{kind} {name}"] += 1
        if records is None:
            return
        reply = dns.message.make_response(question)
        if records:
            reply.answer.append(dns.rrset.from_text(asked.name, self._ttl, "IN", kind, *records))
        self._transport.sendto(reply.to_wire(), address)


@contextlib.asynccontextmanager
async def name_server(answer: Answer, ttl: int = 0) -> AsyncIterator[NameServer]:
    """Answer for as long as the context lasts."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: NameServer(answer, ttl), local_addr=("127.0.0.1", 0)
    )
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
