"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from math import inf
from typing import TYPE_CHECKING

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from balancemw.balancer import Balancer
from balancemw.context import Bound, Request
from balancemw.farewell import watch_sigterm
from balancemw.orca import REPORT
from balancemw.presence import Presence
from balancemw_django.serving import Serving, serve_body


def attend(own: Balancer, request: HttpRequest) -> HttpResponseBase | None:
    """The health document, if that is what is asked for."""
    presence = own.presence
    if not presence.watched:
        watch_sigterm(own, server="SERVER_SOFTWARE" in request.META)
    report = presence.report(request.method or "", request.path) if request.path == presence.path else None
    if report is None:
        return None
    return _told(HttpResponse(report.body, status=report.status, headers=dict(report.headers)), presence)


class Visit(Request):
    """A request, counted in by `Door.open`, and out again when its response, shown to `answer`, has been sent.

    If there is none, `fail` is to be told why.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        __init__ = object.__init__  # one in Python would cost as much as all that is set, by `Door.open`

    def answer(self, response: HttpResponseBase, bound: Bound | None) -> HttpResponseBase:
        """The project's response, with what it is to say of the app; `bound`: what held at the end of the view."""
        presence: Presence = self.balancer.presence
        if response.status_code >= 500 or self.note is not None or presence.draining:
            self._tell(response)
        if isinstance(response, StreamingHttpResponse):
            serve_body(response, Serving(self, bound))
            _leave_at_the_end(response, presence)
        else:
            self.until = inf  # as `conclude`
            next(presence.departures)  # as `Meter.leave`
        return response

    def _tell(self, response: HttpResponseBase) -> None:
        presence: Presence = self.balancer.presence
        presence.answered(self.note, response.status_code >= 500)
        if self.note is not None and self.note.asked and not response.has_header(REPORT):  # the project knows better
            said = presence.load_header(self.note.asked)
            if said is not None:
                response[REPORT] = said[1]
        if presence.draining:
            _told(response, presence)

    def fail(self, error: BaseException) -> None:
        """There is no response, because of `error`."""
        presence: Presence = self.balancer.presence
        if isinstance(error, Exception):
            presence.answered(self.note, True)
        presence.leave()


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
