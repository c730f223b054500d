"""Routes: which paths of the app are forwarded, and to whom."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic import TypeAdapter, ValidationError

from balancemw.errors import did_you_mean
from balancemw.settings.fields import plain
from balancemw.settings.models import RouteSettings
from balancemw.settings.report import Report
from balancemw.settings.words import Path, key_text, shown

_ROUTE = TypeAdapter(RouteSettings)


def parse_routes(raw: Mapping[Any, object], services: Mapping[Any, object], report: Report) -> dict[str, RouteSettings]:
    """Routes by their normal prefix; what is wrong with them is told to `report`.

    Args:
        raw: as the user wrote it.
        services: those that a route may name, as the user wrote them.
        report: takes the problems.
    """
    report.odd_keys(("routes",), raw)
    found: dict[str, RouteSettings] = {}
    written: dict[str, str] = {}
    for prefix, value in raw.items():
        if not isinstance(prefix, str):
            continue
        key = ("routes", prefix)
        normal = _prefix(prefix, key, report)
        if normal is not None and written.setdefault(normal, prefix) != prefix:
            report.add(key, f"the same prefix as {key_text(('routes', written[normal]))}")
        route = _route(value, key, services, report)
        if normal is not None and route is not None:
            found[normal] = route
    return found


def _prefix(prefix: str, key: Path, report: Report) -> str | None:
    try:
        return normal_prefix(prefix)
    except ValueError as error:
        report.add(key, str(error))
    return None


def normal_prefix(prefix: str) -> str:
    """The canonical form of a path `prefix`: percent-decoded, without a slash at the end unless it is just that.

    Raises:
        ValueError: no path that a request could have and that means the same to everyone.
    """
    if not prefix.startswith("/"):
        raise ValueError("a prefix must begin with '/'")
    if "?" in prefix or "#" in prefix:
        raise ValueError("a prefix has no query and no fragment")
    if re.search("%(?![0-9A-Fa-f]{2})", prefix):
        raise ValueError("a '%' in a prefix is followed by two hexadecimal digits")
    try:
        segments = [unquote_to_bytes(part).decode() for part in prefix.removesuffix("/").split("/")[1:]]
    except UnicodeError:
        raise ValueError("a prefix is text; percent-encoded, that of UTF-8") from None
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for part in segments for c in part):
        raise ValueError("a prefix has no control characters")
    if any("/" in part or "\\" in part for part in segments):
        raise ValueError("a prefix has no backslash and no encoded slash")
    if any(part.partition(";")[0] in ("", ".", "..") for part in segments):
        raise ValueError("a prefix has no empty segments and none that are '.' or '..'")
    return "/" + "/".join(segments)


def _route(value: object, key: Path, services: Mapping[Any, object], report: Report) -> RouteSettings | None:
    short = isinstance(value, str)
    if not short and not isinstance(value, Mapping):
        report.add(key, f"expected the name of a service or a mapping with one, got {shown(value)}")
        return None
    try:
        route = _ROUTE.validate_python({"service": value} if isinstance(value, str) else plain(value))
    except ValidationError as error:
        report.invalid(error, lambda path, _: (*key, *path), root="route")
        name = value.get("service") if isinstance(value, Mapping) else None
    else:
        name = route.service
        if name in services:
            return route
    if isinstance(name, str) and name not in services:
        known = [service for service in services if isinstance(service, str)]
        report.add(key if short else (*key, "service"), f"no service {shown(name)}{did_you_mean(name, known)}")
    return None
