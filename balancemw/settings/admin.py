"""The settings of the admin surface."""

import re
from dataclasses import field
from typing import Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from balancemw.settings.fields import STRICT, Text
from balancemw.settings.words import shown

LEAST_TOKEN = 16
"""Characters below which a token is advised against: so many letters and digits are beyond guessing."""


def check_token(value: str) -> str:
    """A token as it can stand in an ``Authorization`` header; no message repeats it.

    Raises:
        ValueError: it cannot.
    """
    if not value:
        raise ValueError("is empty; leave it out, or name a secret")
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("a token has no spaces, and no characters outside of ASCII: it stands in a header")
    return value


def _path(value: str) -> str:
    path = value.rstrip("/")
    if not value.startswith("/"):
        raise ValueError(f"must begin with '/', got {shown(value)}")
    if not path:
        raise ValueError("must not be all of the app: write something like '/_balancer'")
    if not re.fullmatch(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)+", path) or any(
        part in (".", "..") for part in path.split("/")
    ):
        raise ValueError(f"expected a plain path like '/_balancer', got {shown(value)}")
    return path


Token = Annotated[Text, AfterValidator(check_token)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class AdminSettings:
    """Where the admin surface is, and who may use it.

    Attributes:
        token: what a client has to know; None: there is no surface.
        path: where it is, below where the app is mounted; without a slash at its end.
    """

    token: Token | None = field(default=None, repr=False)
    path: Annotated[Text, AfterValidator(_path)] = "/_balancer"
