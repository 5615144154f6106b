"""Which methods a path has."""

from typing import NamedTuple

import pytest

from leasebox.infra.web.allow import Methods


class Route(NamedTuple):
    path: str
    methods: set[str]


class Mounted(NamedTuple):
    path: str


METHODS = Methods(
    [
        Route("/v2/messages", {"GET"}),
        Route("/v2/messages/wait", {"GET"}),
        Route("/v2/messages/{message_id:str}", {"GET"}),
        Route("/v2/messages/{message_id:str}", {"PATCH", "DELETE"}),
        Route("/v2/messages/{message_id:str}/attachments/{attachment_id:str}", {"GET"}),
        Route("/a.c/{one:str}", {"PUT"}),
        Mounted("/static"),
    ]
)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v2/messages", "GET OPTIONS"),
        ("/v2/messages/wait", "GET OPTIONS"),
        ("/v2/messages/msg_1", "DELETE GET OPTIONS PATCH"),
        ("/v2/messages/msg_1/attachments/att_1", "GET OPTIONS"),
        ("/v2/messages/msg_1/attachments", ""),
        ("/v2/messages/", ""),
        ("/v2/messages/msg_1/", ""),
        ("/v2/messages/msg_1\n", "DELETE GET OPTIONS PATCH"),
        ("/a.c/x", "OPTIONS PUT"),
        ("/abc/x", ""),
        ("/static", ""),
        ("", ""),
    ],
)
def test_a_path_has_the_methods_of_all_its_routes(path: str, methods: str) -> None:
    assert METHODS.of(path) == tuple(methods.split())
