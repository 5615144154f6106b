"""What can be a code by its looks, and what cannot."""

import pytest

from leasebox.mail.otp_shapes import SHAPES_CAP, find_shapes


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("code 481920.", ["481920"]),
        ("481 920", ["481920"]),
        ("481-920", ["481920"]),
        ("58 21 90", ["582190"]),
        ("581-224-09", ["58122409"]),
        ("4 8 1 9 2 0", ["481920"]),
        ("4\n8\n1\n9", ["4819"]),
        ("G-481920, FB-77120 is", ["481920", "77120"]),
        ("ABCD-1234, ABC-1234, AB-1234 is", ["ABCD-1234", "ABC-1234", "AB-1234"]),
        ("ABCD-12345, XYZ-482913, ABCDEF-12345678 is", ["ABCD-12345", "XYZ-482913", "ABCDEF-12345678"]),
        ("ABCDEFG-1234, XYZ-123456789, AB-1234-5", []),
        ("[481920]", ["481920"]),
        ("**481920**", ["481920"]),
        ("code: XK4-9QT", ["XK4-9QT"]),
        ("code: k7qx4m", ["k7qx4m"]),
        ("code: ABCDEF", ["ABCDEF"]),
        ("ABCDEF is shouted", ["ABCDEF"]),
        ("so SHOUTED words", []),
        ("481920123456", []),
        ("1,481.20 or 4819.20", []),
        ("$4819 4819€ EUR 4819 4819 kg", []),
        ("12/03/2026 12.03.2026 14:4819", []),
        ("2026-03-12", []),
        ("2026年3月", []),
        ("+4819 *4819 4819% #4819", []),
        ("INV-009812-7", []),
        ("01 23 45 67 89", []),
        ("415 555 0199", []),
        ("1 2 3 4 5 6 7", []),
        ("a/4819 4819/b x=4819 4819@x", []),
        ("", []),
    ],
)
def test_shapes(text: str, codes: list[str]) -> None:
    assert [shape.code for shape in find_shapes(text)] == codes


def test_years_and_round_numbers_weigh_less() -> None:
    weight = {text: find_shapes(text)[0].weight for text in ("2024", "4819", "48000", "48192", "20260312", "48192033")}
    assert weight["2024"] < 0 < weight["4819"]
    assert weight["48000"] < weight["48192"]
    assert weight["20260312"] < 0 < weight["48192033"]


def test_a_line_of_its_own_is_noticed() -> None:
    assert [s.alone for s in find_shapes("code\n *481920* \nnot 481920 here")] == [True, False]


def test_candidates_are_capped() -> None:
    assert len(find_shapes("4819 x " * (SHAPES_CAP + 9))) == SHAPES_CAP
