"""What a thread reads ends when the time is up, by another thread that shuts the connection under it."""

import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from balancemw import cutoff
from balancemw.context import Bound
from balancemw.cutoff import Cutoff
from tests.adapters.watching import eventually

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon() -> Bound:
    return Bound(time.monotonic() + 0.05)


def late() -> Bound:
    return Bound(time.monotonic() + 1000.0)


def test_what_is_read_ends_when_the_time_is_up(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"half")
    cut = Cutoff(soon(), ours.fileno)
    assert ours.recv(4) == b"half"
    assert ours.recv(4) == b""
    assert cut.expired
    assert not cut.end()  # the connection is none any more
    assert not cut.end()


def test_the_earliest_comes_first_whenever_it_was_begun() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    cuts = [Cutoff(bound, pair[0].fileno) for bound, pair in zip((late(), soon(), late()), pairs, strict=True)]
    assert pairs[1][0].recv(1) == b""
    assert [cut.shut for cut in cuts] == [False, True, False]
    assert [cut.end() for cut in cuts] == [True, False, True]
    for pair in pairs:
        pair[0].close()
        pair[1].close()


def test_what_has_ended_is_left_alone(pair: Pair) -> None:
    ours, theirs = pair
    bound = soon()
    with cutoff._all.lock:  # it cannot be cut off before it ends
        assert Cutoff(bound, ours.fileno).end()
    other = socket.socketpair()
    Cutoff(bound, other[0].fileno)
    assert other[0].recv(1) == b""  # by now the former would have been cut off as well
    theirs.sendall(b"whole")
    assert ours.recv(5) == b"whole"
    for end in other:
        end.close()


def test_a_bound_that_is_lifted_binds_no_more(pair: Pair) -> None:
    """As an inbound request's deadline is when the request has been answered."""
    ours, theirs = pair
    bound = soon()
    with cutoff._all.lock:  # nor before it is lifted
        cut = Cutoff(bound, ours.fileno)
        bound.until = float("inf")
    other = socket.socketpair()
    Cutoff(soon(), other[0].fileno)
    assert other[0].recv(1) == b""
    assert not cut.expired
    theirs.sendall(b"whole")
    assert ours.recv(5) == b"whole"
    assert cut.end()
    for end in other:
        end.close()


def test_what_is_over_leaves_what_is_around_it(pair: Pair) -> None:
    outer = late()
    inner = Bound(time.monotonic() - 1.0, outer=outer)
    inner.over = True
    cut = Cutoff(inner, None)
    assert not cut.expired
    outer.until = time.monotonic()
    assert cut.expired
    assert cut.end()


@pytest.mark.parametrize("descriptor", [lambda: -1, lambda: 1 // 0])
def test_a_connection_that_is_gone_is_no_trouble(pair: Pair, descriptor: object) -> None:
    Cutoff(soon(), descriptor)  # type: ignore[arg-type]
    Cutoff(soon(), pair[0].fileno)
    assert pair[0].recv(1) == b""


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "balancemw-cutoff"]


def test_one_thread_does_it_as_long_as_there_is_something_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutoff, "_IDLE", 0.01)
    pairs = [socket.socketpair() for _ in range(20)]
    cuts = [Cutoff(late(), pair[0].fileno) for pair in pairs[1:]]
    cuts.append(Cutoff(soon(), pairs[0][0].fileno))
    assert pairs[0][0].recv(1) == b""
    (thread,) = threads()
    for cut in cuts:
        cut.end()
    again = Cutoff(soon(), pairs[1][0].fileno)  # rouses it
    assert pairs[1][0].recv(1) == b""
    thread.join(20)
    eventually(lambda: not threads())  # where it had ended by then, another has come
    assert not again.end()
    for pair in pairs:
        pair[0].close()
        pair[1].close()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_has_its_own(pair: Pair) -> None:
    kept = socket.socketpair()
    Cutoff(late(), kept[0].fileno)
    child = os.fork()
    if child == 0:
        Cutoff(soon(), pair[0].fileno)
        os._exit(0 if pair[0].recv(1) == b"" else 1)
    assert os.waitpid(child, 0)[1] == 0
    for end in kept:
        end.close()
