"""Reading whom a message goes to: strictly, one mailbox in each string."""

import pytest

from leasebox.sending.addressees import Addressee, UnreadableAddress, read_addressee, unique

# Every character that some reader takes for the end of a line, and some more that no address needs.
BREAKS = ("\r", "\n", "\r\n", "\x00", "\x0b", "\x0c", "\x1b", "\x7f", "\x85", "\u2028", "\u2029")


@pytest.mark.parametrize(
    ("text", "name", "address", "key"),
    [
        ("a@b.example", "", "a@b.example", "a@b.example"),
        ("  a@b.example ", "", "a@b.example", "a@b.example"),
        ("<a@b.example>", "", "a@b.example", "a@b.example"),
        ("Ann <a@b.example>", "Ann", "a@b.example", "a@b.example"),
        ("Ann  B.   Lee<a@b.example>", "Ann B. Lee", "a@b.example", "a@b.example"),
        ('"Lee, Ann" <a@b.example>', "Lee, Ann", "a@b.example", "a@b.example"),
        ('"say \\"hi\\"" <a@b.example>', 'say "hi"', "a@b.example", "a@b.example"),
        ("Žofie Nováková <z@b.example>", "Žofie Nováková", "z@b.example", "z@b.example"),
        ("John.Doe+Shop@B.Example", "", "John.Doe+Shop@b.example", "john.doe+shop@b.example"),
        ("a@bücher.example", "", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@BÜCHER.example", "", "a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ('"a b"@c.example', "", '"a b"@c.example', '"a b"@c.example'),
        ('"A@B"@c.example', "", '"A@B"@c.example', '"a@b"@c.example'),
        ('"q\\"uote"@c.example', "", '"q\\"uote"@c.example', '"q\\"uote"@c.example'),
        ('"plain"@c.example', "", '"plain"@c.example', "plain@c.example"),
        ('Name <"a b"@c.example>', "Name", '"a b"@c.example', '"a b"@c.example'),
    ],
)
def test_an_address_is_read(text: str, name: str, address: str, key: str) -> None:
    found = read_addressee(text)
    assert (found.name, found.address, found.key) == (name, address, key)
    assert found.destination == address.rpartition("@")[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a@",
        "@b.example",
        "a@b",
        "a@localhost",
        "a@[192.0.2.1]",
        "a@[IPv6:::1]",
        "a b@c.example",
        "a@b.example, c@d.example",
        "a@b.example c@d.example",
        "a@b.example; c@d.example",
        "x, a@b.example <c@d.example>",
        "a@b.example> <c@d.example",
        "<a@b.example> <c@d.example>",
        "<a@b.example>, <c@d.example>",
        "Group: a@b.example;",
        "Lee, Ann <a@b.example>",
        'An "odd" name <a@b.example>',
        "(comment) <a@b.example>",
        "a@b..example",
        ".a@b.example",
        "a@b.example.",
        '"open@b.example',
        '"x> <evil@evil.example"@b.example',
        "ünï@b.example",
        "Name <ünï@b.example>",
        "a@b.example" + "x" * 300,
        "x" * 260 + "@b.example",
        "n" * 201 + " <a@b.example>",
        "x" * 1_001,
    ],
)
def test_what_is_no_single_address_is_refused(text: str) -> None:
    with pytest.raises(UnreadableAddress) as refused:
        read_addressee(text)
    assert len(text) < 4 or text not in str(refused.value)


@pytest.mark.parametrize("mark", BREAKS, ids=[f"{ord(mark[-1]):04x}x{len(mark)}" for mark in BREAKS])
@pytest.mark.parametrize(
    "text",
    ["a{}@b.example", "a@b{}.example", "N{} <a@b.example>", '"N{}" <a@b.example>', '"a{}"@b.example', "{}a@b.example"],
)
def test_no_address_holds_a_line_break(text: str, mark: str) -> None:
    with pytest.raises(UnreadableAddress):
        read_addressee(text.format(mark))


def test_the_mailbox_is_the_address_without_its_tag() -> None:
    found = read_addressee("Quick-Otter+shop@Inbox.Leasebox.Test")
    assert (found.mailbox, found.key) == ("quick-otter@inbox.leasebox.test", "quick-otter+shop@inbox.leasebox.test")


def test_each_recipient_counts_once_under_the_first_kind() -> None:
    def people(*texts: str) -> list[Addressee]:
        return [read_addressee(text) for text in texts]

    kept = unique(
        {
            "bcc": people("a@x.example", "d@x.example"),
            "cc": people("B@x.example", "c@x.example"),
            "to": people("A@X.example", "b@x.example", "a@x.example"),
        }
    )
    assert {kind: [each.address for each in found] for kind, found in kept.items()} == {
        "to": ["A@x.example", "b@x.example"],
        "cc": ["c@x.example"],
        "bcc": ["d@x.example"],
    }
