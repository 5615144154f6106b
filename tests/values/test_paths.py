"""The path normalizer: a spelling is the route byte for byte, or it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.values.errors import Kind
from leasebox.values.paths import MAX_PATH_BYTES, METHODS, Route, RouteFault, normalize

F = RouteFault
WALLET = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"

# spelling → the canonical path, or the fault
SPELLINGS: dict[str, str | RouteFault] = {
    # as they should be
    "/": "/",
    "/v2": "/v2",
    "/v2/messages": "/v2/messages",
    "/v2/messages/wait": "/v2/messages/wait",
    "/v2/messages/send": "/v2/messages/send",
    "/v2/mailboxes/leases": "/v2/mailboxes/leases",
    "/v2/webhooks": "/v2/webhooks",
    "/v2/webhooks/whk_01h2xcejqt/rotate-secret": "/v2/webhooks/whk_01h2xcejqt/rotate-secret",
    f"/v2/tenants/wallets/{WALLET}": f"/v2/tenants/wallets/{WALLET}",
    f"/v2/tenants/wallets/{WALLET.lower()}": f"/v2/tenants/wallets/{WALLET.lower()}",
    f"/v2/tenants/wallets/{WALLET}/x": f"/v2/tenants/wallets/{WALLET}/x",
    f"/v2/x/{WALLET.lower()}zz": f"/v2/x/{WALLET.lower()}zz",
    "/openapi.json": "/openapi.json",
    "/.well-known/agent.json": "/.well-known/agent.json",
    "/agents-guide": "/agents-guide",
    "/a~b": "/a~b",
    "/v2/message": "/v2/message",
    "/v2/messagess": "/v2/messagess",
    "/v1/messages": "/v1/messages",
    "/messages": "/messages",
    # query: cut, whatever it holds
    "/v2/messages?": "/v2/messages",
    "/v2/messages?limit=10": "/v2/messages",
    "/v2/messages?limit=10?x": "/v2/messages",
    "/v2/messages?a=/v2/webhooks": "/v2/messages",
    "/v2/messages?%6d=%2F;//../#é\x00\\": "/v2/messages",
    "/v2/messages?" + "q" * 5_000: "/v2/messages",
    "/v2/messages/?limit=10": F.TRAILING_SLASH,
    "/v2//messages?limit=10": F.EMPTY_SEGMENT,
    "?": F.NOT_ABSOLUTE,
    "/?": "/",
    # slashes
    "//": F.EMPTY_SEGMENT,
    "///": F.EMPTY_SEGMENT,
    "//v2/messages": F.EMPTY_SEGMENT,
    "///v2/messages": F.EMPTY_SEGMENT,
    "/v2//messages": F.EMPTY_SEGMENT,
    "/v2///messages": F.EMPTY_SEGMENT,
    "/v2/messages//": F.EMPTY_SEGMENT,
    "/v2/messages/": F.TRAILING_SLASH,
    "/v2/": F.TRAILING_SLASH,
    "/v2/mailboxes/leases/": F.TRAILING_SLASH,
    f"/v2/tenants/wallets/{WALLET}/": F.TRAILING_SLASH,
    # dots
    "/.": F.DOT_SEGMENT,
    "/..": F.DOT_SEGMENT,
    "/./": F.DOT_SEGMENT,
    "/./v2/messages": F.DOT_SEGMENT,
    "/v2/./messages": F.DOT_SEGMENT,
    "/v2/messages/.": F.DOT_SEGMENT,
    "/v2/messages/./": F.DOT_SEGMENT,
    "/v2/../v2/messages": F.DOT_SEGMENT,
    "/v2/x/../messages": F.DOT_SEGMENT,
    "/v2/messages/..": F.DOT_SEGMENT,
    "/../v2/messages": F.DOT_SEGMENT,
    "/v2/.../messages": F.DOT_SEGMENT,
    "/v2/messages/...": F.DOT_SEGMENT,
    "/v2/messages/send/../../webhooks": F.DOT_SEGMENT,
    # escapes
    "/v2/%6dessages": F.PERCENT,
    "/v2/%6Dessages": F.PERCENT,
    "/v2/message%73": F.PERCENT,
    "/%76%32/messages": F.PERCENT,
    "/v2%2Fmessages": F.PERCENT,
    "/v2%2fmessages": F.PERCENT,
    "%2Fv2/messages": F.NOT_ABSOLUTE,
    "/%2Fv2/messages": F.PERCENT,
    "/v2/messages%2F": F.PERCENT,
    "/v2/messages%2F..%2Fwebhooks": F.PERCENT,
    "/v2/%2e/messages": F.PERCENT,
    "/v2/%2E%2E/messages": F.PERCENT,
    "/v2/messages%00": F.PERCENT,
    "/v2/messages%0a": F.PERCENT,
    "/v2/messages%20": F.PERCENT,
    "/v2/messages%3F": F.PERCENT,
    "/v2/messages%3Flimit=1": F.PERCENT,
    "/v2/messages%23": F.PERCENT,
    "/v2/messages%3Bx": F.PERCENT,
    "/v2/messages%5C": F.PERCENT,
    "/v2/%256dessages": F.PERCENT,
    "/v2/messages%": F.PERCENT,
    "/v2/messages%6": F.PERCENT,
    "/v2/messages%zz": F.PERCENT,
    "/v2/messages%u006d": F.PERCENT,
    "/v2/%C3%A9": F.PERCENT,
    "/v2/%c0%af": F.PERCENT,
    "/v2/mailboxes%2Fleases": F.PERCENT,
    "/v2/x/a%40b.test": F.PERCENT,
    # case
    "/V2/messages": F.UPPER_CASE,
    "/v2/Messages": F.UPPER_CASE,
    "/v2/MESSAGES": F.UPPER_CASE,
    "/v2/messageS": F.UPPER_CASE,
    "/v2/mailboxes/Leases": F.UPPER_CASE,
    "/v2/webhooks/WHK_01H2XCEJQTF2NBREXX3VQJHP41": F.UPPER_CASE,
    f"/v2/tenants/wallets/{WALLET}A": F.UPPER_CASE,
    f"/v2/tenants/wallets/{WALLET[:-1]}": F.UPPER_CASE,
    f"/v2/tenants/wallets/{WALLET.upper()}": F.UPPER_CASE,
    f"/v2/tenants/wallets/x{WALLET}": F.UPPER_CASE,
    f"/v2/Tenants/wallets/{WALLET}": F.UPPER_CASE,
    # parameters, fragments, separators and what else stands in URLs
    "/v2/messages;": F.PARAMETERS,
    "/v2/messages;a=1": F.PARAMETERS,
    "/v2;a/messages": F.PARAMETERS,
    "/v2/messages;/send": F.PARAMETERS,
    "/v2/messages;?limit=1": F.PARAMETERS,
    "/v2/messages#": F.CHARACTER,
    "/v2/messages#x": F.CHARACTER,
    "/v2/messages&a=1": F.CHARACTER,
    "/v2/messages=": F.CHARACTER,
    "/v2/messages+": F.CHARACTER,
    "/v2/messages*": F.CHARACTER,
    "/v2/messages:send": F.CHARACTER,
    "/v2/a@b.test": F.CHARACTER,
    "/v2/messages,": F.CHARACTER,
    "/v2/(messages)": F.CHARACTER,
    '/v2/"messages"': F.CHARACTER,
    "/v2/<messages>": F.CHARACTER,
    "/v2/{id}": F.CHARACTER,
    "/v2/messages|x": F.CHARACTER,
    "/v2/messages`": F.CHARACTER,
    "/v2/messages^": F.CHARACTER,
    "/v2/messages!": F.CHARACTER,
    "/v2/messages$": F.CHARACTER,
    "/v2/messages'": F.CHARACTER,
    "/v2/[messages]": F.CHARACTER,
    # backslashes
    "\\v2\\messages": F.NOT_ABSOLUTE,
    "/v2\\messages": F.BACKSLASH,
    "/\\v2/messages": F.BACKSLASH,
    "/v2/messages\\": F.BACKSLASH,
    "/v2/..\\messages": F.BACKSLASH,
    # octets that are no text
    "/v2/messages\x00": F.CONTROL,
    "/v2/\x00messages": F.CONTROL,
    "/v2/messages\x00.json": F.CONTROL,
    "/v2/messages\n": F.CONTROL,
    "/v2/messages\r\n": F.CONTROL,
    "/v2/messages\t": F.CONTROL,
    "/v2/messages ": F.CONTROL,
    "/v2/mess ages": F.CONTROL,
    "/v2/messages\x7f": F.CONTROL,
    "/v2/messages\x1b[0m": F.CONTROL,
    "/v2/messagés": F.NON_ASCII,
    "/v2/ｍessages": F.NON_ASCII,
    "/v2/meſſages": F.NON_ASCII,
    "/v2/messages\u200b": F.NON_ASCII,
    "/v2／messages": F.NON_ASCII,
    "/v2/messages\u2028": F.NON_ASCII,
    "/v2/messages\ud800": F.NON_ASCII,
    "\ufeff/v2/messages": F.NON_ASCII,
    # not from the root
    "": F.NOT_ABSOLUTE,
    "*": F.NOT_ABSOLUTE,
    "v2/messages": F.NOT_ABSOLUTE,
    "./v2/messages": F.NOT_ABSOLUTE,
    " /v2/messages": F.NOT_ABSOLUTE,
    "http://leasebox.test/v2/messages": F.NOT_ABSOLUTE,
    "HTTP://leasebox.test/v2/messages": F.NOT_ABSOLUTE,
    "leasebox.test:443": F.NOT_ABSOLUTE,
    "\x00/v2/messages": F.NOT_ABSOLUTE,
    # length
    "/" + "a" * (MAX_PATH_BYTES - 1): "/" + "a" * (MAX_PATH_BYTES - 1),
    "/" + "a" * MAX_PATH_BYTES: F.TOO_LONG,
    "/a" * 1_000_000: F.TOO_LONG,
    f"/{WALLET.lower()}" * 11 + "/%": F.PERCENT,
}
PLAIN_METHODS = sorted(METHODS - {"HEAD"})
NO_METHODS = [
    "",
    "get",
    "Get",
    "gET",
    "post",
    " GET",
    "GET ",
    "GET\r\n",
    "G\u0415T",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "*",
]


def _by_itself(expected: str | RouteFault, method: str) -> Route | RouteFault:
    return Route(method, expected) if isinstance(expected, str) else expected


def test_the_table_is_long_enough() -> None:
    assert len(SPELLINGS) > 120


@pytest.mark.parametrize(("spelling", "expected"), SPELLINGS.items(), ids=lambda value: repr(value)[:60])
def test_every_spelling_by_every_method(spelling: str, expected: str | RouteFault) -> None:
    for method in PLAIN_METHODS:
        assert normalize(method, spelling) == _by_itself(expected, method)
    for method in NO_METHODS:
        assert normalize(method, spelling) is F.METHOD


@pytest.mark.parametrize(("spelling", "expected"), SPELLINGS.items(), ids=lambda value: repr(value)[:60])
def test_bytes_are_read_like_text(spelling: str, expected: str | RouteFault) -> None:
    raw = spelling.encode("utf-8", "surrogatepass")
    assert normalize("GET", raw) == _by_itself(expected, "GET")


@pytest.mark.parametrize(("spelling", "expected"), SPELLINGS.items(), ids=lambda value: repr(value)[:60])
def test_head_is_never_get_and_not_in_the_api(spelling: str, expected: str | RouteFault) -> None:
    found = normalize("HEAD", spelling)
    if isinstance(expected, RouteFault):
        assert found is expected
    elif expected == "/v2" or expected.startswith("/v2/"):
        assert found is F.HEAD
    else:
        assert found == Route("HEAD", expected)


@given(st.sampled_from(sorted(METHODS)), st.one_of(st.text(), st.binary(), st.from_regex(r"/[a-zA-Z0-9./%-]*")))
def test_a_route_is_its_spelling(method: str, raw: str | bytes) -> None:
    """Identity or refusal: so no two spellings, queries apart, can be one route."""
    found = normalize(method, raw)
    if isinstance(found, Route):
        text = raw if isinstance(raw, str) else raw.decode()
        assert found == Route(method, text.partition("?")[0])
        assert normalize(method, found.path) == found


@given(st.integers(0, 40), st.characters(), st.sampled_from(["/v2/messages", "/v2/mailboxes/leases"]))
def test_one_character_more_is_never_the_same_route(at: int, character: str, path: str) -> None:
    spelling = path[:at] + character + path[at:]
    if "?" not in spelling:
        assert normalize("GET", spelling) != Route("GET", path)


@pytest.mark.parametrize("fault", RouteFault)
def test_a_router_answers_404_or_405(fault: RouteFault) -> None:
    wrong_method = fault in {F.METHOD, F.HEAD}
    assert fault.routed_as is (Kind.METHOD_NOT_ALLOWED if wrong_method else Kind.NOT_FOUND)
