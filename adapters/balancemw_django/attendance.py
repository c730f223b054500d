"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from balancemw.farewell import watch_sigterm
from balancemw.orca import FORMAT, REPORT
from balancemw.presence import Presence
from balancemw_django.own import balancer

_FORMAT = "HTTP_" + FORMAT.upper().replace("-", "_")


def attend(request: HttpRequest) -> HttpResponseBase | None:
    """The health document, if that is what is asked for."""
    own = balancer()
    watch_sigterm(own, server="SERVER_SOFTWARE" in request.META)
    report = own.presence.report(request.method or "", request.path)
    if report is None:
        return None
    return _told(HttpResponse(report.body, status=report.status, headers=dict(report.headers)), own.presence)


@contextmanager
def count_out(request: HttpRequest) -> Generator[Callable[[HttpResponseBase], HttpResponseBase], None, None]:
    """Count a request in, and out again when its response, to be shown to what this gives, has been sent."""
    presence = balancer().presence
    begun = streamed = False

    def counted(response: HttpResponseBase) -> HttpResponseBase:
        nonlocal begun, streamed
        begun = True
        presence.answered(arrival, response.status_code >= 500)
        streamed = isinstance(response, StreamingHttpResponse)
        if streamed:
            _leave_at_the_end(response, presence)
        asked = request.META.get(_FORMAT)
        if asked and not response.has_header(REPORT):  # the project knows better
            said = presence.load_header(asked)
            if said is not None:
                response[REPORT] = said[1]
        return _told(response, presence)

    arrival = presence.enter()
    try:
        yield counted
    except Exception:
        if not begun:
            presence.answered(arrival, True)
        raise
    finally:
        if not streamed:
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
