"""Which requests are forwarded, and what is left of their paths.

Prefixes are compared segment by segment and percent-decoded; what is passed on is the path as the client wrote it.
A path that another reader may resolve to a place outside of the prefix is refused.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from balancemw.forward.refusal import Refused
from balancemw.settings import RouteSettings

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_INNER = re.compile(rb"[/\\]")  # of a decoded segment: some readers take these for the end of one
_DOTS = (b".", b"..")  # "..;" is ".." to some readers as well
_UNSAFE = re.compile(rb"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Match:
    """A request that is forwarded.

    Attributes:
        route: where to.
        prefix: what of the path is ours, as the client wrote it, the app's own root included; ``""`` for none.
        path: what is put behind a node's url: ``""``, or it begins with ``/``.
    """

    route: RouteSettings
    prefix: str
    path: str


class Routes:
    """The routes of an app, ready for matching.

    Args:
        routes: as `balancemw.settings.Settings.routes` has them.
    """

    def __init__(self, routes: Mapping[str, RouteSettings]) -> None:
        self._routes = {tuple(_decoded(prefix.encode())): route for prefix, route in routes.items()}
        self._depth = max(map(len, self._routes), default=0)
        # What a path must begin with; most requests of an app are told apart by that.
        self._firsts = None if () in self._routes else {segments[0] for segments in self._routes}

    def __bool__(self) -> bool:
        return bool(self._routes)

    def match(self, path: bytes, root: str = "") -> Match | None:
        """The route with the longest prefix that `path` is at or below; None: the request is the app's.

        Args:
            path: of the request, as the client wrote it, without the query.
            root: where the app is mounted (``root_path``, ``SCRIPT_NAME``), decoded.

        Raises:
            Refused: it is below a prefix, but not for every reader.
        """
        if not path.startswith(b"/"):  # ``*``, or the absolute form, which servers take apart
            return None
        if not root and self._firsts is not None and _unquoted(path[1:].partition(b"/")[0]) not in self._firsts:
            return None
        parts, above = path.split(b"/")[1:], _decoded(root.encode("utf-8", "surrogateescape"))
        own = [_unquoted(part) for part in parts[: len(above) + self._depth]]
        if own[: len(above)] != above:  # servers differ in whether a path includes the root
            parts = [*(quote(part).encode() for part in above), *parts]
            own = [*above, *own]
        for depth in range(min(len(own), len(above) + self._depth), len(above) - 1, -1):
            route = self._routes.get(tuple(own[len(above) : depth]))
            if route is not None:
                _check(parts[depth:])
                taken = len(above) if route.keep_prefix else depth
                return Match(route, _joined(parts[:taken]), _joined(parts[taken:]))
        return None


def _check(parts: list[bytes]) -> None:
    for part in parts:
        segment = _unquoted(part)
        if b"#" in part or _CONTROL.search(segment):
            raise Refused("The path of the request has characters that no path has.")
        if b"." in segment and any(inner.partition(b";")[0] in _DOTS for inner in _INNER.split(segment)):
            raise Refused("The path of the request has '.' or '..' for a segment.")


def _unquoted(part: bytes) -> bytes:
    return unquote_to_bytes(part) if b"%" in part else part


def _joined(parts: list[bytes]) -> str:
    return quoted(b"".join(b"/" + part for part in parts))


def _decoded(path: bytes) -> list[bytes]:
    """The segments of a path that is decoded already; none for ``""`` and ``/``."""
    path = path.removesuffix(b"/")
    return path.split(b"/")[1:]


def quoted(raw: bytes) -> str:
    """`raw` as text for a request line: what is not ASCII is percent-encoded, all else stays as it is."""
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw).decode("ascii")


def query_of(raw: bytes) -> str:
    """The query, as the client wrote it, without the question mark.

    Raises:
        Refused: it has characters that no query has.
    """
    if b"#" in raw or b" " in raw or _CONTROL.search(raw):
        raise Refused("The query of the request has characters that no query has.")
    return quoted(raw)
