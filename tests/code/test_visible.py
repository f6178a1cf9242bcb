"""What a terminal would obey is written out, and nothing else is changed."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmenter.code.visible import visible

OBEYED = {"Cc", "Cs", "Zl", "Zp"}


@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_nothing_comes_out_that_a_terminal_obeys(text):
    shown = visible(text)
    assert not {unicodedata.category(one) for one in shown} & OBEYED
    assert not set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c\ufeff") & set(shown)
    shown.encode("utf-8")


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs"))))
def test_all_other_text_stays_as_it_is(text):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("x\udcff.ko", r"x\xff.ko"),
        ("\ud800", r"\ud800"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("über → “ja” ✔ 二", "über → “ja” ✔ 二"),
    ],
)
def test_it_is_written_as_python_writes_it(text, shown):
    assert visible(text) == shown
