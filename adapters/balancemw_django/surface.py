"""The admin surface for a Django project."""

from typing import Any

from django.http import HttpRequest, HttpResponse

from balancemw.admin import LONGEST_BODY, Admin, Asked


def serve_admin(admin: Admin, below: str, request: HttpRequest) -> HttpResponse:
    """Answer a request to the admin surface; `below`: the path below ``admin.path``.

    No other middleware's `process_view` has been called for it, so that CSRF is not asked for: a bearer token, which no
    browser sends by itself, stands in its place.
    """
    asked = Asked(request.method or "", below, request.META.get("QUERY_STRING", ""), request.headers.get)
    reply = admin.gate(asked) or admin.answer(asked, _read(request) if asked.has_body else b"")
    if not request.path_info.endswith("/"):
        request.path_info += "/"  # or ``APPEND_SLASH`` might turn a 404 of ours into a redirect
    return HttpResponse(reply.body, status=reply.status, headers=dict(reply.headers))


def _read(request: HttpRequest) -> bytes:
    """The body, or of one that is too long as much as shows that it is."""
    stream: Any = request
    if not request.META.get("CONTENT_LENGTH") and request.META.get("wsgi.input_terminated"):
        stream = request.META["wsgi.input"]  # Django takes a body without a length for none
    body = b""
    while len(body) <= LONGEST_BODY and (part := stream.read(LONGEST_BODY + 1 - len(body))):
        body += part
    return body
