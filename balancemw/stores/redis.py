"""State in Redis, shared by all hosts."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from threading import Event as Wake
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from balancemw.journal import Event
from balancemw.stores import FORGOTTEN, KEPT, PATIENCE, Claim, Cursor, Page, StoreError, scripts
from balancemw.stores.claim import Key, read_claim
from balancemw.stores.entry import entry_text, read_entry

_PREFIX = "{balancemw}:"  # the braces keep all keys together where Redis is a cluster
_MARKS = tuple(_PREFIX + name for name in ("generation", "revision", "marks", "revisions", "ends"))
_JOURNAL = tuple(_PREFIX + name for name in ("journal", "journal:number"))
_CHANNEL = _PREFIX + "changed"
_NUMBERS_KEPT = 3600  # seconds for which it is known which entries a writer has added
_LOOK = 0.05  # seconds between looks whether this worker has something to tell


class RedisStore:
    """A `Store` in the Redis at `url`; heartbeats are for those of one `host`. Used by one thread.

    Raises:
        StoreError: it cannot be reached.
    """

    def __init__(self, url: str, host: str) -> None:
        self._workers = tuple(f"{_PREFIX}{name}:{host}" for name in ("workers", "figures"))
        self._secret = unquote(urlsplit(url).password or "")
        with self._guarded():
            self._redis = redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=PATIENCE,
                socket_connect_timeout=PATIENCE,
                retry=Retry(NoBackoff(), 0),
            )
            script = self._redis.register_script
            self._exchange, self._append = script(scripts.EXCHANGE), script(scripts.APPEND)
            self._hold, self._release = script(scripts.HOLD), script(scripts.RELEASE)
            self._beat = script(scripts.BEAT)
            self._heard: Any = self._redis.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            try:
                self._heard.subscribe(_CHANNEL)
            except BaseException:
                self.close()
                raise
        self._first = True

    @contextmanager
    def _guarded(self) -> Generator[None, None, None]:
        try:
            yield
        except (redis.RedisError, OSError, ValueError) as error:
            text = f"{type(error).__name__}: {error}"
            raise StoreError(text.replace(self._secret, "***") if self._secret else text) from None

    # -- marks

    def exchange(self, claims: Sequence[Claim], cursor: Cursor) -> Page:
        arguments: list[Any] = [uuid4().hex, cursor.generation, cursor.revision, FORGOTTEN, _CHANNEL]
        for claim in claims:
            ends = "" if claim.ends is None else claim.ends
            arguments += [json.dumps(claim.key), claim.at, claim.yields, ends, claim.text()]
        with self._guarded():
            generation, revision, *rows = cast(list[Any], self._exchange(keys=_MARKS, args=arguments))
        read = (read_claim(key, text) for name, text in zip(rows[::2], rows[1::2], strict=True) if (key := _key(name)))
        found = [claim for claim in read if claim is not None]
        return Page(Cursor(generation, int(revision)), found, anew=generation != cursor.generation)

    # -- the journal

    def append(self, writer: str, entries: Sequence[tuple[int, Event]], above: int) -> None:
        arguments: list[Any] = [above, KEPT, _NUMBERS_KEPT, _CHANNEL]
        for number, event in entries:
            arguments += [number, entry_text(event)]
        with self._guarded():
            self._append(keys=(*_JOURNAL, f"{_PREFIX}writer:{writer}"), args=arguments)

    def read(self, after: int, limit: int) -> list[Event]:
        with self._guarded():
            newest = self._redis.zrevrangebyscore(_JOURNAL[0], "+inf", f"({after}", start=0, num=limit, withscores=True)
        rows = cast("list[tuple[str, float]]", newest)
        read = (read_entry(int(number), text.partition(" ")[2]) for text, number in reversed(rows))
        return [event for event in read if event is not None]

    # -- leases and workers

    def hold(self, name: str, holder: str, ttl: float) -> bool:
        with self._guarded():
            return bool(self._hold(keys=(f"{_PREFIX}lease:{name}",), args=(holder, int(ttl * 1000))))

    def release(self, name: str, holder: str) -> None:
        with self._guarded():
            self._release(keys=(f"{_PREFIX}lease:{name}",), args=(holder,))

    def beat(self, worker: str, ttl: float, figures: str) -> list[str]:
        with self._guarded():
            return cast("list[str]", self._beat(keys=self._workers, args=(worker, int(ttl * 1000), figures, _CHANNEL)))

    def figures(self) -> list[str]:
        with self._guarded():
            return cast("list[str]", self._redis.hvals(self._workers[1]))

    def leave(self, worker: str) -> None:
        ends, figures = self._workers
        with self._guarded():
            self._redis.zrem(ends, worker)
            self._redis.hdel(figures, worker)

    # -- the rest

    def wait(self, wake: Wake, seconds: float) -> bool:
        if self._first:
            self._first = False
            return True
        with self._guarded():
            heard = self._heard.get_message(timeout=0.0 if wake.is_set() else min(seconds, _LOOK))
            changed = heard is not None
            while heard is not None:  # many changes are one reason to look
                heard = self._heard.get_message(timeout=0.0)
        return changed

    def close(self) -> None:
        with suppress(Exception):
            self._heard.close()
        with suppress(Exception):
            self._redis.close()


def _key(name: str) -> Key | None:
    try:
        service, url, source = json.loads(name)
    except (ValueError, TypeError):
        return None
    return str(service), str(url), str(source)
