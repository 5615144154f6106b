"""Which link is the one to follow, and what is said of it."""

import pytest

from leasebox.mail.html import read_html
from leasebox.mail.links import LINKS_CAP, FoundLink, find_links, find_target

TOKEN = "aZ91kLm20pQr77"
VERIFY = f"https://x.example/verify?t={TOKEN}"


def found(html: str = "", text: str = "", subject: str = "Verify your email", sender: str = "a@x.example") -> FoundLink:
    return find_links(subject, sender, text, read_html(html) if html else None)[0]


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://t.example/c?u=https%3A%2F%2Fx.example%2Fv%3Ft%3D1&s=9", "https://x.example/v?t=1"),
        ("https://t.example/c/aHR0cHM6Ly94LmV4YW1wbGUvdmVyaWZ5/s", "https://x.example/verify"),
        ("https://t.example/L0/https:%2F%2Fx.example%2Fv%3Ft=1/1/abc", "https://x.example/v?t=1"),
        ("https://t.example/https://x.example/v?t=1", "https://x.example/v?t=1"),
        ("https://x.example/v?oobCode=abc&continueUrl=https%3A%2F%2Fx.example%2F", None),
        ("https://x.example/v?next=https://y.example/", None),
        ("https://t.example/ls/click?upn=u001.aaaaAAAA1111-2FbbbbBBBB", None),
        ("https://x.example/", None),
        ("https://x.example/%zz/%", None),
        ("https://[::1/x?u=https://y.example/aaaa", "https://y.example/aaaa"),
    ],
)
def test_targets_are_read_out_of_the_link(url: str, target: str | None) -> None:
    assert find_target(url) == target


@pytest.mark.parametrize(
    ("sender", "url", "same"),
    [
        ("a@x.example", "https://x.example/v", True),
        ("A <a@mail.X.example>", "https://id.x.example/v", True),
        ("a@x.example", "https://x.example.evil.test/v", False),
        ("a@x.example", "https://x.example@evil.test/v", False),
        ("a@x.co.uk", "https://y.co.uk/v", False),
        ("a@m.x.co.uk", "https://x.co.uk/v", True),
        ("", "https://x.example/v", False),
    ],
)
def test_the_host_is_held_against_the_sender(sender: str, url: str, same: bool) -> None:
    link = found(text=f"Verify your email: {url}/{TOKEN}", sender=sender)
    assert link.host_matches_sender is same


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"Verify: {VERIFY}.", VERIFY),
        (f"Verify: <{VERIFY}>", VERIFY),
        (f"Verify ({VERIFY}).", VERIFY),
        (f"[Verify]({VERIFY})", VERIFY),
        (f"Verify: https://x.example/verify?a=1&amp;t={TOKEN}", f"https://x.example/verify?a=1&t={TOKEN}"),
        (f"验证：{VERIFY}，谢谢", VERIFY),
    ],
)
def test_addresses_in_text_end_where_they_end(text: str, url: str) -> None:
    assert found(text=text).url == url


@pytest.mark.parametrize(
    "label",
    ["Unsubscribe", "Privacy policy", "Help", "Cancel", "No, it was not me", "View in browser", "Get the app"],
)
def test_other_links_are_never_it(label: str) -> None:
    page = read_html(f'<a href="{VERIFY}">{label}</a>')
    assert find_links("Verify your email", "a@x.example", "", page) == ()


@pytest.mark.parametrize(
    "url", ["ftp://x.example/verify", "mailto:a@x.example", "javascript:verify()", "https://", "#v"]
)
def test_only_web_addresses_count(url: str) -> None:
    assert find_links("Verify your email", "", "", read_html(f'<a href="{url}">Verify</a>')) == ()


def test_a_login_page_proves_nothing() -> None:
    page = read_html(f'<a href="https://x.example/login?next={TOKEN}">Log in</a> to see 12 new posts')
    assert all(link.confidence < 0.5 for link in find_links("Weekly digest", "", "", page))


def test_a_hidden_link_yields_to_a_visible_one() -> None:
    links = find_links(
        "Verify your email",
        "a@x.example",
        "",
        read_html(
            f'<p hidden><a href="https://evil.test/verify?t={TOKEN}">Verify</a></p><a href="{VERIFY}">Verify</a>'
        ),
    )
    assert [(link.url, link.visible) for link in links] == [
        (VERIFY, True),
        (f"https://evil.test/verify?t={TOKEN}", False),
    ]


def test_text_beside_a_page_is_not_what_one_sees() -> None:
    assert found(html="<p>Hello</p>", text=f"Verify: {VERIFY}").visible is False
    assert found(text=f"Verify: {VERIFY}").visible is True


def test_evidence_tells_why() -> None:
    link = found(html=f'<p>To verify your email, </p><a href="{VERIFY}">click here</a>')
    assert (link.evidence, link.text) == ("To verify your email, click here", "click here")


def test_links_are_capped() -> None:
    late = (
        "".join(f'<a href="https://x.example/{n}">x</a>' for n in range(LINKS_CAP)) + f'<a href="{VERIFY}">Verify</a>'
    )
    assert find_links("Verify your email", "", "", read_html(late)) == ()
