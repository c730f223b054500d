"""What a source of nodes answers, and how an answer is read. No I/O."""

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import aiohttp

from balancemw.errors import SettingsError
from balancemw.node import Node
from balancemw.settings import CallableSettings, FileSettings, parse_nodes


class SourceError(Exception):
    """A source cannot say which nodes there are. Its text is shown, so it never repeats a secret.

    Attributes:
        again: whether it is told even if the same was told last.
        pause: seconds after which it is to be asked again; None: later and later.
    """

    def __init__(self, text: str, *, again: bool = False, pause: float | None = None) -> None:
        super().__init__(text)
        self.again = again
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Found:
    """A node that a source names.

    Attributes:
        node: the node.
        kind: what the source holds against it: ``down``, ``drain``, ``weight``, or nothing.
        reason: why, in words.
        weight: for kind ``weight``: the factor.
    """

    node: Node
    kind: str = ""
    reason: str = ""
    weight: float | None = None


class Answer(NamedTuple):
    """What a source answers.

    Attributes:
        found: all nodes there are; None: the same as last time.
        good_for: seconds after which it is to be asked again.
    """

    found: tuple[Found, ...] | None
    good_for: float


class Source(Protocol):
    """Where nodes are found. Made anew for each life of the thread that asks it, and asked by one task only."""

    async def ask(self, session: aiohttp.ClientSession, /) -> Answer:
        """The next answer; may wait for something to change.

        Raises:
            SourceError, OSError, aiohttp.ClientError: there is none.
        """
        ...

    def close(self) -> None:
        """It is not asked any more."""
        ...


@contextmanager
def reading(what: str) -> Generator[None]:
    """Reads a document that may be of any form.

    Raises:
        SourceError: it has not the form that was expected of `what`.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise SourceError(f"its answer is not what is expected of {what} ({type(error).__name__})") from error


def url(scheme: str, host: str, port: int | None, prefix: str) -> str:
    """The url of a node; `host` may be an IPv6 address."""
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + (f":{port}" if port else "") + prefix


_STATES = {"up": "", "drain": "drain", "down": "down"}


def read_entries(listed: Any, settings: FileSettings | CallableSettings, key: str = "nodes") -> tuple[Found, ...]:
    """Nodes out of what ``nodes`` in the settings takes; an entry may also have a ``state`` and a ``reason`` for it.

    Raises:
        SourceError: with the first of the problems.
    """
    if not isinstance(listed, Iterable) or isinstance(listed, str | bytes | Mapping):
        raise SourceError(f"{key}: expected a list of nodes, got {type(listed).__name__}")
    entries = list(listed)
    problems: list[str] = []
    claims = [_claim(entry, f"{key}[{index}]", problems) for index, entry in enumerate(entries)]
    nodes: tuple[Node, ...] = ()
    try:
        nodes = parse_nodes([_filled(entry, settings) for entry in entries], key=key)
    except SettingsError as error:
        problems.extend(error.problems)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise SourceError(problems[0] + more)
    return tuple(Found(node, *claim) for node, claim in zip(nodes, claims, strict=True))


def _claim(entry: object, key: str, problems: list[str]) -> tuple[str, str]:
    if not isinstance(entry, Mapping):
        return "", ""
    state, reason = entry.get("state", "up"), entry.get("reason", "")
    if not isinstance(state, str) or state not in _STATES:
        problems.append(f"{key}.state: expected 'up', 'drain' or 'down'")
        return "", ""
    if not isinstance(reason, str):
        problems.append(f"{key}.reason: expected a string")
        return "", ""
    return _STATES[state], reason or f"its source says {state!r}"


def _filled(entry: Any, settings: FileSettings | CallableSettings) -> Any:
    """`entry` with what it does not say itself. Everything that is no node is left to be told of."""
    if isinstance(entry, str):
        entry = {"url": entry}
    if not isinstance(entry, Mapping):
        return entry
    said = {key: value for key, value in entry.items() if key not in ("state", "reason")}
    metadata = said.get("metadata", {})
    if isinstance(metadata, Mapping):
        said["metadata"] = {**settings.metadata, **metadata}
    return {"weight": settings.weight, "zone": settings.zone, "priority": settings.priority, **said}
