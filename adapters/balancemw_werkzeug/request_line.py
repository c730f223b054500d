"""A request as the client sent it, out of an environ, which has taken it apart."""

from collections.abc import Iterator
from urllib.parse import quote, unquote_to_bytes
from wsgiref.types import WSGIEnvironment

from balancemw.forward import Field

_RAW = ("RAW_URI", "REQUEST_URI")  # gunicorn, werkzeug; uWSGI, waitress, mod_wsgi, werkzeug


def raw_path(environ: WSGIEnvironment) -> bytes:
    """The path as the client wrote it, where the server tells that; else as it would be written."""
    decoded = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    for path in raw_paths(environ):
        if unquote_to_bytes(path) == decoded:  # else something between the server and us has changed it
            return path
    return quote(decoded).encode()


def raw_paths(environ: WSGIEnvironment) -> Iterator[bytes]:
    """What the server tells of the path as the client wrote it."""
    for name in _RAW:
        target = environ.get(name)
        if isinstance(target, str):
            yield _path(target).encode("latin-1", "replace")


def root_of(environ: WSGIEnvironment) -> str:
    """Where the app is mounted, decoded."""
    root: str = environ.get("SCRIPT_NAME", "")
    return root.encode("latin-1").decode("utf-8", "surrogateescape")


def _path(target: str) -> str:
    path = target.partition("?")[0]
    if path.startswith("/"):
        return path
    _, scheme, rest = path.partition("://")  # the absolute form, that a client sends to a proxy
    return "/" + rest.partition("/")[2] if scheme else path


def fields_of(environ: WSGIEnvironment) -> list[Field]:
    """The headers. A server joins repeated ones, and has replaced underscores or dropped what had some."""
    fields = [
        (key[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for key, value in environ.items()
        if key.startswith("HTTP_") and key not in ("HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE")
    ]
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        value = environ.get(key)
        if value:
            fields.append((key.replace("_", "-").lower().encode(), str(value).encode("latin-1")))
    return fields


def version_of(environ: WSGIEnvironment) -> str:
    """The version of HTTP that the client spoke, such as ``"1.1"``."""
    _, _, version = environ.get("SERVER_PROTOCOL", "").partition("/")
    return version or "1.1"
