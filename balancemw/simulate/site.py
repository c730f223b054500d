"""Where a simulated service runs: what its replicas are like, in which zones they are, and how far that is."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic.dataclasses import dataclass

from balancemw.settings.fields import STRICT, Count, CountOrOff, Flag, Positive, SecondsOrZero, Text
from balancemw.settings.words import a_list


def _named(value: tuple[str, ...]) -> tuple[str, ...]:
    if "" in value:
        raise ValueError('a zone needs a name, like "a"')
    return value


def _some(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value:
        raise ValueError("expected at least one, like [1]")
    return value


Zones = Annotated[tuple[Text, ...], AfterValidator(_named), a_list("zones", '["a", "b"]', (list, tuple))]
"""Names of zones, to be dealt out in turn; none: all is in one place."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Replica:
    """What the replicas are like.

    Attributes:
        workers: requests that each works on at once; further ones wait in its queue.
        queue: requests that may wait; further ones are answered 503.
        speeds: of the machines, dealt out in turn: of ``[1, 2, 4]`` the second is twice as fast as the first.
        weighted: whether the callers know the speeds, as weights.
        zones: in which the machines are, dealt out in turn; none: nobody asks.
    """

    workers: Count = 4
    queue: CountOrOff = 1000
    speeds: Annotated[tuple[Positive, ...], AfterValidator(_some), a_list("numbers", "[1, 2, 4]")] = (1.0,)
    weighted: Flag = False
    zones: Zones = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Network:
    """What is between callers and replicas.

    Attributes:
        delay: seconds that a request and its answer are on their way together, each for half of it.
        across: the same where they are in different zones.
    """

    delay: SecondsOrZero = 0.0005
    across: SecondsOrZero = 0.002


def _flag(value: Any) -> Any:
    return Network() if value is True else None if value is False else value


NetworkOrNone = Annotated[Network | None, BeforeValidator(_flag)]
"""`Network`, ``true`` for that by default, or none: then nothing takes time on its way."""
