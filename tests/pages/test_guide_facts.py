"""Facts in words."""

import msgspec
import pytest

from leasebox.pages.guide_facts import in_words
from leasebox.values.rate import Rate
from tests.pages.facts import FACTS


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (Rate(120, 1), "120 a second"),
        (Rate(60, 60), "60 a minute"),
        (Rate(20, 3600), "20 an hour"),
        (Rate(5, 90), "5 in 90 s"),
        (Rate(0, 1), "no limit"),
    ],
)
def test_rates(rate: Rate, words: str) -> None:
    assert in_words(rate) == words


@pytest.mark.parametrize(("host", "shown"), [("mx.box.example", "mx.box.example:25"), ("::1", "[::1]:25")])
def test_the_mail_port_can_be_dialled(host: str, shown: str) -> None:
    assert msgspec.structs.replace(FACTS, smtp_host=host).words()["smtp"] == shown


def test_the_main_domain_comes_first() -> None:
    words = FACTS.words()
    assert (words["mail_domain"], words["mail_domains"]) == ("inbox.example", "`inbox.example`, `post.example`")
    assert words["lease_quota_mails"] == "1,000"
