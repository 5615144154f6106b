"""Answering and passing on: to whom, under which subject, with which references, quoting what."""

from datetime import UTC, datetime
from typing import Any

import pytest

from leasebox.sending.addressees import RECIPIENTS
from leasebox.sending.draft import Draft, Wish
from leasebox.sending.errors import Unanswerable, Unsendable
from leasebox.sending.replies import QUOTED_CHARS, REFERENCES, Original, answer, forward, message_ids, read_original

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
OWN = "me@inbox.leasebox.test"


def original(**changes: Any) -> Original:
    """A message as the store gives it, read."""
    row = {
        "direction": "inbound",
        "sender": "ann@shop.example",
        "sender_name": "Ann",
        "reply_to": [],
        "recipients": [{"name": "Me", "address": OWN}, {"name": "Bob", "address": "bob@shop.example"}],
        "cc": [{"name": "", "address": "carl@shop.example"}],
        "subject": "Offer",
        "received_at": NOW,
        "body_text": "First line\n> older\n\nLast line\n",
        "body_html": None,
        "headers": [{"name": "Message-ID", "value": "<1@shop.example>"}],
        **changes,
    }
    return read_original(row)


def to_of(draft: Draft) -> list[str]:
    return [f"{each.name} <{each.address}>" if each.name else each.address for each in draft.to]


def cc_of(draft: Draft) -> list[str]:
    return [each.address for each in draft.cc]


def replied(manner: Any = "reply", wish: Wish | None = None, **changes: Any) -> Draft:
    return answer(original(**changes), OWN, manner, wish or Wish(text="Yes."), NOW)


def test_a_reply_goes_to_the_sender_or_where_replies_are_wanted() -> None:
    assert to_of(replied()) == ["Ann <ann@shop.example>"]
    assert cc_of(replied()) == []
    desk = [{"name": "Desk", "address": "desk@shop.example"}, {"name": "", "address": "two@shop.example"}]
    assert to_of(replied(reply_to=desk)) == ["Desk <desk@shop.example>", "two@shop.example"]


def test_a_reply_to_what_i_sent_goes_to_whom_i_sent_it() -> None:
    made = replied("reply-all", direction="outbound", sender=OWN, recipients=[{"name": "", "address": "x@a.example"}])
    assert (to_of(made), cc_of(made)) == (["x@a.example"], ["carl@shop.example"])


def test_a_reply_to_all_leaves_out_whoever_answers() -> None:
    made = replied("reply-all", Wish(text="Yes.", cc="dora@shop.example", bcc="ann@shop.example"))
    assert to_of(made) == ["Ann <ann@shop.example>"]
    assert cc_of(made) == ["bob@shop.example", "carl@shop.example", "dora@shop.example"]
    assert made.bcc == ()


def test_my_own_address_is_known_in_every_spelling() -> None:
    many = [{"name": "", "address": text} for text in ("ME@INBOX.leasebox.test", "me+tag@inbox.leasebox.test")]
    assert cc_of(replied("reply-all", recipients=many, cc=[])) == []


def test_a_mail_from_myself_can_be_answered() -> None:
    assert to_of(replied("reply-all", sender=OWN, sender_name="", recipients=[], cc=[])) == [OWN]


def test_what_cannot_be_written_to_is_left_out() -> None:
    odd = [{"name": "x\r\nBcc: y", "address": "ok@shop.example"}, {"name": "", "address": "undisclosed"}]
    made = replied("reply-all", recipients=odd, cc=[])
    assert cc_of(made) == ["ok@shop.example"] and made.cc[0].name == "x Bcc: y"


@pytest.mark.parametrize("manner", ["reply", "reply-all"])
def test_nobody_to_answer_is_told_without_a_field_that_is_not_there(manner: str) -> None:
    with pytest.raises(Unanswerable) as refused:
        replied(manner, sender="", recipients=[], cc=[])
    assert "errors" not in refused.value.fields
    assert "POST /v2/messages/send with a `to` of yours" in refused.value.fix
    assert replied(manner, Wish(text="x", cc="z@a.example"), sender="", recipients=[], cc=[]).to == ()


def test_too_many_to_answer_are_told_likewise() -> None:
    crowd = [{"name": "", "address": f"p{number}@shop.example"} for number in range(RECIPIENTS)]
    with pytest.raises(Unanswerable, match=f"names {RECIPIENTS + 1} people; one may go to {RECIPIENTS}"):
        replied("reply-all", recipients=crowd, cc=[])
    assert len(replied("reply-all", recipients=crowd[1:], cc=[]).recipients) == RECIPIENTS


@pytest.mark.parametrize(("given", "path"), [({"cc": "z@a.example"}, "body.cc"), ({"bcc": "z@a.example"}, "body.bcc")])
def test_one_more_of_mine_than_fit_is_told_of_the_field_that_i_gave(given: dict[str, str], path: str) -> None:
    crowd = [{"name": "", "address": f"p{number}@shop.example"} for number in range(RECIPIENTS - 1)]
    with pytest.raises(Unsendable) as refused:
        replied("reply-all", Wish(text="x", **given), recipients=crowd, cc=[])
    assert [each.path for each in refused.value.fields["errors"]] == [path]


