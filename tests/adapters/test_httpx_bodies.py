"""A request's body arrives as a whole at the second try, or there is no second try."""

import io
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from balancemw.exchange import SMALL_BODY
from tests.adapters.httpx_callers import FLAVOURS, Counts, Flavour, balanced, caller, counts
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


def on_disk(path: Path) -> Any:
    path.write_bytes(TEXT)
    return path.open("rb")


Make = Callable[[Path], dict[str, Any]]

REPEATED: dict[str, Make] = {
    "bytes": lambda _: {"content": TEXT},
    "short bytes": lambda _: {"content": b"few"},
    "text": lambda _: {"content": TEXT.decode()},
    "json": lambda _: {"json": {"text": TEXT.decode()}},
    "form": lambda _: {"data": {"text": TEXT.decode()}},
    "form with a file": lambda path: {"data": {"a": "b"}, "files": {"file": on_disk(path)}},
    "form with bytes": lambda _: {"files": {"file": TEXT}},
    "form with BytesIO": lambda _: {"files": {"file": ("name", io.BytesIO(TEXT))}},
    "nothing": lambda _: {},
}
ONCE: dict[str, Make] = {
    "form with an unseekable file": lambda _: {"files": {"one": TEXT, "two": ("name", Unseekable(TEXT))}},
}
ONCE_SYNC: dict[str, Make] = {
    "file": lambda path: {"content": on_disk(path)},
    "BytesIO": lambda _: {"content": io.BytesIO(TEXT)},
    "unseekable file": lambda _: {"content": Unseekable(TEXT)},
    "generator": lambda _: {"content": chunks()},
    "iterable": lambda _: {"content": Chunks()},
}
ONCE_ASYNC: dict[str, Make] = {"async generator": lambda _: {"content": chunks_async()}}


def cases(*tables: dict[str, Make], flavours: list[Flavour] = FLAVOURS) -> pytest.MarkDecorator:
    found = [(flavour, table[name]) for flavour in flavours for table in tables for name in table]
    ids = [f"{flavour}-{name}" for flavour in flavours for table in tables for name in table]
    return pytest.mark.parametrize(("flavour", "make"), found, ids=ids)


def once() -> pytest.MarkDecorator:
    found = [
        pytest.param(flavour, make, id=f"{flavour}-{name}")
        for flavour in FLAVOURS
        for name, make in (ONCE | (ONCE_ASYNC if flavour.is_async else ONCE_SYNC)).items()
    ]
    return pytest.mark.parametrize(("flavour", "make"), found)


def whole(body: bytes | None) -> bool:
    return body is not None and (not body or TEXT in body or b"few" in body or b"all+of+the+body" in body)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the libraries leave a caller's files open
@cases(REPEATED)
def test_what_begins_anew_arrives_twice(flavour: Flavour, make: Make, tmp_path: Path) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = reset
        client.request("PUT", "http://inventory/", **make(tmp_path / "file"))
        [first], [second] = replicas[0].seen, replicas[1].seen
        assert first.body == second.body
        assert whole(second.body)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@once()
def test_what_may_be_used_up_is_sent_once(flavour: Flavour, make: Make, tmp_path: Path) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas)
        with caller(flavour, balancer) as client:
            replicas[0].act = reset
            with pytest.raises(flavour.module.TransportError):
                client.request("PUT", "http://inventory/", **make(tmp_path / "file"))
        assert whole(replicas[0].seen[0].body)
        assert replicas[1].seen == []
        assert counts(balancer) == Counts(1, 1, 0)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@once()
def test_what_has_not_been_touched_is_sent_to_the_next(flavour: Flavour, make: Make, tmp_path: Path) -> None:
    from tests.adapters.replicas import free_port

    nowhere = f"http://127.0.0.1:{free_port()}"
    with scripted() as [replica], caller(flavour, balanced([nowhere, replica])) as client:
        client.request("POST", "http://inventory/", **make(tmp_path / "file"))
        assert whole(replica.seen[0].body)


@cases(REPEATED)
def test_an_answer_during_the_upload_is_an_answer(flavour: Flavour, make: Make, tmp_path: Path) -> None:
    if make is REPEATED["form with a file"]:
        pytest.skip("one of the forms is enough")
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = refuse_unread
        assert client.request("PUT", "http://inventory/", **make(tmp_path / "file")).status_code == 200
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
    from balancemw_httpx.libraries import library_of
    from balancemw_httpx.upload import Upload, is_short

    request = flavour.module.Request("PUT", "http://inventory/", content=b"x" * (2 * SMALL_BODY + 1))
    library, told = library_of(request), []
    assert not is_short(request, library)
    parts = list(Upload(request.stream, library, lambda: told.append(1)))
    assert [len(part) for part in parts] == [SMALL_BODY, SMALL_BODY, 1]
    assert len(told) == 3
