"""The admin surface for a WSGI app."""

from wsgiref.types import InputStream, StartResponse, WSGIEnvironment

from balancemw.admin import LONGEST_BODY, Admin, Asked
from balancemw_werkzeug.answer import give

_CHUNK = 65536


def admin_path(admin: Admin, environ: WSGIEnvironment) -> str | None:
    """The part of a request's path that is below ``admin.path``; None: the request is the app's."""
    path: str = environ.get("PATH_INFO", "")
    below = admin.below(path)
    return None if below is None else below.encode("latin-1").decode("utf-8", "replace")


def serve_admin(admin: Admin, below: str, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer a request to the admin surface; `below`: the path below ``admin.path``."""

    def header(name: str) -> str | None:
        key = name.upper().replace("-", "_")
        value: str | None = environ.get(key if key.startswith("CONTENT_") else f"HTTP_{key}")
        return value

    asked = Asked(environ["REQUEST_METHOD"], below, environ.get("QUERY_STRING", ""), header)
    reply = admin.gate(asked) or admin.answer(asked, _read(environ) if asked.has_body else b"")
    return give(reply, environ, start_response)


def _read(environ: WSGIEnvironment) -> bytes:
    """The body, or of one that is too long as much as shows that it is."""
    stream: InputStream = environ["wsgi.input"]
    left = LONGEST_BODY + 1
    length: str = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        left = min(left, int(length))
    elif not environ.get("wsgi.input_terminated") and "HTTP_TRANSFER_ENCODING" not in environ:
        return b""  # without a length, reading could wait for what never comes
    parts: list[bytes] = []
    while left > 0 and (part := stream.read(min(left, _CHUNK))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