@pytest.mark.parametrize(
    ("subject", "reply", "passed_on"),
    [
        ("Offer", "Re: Offer", "Fwd: Offer"),
        ("Re: Offer", "Re: Offer", "Fwd: Re: Offer"),
        ("RE: Offer", "RE: Offer", "Fwd: RE: Offer"),
        ("AW: Offer", "AW: Offer", "Fwd: AW: Offer"),
        ("Re[2]: Offer", "Re[2]: Offer", "Fwd: Re[2]: Offer"),
        ("Fwd: Offer", "Re: Fwd: Offer", "Fwd: Offer"),
        ("Reply wanted", "Re: Reply wanted", "Fwd: Reply wanted"),
        ("", "Re:", "Fwd:"),
        ("two\nlines", "Re: two lines", "Fwd: two lines"),
        ("x" * 2_000, "Re: " + "x" * 994, "Fwd: " + "x" * 993),
    ],
)
def test_the_subject_says_once_what_it_is(subject: str, reply: str, passed_on: str) -> None:
    assert replied(subject=subject).subject == reply
    assert forward(original(subject=subject), "x@a.example", Wish(), NOW).subject == passed_on


def header(**fields: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in fields.items()]


@pytest.mark.parametrize(
    ("fields", "own", "chain"),
    [
        (header(Message_ID="<2@a>"), "<2@a>", ("<2@a>",)),
        (header(Message_ID="<3@a>", In_Reply_To="<2@a>"), "<3@a>", ("<2@a>", "<3@a>")),
        (header(Message_ID="<3@a>", In_Reply_To="<2@a> <1@a>"), "<3@a>", ("<3@a>",)),
        (
            header(message_id="<3@a>", references="<1@a> <2@a>", In_Reply_To="<9@a>"),
            "<3@a>",
            ("<1@a>", "<2@a>", "<3@a>"),
        ),
        (header(Message_ID="<3@a>", References="<3@a> <1@a> <1@a>"), "<3@a>", ("<1@a>", "<3@a>")),
        (header(References="<1@a> <2@a>"), None, ("<1@a>", "<2@a>")),
        (header(In_Reply_To="<1@a>"), None, ("<1@a>",)),
        (header(Message_ID="<abc.def>", References="<1@a> <2@a>"), None, ("<1@a>", "<2@a>")),
        (header(Message_ID='<weird "id"@e>', References="<1@a>"), None, ("<1@a>",)),
        (header(Message_ID="none", References="rubbish"), None, ()),
        ([], None, ()),
    ],
)
def test_references_are_the_parents_and_its_own_id(
    fields: list[dict[str, str]], own: str | None, chain: tuple[str, ...]
) -> None:
    assert message_ids(fields) == (own, chain)
    for made in (replied(headers=fields), forward(original(headers=fields), "x@a.example", Wish(), NOW)):
        assert (made.in_reply_to, made.references) == (own, chain)


def test_a_long_chain_keeps_its_root_and_its_end() -> None:
    _, chain = message_ids(header(References=" ".join(f"<{number}@a>" for number in range(80)), Message_ID="<80@a>"))
    assert (len(chain), chain[0], chain[-2:]) == (REFERENCES, "<0@a>", ("<79@a>", "<80@a>"))


def test_the_text_is_quoted_below_the_answer() -> None:
    assert replied().text == (
        "Yes.\n\nOn 20 Nov 2026 at 10:00 UTC, Ann <ann@shop.example> wrote:\n> First line\n>> older\n>\n> Last line\n"
    )


def test_a_page_quotes_it_as_text_that_nothing_runs_in() -> None:
    made = replied(wish=Wish(html="<p>Yes.</p>"), body_text="<script>alert(1)</script>")
    assert made.text is None
    assert made.html is not None and "<script>" not in made.html
    assert "<blockquote>&lt;script&gt;" in made.html and made.html.startswith("<p>Yes.</p>")


def test_of_an_endless_text_a_part_is_quoted() -> None:
    assert len(replied(body_text="x" * 5_000_000).text or "") < QUOTED_CHARS + 200


def test_a_forward_tells_where_it_comes_from() -> None:
    made = forward(original(), ["x@a.example", "y@a.example"], Wish(text="FYI", cc="z@a.example"), NOW)
    assert (to_of(made), cc_of(made)) == (["x@a.example", "y@a.example"], ["z@a.example"])
    assert made.text == (
        "FYI\n\n---------- Forwarded message ----------\n"
        "From: Ann <ann@shop.example>\nDate: 20 Nov 2026 at 10:00 UTC\nSubject: Offer\n"
        f"To: Me <{OWN}>, Bob <bob@shop.example>\nCc: carl@shop.example\n\n"
        "First line\n> older\n\nLast line\n"
    )
    assert (made.html, made.references) == (None, ("<1@shop.example>",))


def test_a_forward_passes_the_page_on() -> None:
    made = forward(original(body_html="<h1>Offer</h1>"), "x@a.example", Wish(text="FYI & more"), NOW)
    assert made.html is not None and made.html.startswith("FYI &amp; more") and made.html.endswith("<h1>Offer</h1>")
    assert made.text is not None and made.text.startswith("FYI & more")
    page = forward(original(), "x@a.example", Wish(html="<p>Look</p>"), NOW)
    assert page.html is not None and "First line<br>" in page.html and page.text is None


def test_a_forward_needs_somebody() -> None:
    with pytest.raises(Unsendable):
        forward(original(), None, Wish(text="FYI"), NOW)
