"""What is kept of a request's body, and what makes it whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.forward import Broken, Tee


def test_what_is_small_can_be_sent_again():
    tee = Tee(10, None)
    for part in (b"abc", b"", b"defghij"):
        tee.take(part)
    assert list(tee.replay()) == [b"abc", b"defghij"]
    tee.finish()
    assert tee.complete
    assert list(tee.replay()) == [b"abc", b"defghij"]


def test_what_is_too_long_is_not_kept():
    tee = Tee(10, None)
    tee.take(b"abc")
    tee.take(b"defghijk")
    assert (tee.replayable, tee.kept) == (False, [])
    tee.take(b"x")
    tee.finish()
    assert (tee.kept, tee.complete) == ([], True)
    with pytest.raises(Broken):
        list(tee.replay())


def test_nothing_of_a_body_can_always_be_sent_again():
    assert list(Tee(0, 5).replay()) == []
    tee = Tee(0, None)
    tee.take(b"")
    assert tee.replayable
    tee.take(b"x")
    assert not tee.replayable


def test_a_body_is_as_long_as_declared():
    tee = Tee(10, 5)
    tee.take(b"abc")
    with pytest.raises(Broken, match="3 of 5"):
        tee.finish()
    assert not tee.complete
    tee.take(b"de")
    tee.finish()
    with pytest.raises(Broken, match="longer"):
        tee.take(b"f")


@given(st.lists(st.binary(max_size=8), max_size=12), st.integers(0, 40))
def test_all_or_nothing(parts: list[bytes], limit: int):
    """At every moment all that has come can be sent again, or none of it is held."""
    tee = Tee(limit, None)
    come = b""
    for part in parts:
        tee.take(part)
        come += part
        assert tee.replayable is (len(come) <= limit)
        assert b"".join(tee.kept) == (come if tee.replayable else b"")
