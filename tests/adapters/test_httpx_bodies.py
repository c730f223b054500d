"""A request's body arrives as a whole at the second try, or there is no second try."""

import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pytest

from balancemw.exchange import SMALL_BODY
from balancemw_httpx.libraries import library_of
from balancemw_httpx.upload import Upload, is_short
from tests.adapters.httpx_callers import FLAVOURS, Counts, Flavour, balanced, caller, counts
from tests.adapters.replicas import free_port
from tests.adapters.scripted import refuse_unread, reset, scripted

TEXT = b"all of the body " * 8192  # more than what is taken for short


class Unseekable(io.BytesIO):
    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation("seek")


def chunks() -> Iterator[bytes]:
    for begin in range(0, len(TEXT), 4096):
        yield TEXT[begin : begin + 4096]


async def chunks_async() -> AsyncIterator[bytes]:
    for chunk in chunks():
        yield chunk


class Chunks:
    """Can be read again and again, but who knows."""

    def __iter__(self) -> Iterator[bytes]:
        return chunks()


Open = Callable[[], IO[bytes]]
Make = Callable[[Open], dict[str, Any]]


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[Open]:
    """Opens a file, which the libraries leave open."""
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    with ExitStack() as stack:
        yield lambda: stack.enter_context(path.open("rb"))


REPEATED: dict[str, Make] = {
    "bytes": lambda _: {"content": TEXT},
    "short bytes": lambda _: {"content": b"few"},
    "text": lambda _: {"content": TEXT.decode()},
    "json": lambda _: {"json": {"text": TEXT.decode()}},
    "form": lambda _: {"data": {"text": TEXT.decode()}},
    "form with a file": lambda on_disk: {"data": {"a": "b"}, "files": {"file": on_disk()}},
    "form with bytes": lambda _: {"files": {"file": TEXT}},
    "form with BytesIO": lambda _: {"files": {"file": ("name", io.BytesIO(TEXT))}},
    "nothing": lambda _: {},
}
ONCE: dict[str, Make] = {
    "form with an unseekable file": lambda _: {"files": {"one": TEXT, "two": ("name", Unseekable(TEXT))}},
}
ONCE_SYNC: dict[str, Make] = {
    "file": lambda on_disk: {"content": on_disk()},
    "BytesIO": lambda _: {"content": io.BytesIO(TEXT)},
    "unseekable file": lambda _: {"content": Unseekable(TEXT)},
    "generator": lambda _: {"content": chunks()},
    "iterable": lambda _: {"content": Chunks()},
}
ONCE_ASYNC: dict[str, Make] = {"async generator": lambda _: {"content": chunks_async()}}


def cases(of: Callable[[Flavour], dict[str, Make]]) -> pytest.MarkDecorator:
    found = [(flavour, name, make) for flavour in FLAVOURS for name, make in of(flavour).items()]
    params = [pytest.param(flavour, make, id=f"{flavour}-{name}") for flavour, name, make in found]
    return pytest.mark.parametrize(("flavour", "make"), params)


repeated = cases(lambda _: REPEATED)
once = cases(lambda flavour: ONCE | (ONCE_ASYNC if flavour.is_async else ONCE_SYNC))


def whole(body: bytes | None) -> bool:
    return body is not None and (not body or TEXT in body or b"few" in body or b"all+of+the+body" in body)


@repeated
def test_what_begins_anew_arrives_twice(flavour: Flavour, make: Make, on_disk: Open) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = reset
        client.request("PUT", "http://inventory/", **make(on_disk))
        [first], [second] = replicas[0].seen, replicas[1].seen
        assert first.body == second.body
        assert whole(second.body)


@once
def test_what_may_be_used_up_is_sent_once(flavour: Flavour, make: Make, on_disk: Open) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas)
        with caller(flavour, balancer) as client:
            replicas[0].act = reset
            with pytest.raises(flavour.module.TransportError):
                client.request("PUT", "http://inventory/", **make(on_disk))
        assert whole(replicas[0].seen[0].body)
        assert replicas[1].seen == []
        assert counts(balancer) == Counts(1, 1, 0)


@once
def test_what_has_not_been_touched_is_sent_to_the_next(flavour: Flavour, make: Make, on_disk: Open) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scripted() as [replica], caller(flavour, balanced([nowhere, replica])) as client:
        client.request("POST", "http://inventory/", **make(on_disk))
        assert whole(replica.seen[0].body)


@repeated
def test_an_answer_during_the_upload_is_an_answer(flavour: Flavour, make: Make, on_disk: Open) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = refuse_unread
        assert client.request("PUT", "http://inventory/", **make(on_disk)).status_code == 200
        assert whole(replicas[1].seen[0].body)


@pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
def test_an_error_of_the_body_s_own_is_no_replica_s(flavour: Flavour) -> None:
    def broken() -> Iterator[bytes]:
        yield b"part"
        raise ConnectionResetError("while reading what is to be sent")

    async def broken_async() -> AsyncIterator[bytes]:
        yield b"part"
        raise ConnectionResetError("while reading what is to be sent")

    with scripted(2) as replicas:
        balancer = balanced(replicas)
        body = broken_async() if flavour.is_async else broken()
        with caller(flavour, balancer) as client, pytest.raises(ConnectionResetError, match="while reading"):
            client.request("PUT", "http://inventory/", content=body)
        assert counts(balancer) == Counts(1, 0, 0)
        assert replicas[1].seen == []


@pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
def test_a_long_upload_takes_as_long_as_it_goes_on(flavour: Flavour) -> None:
    """Each part of it moves the end of the try, so that only a standstill is a timeout."""

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    def slowly() -> Iterator[bytes]:
        for _ in range(5):
            clock.now += 8.0  # of the 10 of a try, and of the 30 of a call
            yield b"x"

    async def slowly_async() -> AsyncIterator[bytes]:
        for part in slowly():
            yield part

    clock = Clock()
    with scripted() as [replica]:
        balancer = balanced([replica], clock=clock)
        body = slowly_async() if flavour.is_async else slowly()
        with caller(flavour, balancer, timeout=None) as client:
            assert client.post("http://inventory/", content=body).status_code == 200
        assert replica.seen[0].body == b"xxxxx"


@pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
def test_long_bytes_go_out_in_parts(flavour: Flavour) -> None:
    request = flavour.module.Request("PUT", "http://inventory/", content=b"x" * (2 * SMALL_BODY + 1))
    library, told = library_of(request), []
    assert not is_short(request, library)
    parts = list(Upload(request.stream, library, lambda: told.append(1)))
    assert [len(part) for part in parts] == [SMALL_BODY, SMALL_BODY, 1]
    assert len(told) == 3
