"""Which URLs are called, and what is made of them; every other spelling is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.infra.fetch_target import MOST_CHARACTERS, Target, UrlFault, read

REFUSED = [
    ("", "not_absolute"),
    ("hooks.example/in", "not_absolute"),
    ("//hooks.example/in", "not_absolute"),
    ("http:/hooks.example", "not_absolute"),
    ("https:hooks.example", "not_absolute"),
    ("ftp://hooks.example/", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("gopher://hooks.example:70/_x", "scheme"),
    ("javascript://hooks.example/%0aalert(1)", "scheme"),
    ("unix://var/run/docker.sock", "scheme"),
    ("http://user@hooks.example/", "userinfo"),
    ("http://user:pass@hooks.example/", "userinfo"),
    ("http://8.8.8.8@127.0.0.1/", "userinfo"),
    ("http://hooks.example%40127.0.0.1/", "numeric_host"),
    ("http://hooks.example/#fragment", "fragment"),
    ("http://127.1/", "numeric_host"),
    ("http://127.0.1/", "numeric_host"),
    ("http://2130706433/", "numeric_host"),
    ("http://0x7f000001/", "numeric_host"),
    ("http://0x7f.0.0.1/", "numeric_host"),
    ("http://0x7f.1/", "numeric_host"),
    ("http://0x/", "numeric_host"),
    ("http://0177.0.0.1/", "numeric_host"),
    ("http://017700000001/", "numeric_host"),
    ("http://127.0.0.01/", "numeric_host"),
    ("http://256.1.1.1/", "numeric_host"),
    ("http://1.2.3.4.5/", "numeric_host"),
    ("http://hooks.example.7/", "numeric_host"),
    ("http://１２７.0.0.1/", "numeric_host"),
    ("http://127。0。0。1/", "numeric_host"),
    ("http://①②⑦.⓪.⓪.①/", "numeric_host"),
    ("http://127.0.0.1./", "host"),
    ("http://hooks.example./", "host"),
    ("http://.hooks.example/", "host"),
    ("http://hooks..example/", "host"),
    ("http:///in", "host"),
    ("http://:80/in", "host"),
    ("http://-hooks.example/", "host"),
    ("http://hooks_.example/", "host"),
    ("http://hooks%2eexample/", "host"),
    ("http://hooks.example%00.evil/", "host"),
    ("http://hooks,example/", "host"),
    ("http://" + "a" * 64 + ".example/", "host"),
    ("http://" + "a." * 127 + "example/", "host"),
    ("http://[::1/", "host"),
    ("http://::1/", "host"),
    ("http://[::1]x/", "host"),
    ("http://[fe80::1%25eth0]/", "host"),
    ("http://[fe80::1%eth0]/", "host"),
    ("http://[1.2.3.4]/", "host"),
    ("http://[v1.x]/", "host"),
    ("http://exa\u2060mple.\u00ad/", "host"),
    ("http://\u0301.example/", "host"),
    ("http://hooks.example:0/", "port"),
    ("http://hooks.example:65536/", "port"),
    ("http://hooks.example:22/", "port"),
    ("http://hooks.example:25/", "port"),
    ("http://hooks.example:6379/", "port"),
    ("https://hooks.example:465/", "port"),
    ("http://hooks.example:8080:80/", "host"),
    ("http://hooks.example:-80/", "host"),
    ("http://hooks.example:80x/", "host"),
    ("http://hooks.example:００80/", "host"),
    ("http://hooks.example\\@127.0.0.1/", "characters"),
    ("http://hooks.example/\r\nHost: other", "characters"),
    (" http://hooks.example/", "characters"),
    ("http://hooks.example/in\n", "characters"),
    ("http://hooks.example/a b", "characters"),
    ("http://hooks\texample/", "characters"),
    ("http://hooks.example/\x00", "characters"),
    ("http://hooks.example/\ud800", "characters"),
    ("http://hooks.example/" + "a" * MOST_CHARACTERS, "too_long"),
    ("http://hooks.example/" + "ü" * 400, "too_long"),
]
GOOD = [
    ("http://hooks.example", "http://hooks.example/"),
    ("HTTPS://Hooks.EXAMPLE/In?Q=1", "https://hooks.example/In?Q=1"),
    ("https://hooks.example:443/", "https://hooks.example/"),
    ("http://hooks.example:/x", "http://hooks.example/x"),
    ("https://hooks.example:80/", "https://hooks.example:80/"),
    ("http://hooks.example:08080/", "http://hooks.example:8080/"),
    ("http://hooks.example?a=b", "http://hooks.example/?a=b"),
    ("http://bücher.example/ü", "http://xn--bcher-kva.example/%C3%BC"),
    ("http://HOOKS。example/", "http://hooks.example/"),
    ("http://8.8.8.8:9000/x", "http://8.8.8.8:9000/x"),
    ("http://[2606:4700:0:0::1111]/x", "http://[2606:4700::1111]/x"),
    ("http://[::FFFF:8.8.8.8]:81/x", "http://8.8.8.8:81/x"),
    ("http://localhost:3000/x", "http://localhost:3000/x"),
    ("http://receiver/x/../y//z", "http://receiver/x/../y//z"),
    ("https://hooks.example/a%2Fb?token=a+b&c={}", "https://hooks.example/a%2Fb?token=a+b&c=%7B%7D"),
]


@pytest.mark.parametrize(("text", "fault"), REFUSED, ids=range(len(REFUSED)))
def test_what_could_be_read_in_two_ways_is_refused(text: str, fault: str) -> None:
    assert read(text) == fault


@pytest.mark.parametrize(("text", "wanted"), GOOD, ids=range(len(GOOD)))
def test_a_good_url_has_one_spelling(text: str, wanted: str) -> None:
    target = read(text)
    assert isinstance(target, Target)
    assert str(target) == wanted
    assert read(wanted) == target


def test_the_table_is_long_enough_and_knows_every_fault() -> None:
    assert len(REFUSED) + len(GOOD) >= 80
    assert {fault for _, fault in REFUSED} == set(UrlFault)


def test_addresses_are_known_as_such_and_the_origin_tells_no_path() -> None:
    target = read("https://[2606:4700::1111]:8443/secret?token=x")
    assert isinstance(target, Target)
    assert (str(target.address), target.authority) == ("2606:4700::1111", "[2606:4700::1111]:8443")
    assert target.origin == "https://[2606:4700::1111]:8443"
    named = read("https://hooks.example/")
    assert isinstance(named, Target)
    assert named.address is None


@given(st.text(max_size=80).map(lambda tail: f"http://{tail}") | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    found = read(text)
    if isinstance(found, Target):
        assert str(found).isascii()
        assert read(str(found)) == found
        assert not set(str(found)) & set(" \r\n\t\\#")
        assert "@" not in found.authority
