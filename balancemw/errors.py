"""The errors of balancemw itself.

A failing replica never shows up as one of these: when tries run out the caller gets its own client's
last exception or last response. These say what only the balancer can know.

    BalanceError
      SettingsError         (ValueError)    the settings are wrong: every problem, one line each
      UnknownService        (KeyError)      no service of that name
      NoNodeAvailable                       nothing to send to, and failing open is not allowed
      DeadlineExceeded      (TimeoutError)  the whole call's time, or the inbound deadline, is up
      BalancerNotConfigured (RuntimeError)  a late-bound function was called before any balancer existed
"""

from collections.abc import Iterable
from difflib import get_close_matches


class BalanceError(Exception):
    """Root of every error that balancemw raises on its own account."""


class SettingsError(BalanceError, ValueError):
    """The settings are wrong.

    Attributes:
        problems: tuple of str, one per problem, each beginning with the full key as the user wrote it.
        of: what they are in.
    """

    def __init__(self, problems: Iterable[str], of: str = "the balancemw settings") -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        self.of = of
        count = len(self.problems)
        title = f"{count} problem{'s' if count != 1 else ''} in {of}:"
        super().__init__("\n".join([title, *(f"  - {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[type["SettingsError"], tuple[tuple[str, ...], str]]:
        return type(self), (self.problems, self.of)


class UnknownService(BalanceError, KeyError):
    """No service has this name; the message names the nearest one."""

    def __str__(self) -> str:  # KeyError would show the repr of the message
        return str(self.args[0]) if self.args else ""


class NoNodeAvailable(BalanceError):
    """The service has no node, or every node is marked down or draining by someone who must be obeyed.

    Attributes:
        retry_after: seconds after which trying again is sensible, for a ``Retry-After`` header.
    """

    def __init__(self, message: str = "", retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineExceeded(BalanceError, TimeoutError):
    """The time of the whole call, or of the inbound request, is up."""


class BalancerNotConfigured(BalanceError, RuntimeError):
    """A function decorated with ``balanced`` ran where no balancer was installed."""


def in_dialect(error: BalanceError, no_node: type[NoNodeAvailable], too_late: type[DeadlineExceeded]) -> BalanceError:
    """`error` as what a client's own ``except`` catches too, with all that it tells; other errors as they are.

    Args:
        error: what a call raised.
        no_node, too_late: subclasses that are the client's as well.
    """
    told: BalanceError
    if isinstance(error, NoNodeAvailable):
        told = no_node(str(error), error.retry_after)
    elif isinstance(error, DeadlineExceeded):
        told = too_late(str(error))
    else:
        return error
    for note in getattr(error, "__notes__", ()):
        told.add_note(note)
    told.__cause__ = error.__cause__
    return told


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt `word`: ``"; did you mean 'backoff'?"``, or ``""`` when nothing is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""
