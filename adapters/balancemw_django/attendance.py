"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from balancemw.balancer import Balancer
from balancemw.farewell import watch_sigterm
from balancemw.inbound import wsgi_key
from balancemw.orca import FORMAT, REPORT
from balancemw.presence import Presence

_FORMAT = wsgi_key(FORMAT)


def attend(own: Balancer, request: HttpRequest) -> HttpResponseBase | None:
    """The health document, if that is what is asked for."""
    presence = own.presence
    if not presence.watched:
        watch_sigterm(own, server="SERVER_SOFTWARE" in request.META)
    report = presence.report(request.method or "", request.path) if request.path == presence.path else None
    if report is None:
        return None
    return _told(HttpResponse(report.body, status=report.status, headers=dict(report.headers)), presence)


class Visit:
    """A request that is counted in, and out again when its response, which is to be shown to `answer`, has been sent.

    If there is none, `fail` is to be told why.
    """

    __slots__ = ("_arrival", "_begun", "_presence", "_request", "_streamed")

    def __init__(self, presence: Presence, request: HttpRequest) -> None:
        self._request = request
        self._presence = presence
        self._begun = self._streamed = False
        self._arrival = presence.enter()

    def answer(self, response: HttpResponseBase) -> HttpResponseBase:
        """`response`, with what it is to say of the app."""
        presence = self._presence
        self._begun = True
        presence.answered(self._arrival, response.status_code >= 500)
        if isinstance(response, StreamingHttpResponse):
            self._streamed = True
            _leave_at_the_end(response, presence)
        asked = self._request.META.get(_FORMAT)
        if asked and not response.has_header(REPORT):  # the project knows better
            said = presence.load_header(asked)
            if said is not None:
                response[REPORT] = said[1]
        if presence.draining:
            _told(response, presence)
        if not self._streamed:
            presence.leave()
        return response

    def fail(self, error: BaseException) -> None:
        """There is no response, because of `error`."""
        if not self._begun and isinstance(error, Exception):
            self._presence.answered(self._arrival, True)
        if not self._streamed:
            self._presence.leave()


def _told(response: HttpResponseBase, presence: Presence) -> HttpResponseBase:
    for name, value in presence.headers():  # Connection is the server's affair
        response[name] = value
    return response


def _leave_at_the_end(response: HttpResponseBase, presence: Presence) -> None:
    close = response.close
    left = False

    def close_and_leave() -> None:
        nonlocal left
        if not left:
            left = True
            presence.leave()
        close()

    response.close = close_and_leave  # type: ignore[method-assign]
