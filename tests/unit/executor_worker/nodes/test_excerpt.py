"""Parts of long texts: pages that lose nothing, and places of a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor_worker.nodes.agent.excerpt import page_end, places

LINES = "\n".join(f"line {n}" for n in range(1000))


@pytest.mark.parametrize(
    ("text", "chars", "page"),
    [
        ("short", 10, "short"),
        ("a" * 20, 10, "a" * 10),
        ("one two three", 10, "one two "),
        ("one two\nthree", 10, "one two\n"),
        ("one\ntwo three four", 14, "one\ntwo three "),
        ("ab\n" + "c" * 20, 10, "ab\ncccccccc"[:10]),
    ],
)
def test_a_page_ends_at_a_sensible_place(text: str, chars: int, page: str) -> None:
    """After a line, else between words, else where it must; never far from its full length."""
    assert text[: page_end(text, 0, chars)] == page


@given(st.text(alphabet="ab \n", max_size=300), st.integers(1, 50))
def test_pages_together_are_the_text(text: str, chars: int) -> None:
    """One after the other, none longer than asked."""
    at, pages = 0, []
    while at < len(text):
        end = page_end(text, at, chars)
        assert at < end <= at + chars
        pages.append(text[at:end])
        at = end
    assert "".join(pages) == text


def test_places_are_shown_with_their_offsets() -> None:
    """In any case of letters; what is around each is shown."""
    found, more = places(LINES, "LINE 500", 0, 5000)
    at = LINES.index("line 500")
    assert found.startswith(f"at {at}: …") and "line 499\nline 500\nline 501" in found
    assert more is None
    assert places(LINES, "nothing", 0, 5000) == ("", None)


def test_many_places_are_shown_a_few_at_a_time() -> None:
    """From the offset told on there are the others; all are found in the end."""
    start: int | None = 0
    seen = 0
    while start is not None:
        found, start = places(LINES, "line", start, 3000)
        assert 0 < len(found) <= 3000
        seen += found.count("at ")
    assert seen == 1000


def test_a_place_longer_than_what_may_be_shown_is_cut() -> None:
    """And the search still goes on behind it."""
    text = "x" * 500
    found, more = places(text, "x" * 400, 0, 100)
    assert (len(found), more) == (100, 400)
    assert places(text, "x" * 400, 400, 100) == ("", None)
