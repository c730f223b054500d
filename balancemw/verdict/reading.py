"""Reading exceptions and responses of any make. Nothing here raises, whatever their authors did."""

import re
from http import HTTPStatus

_LENGTH = 200
_READ = 2000  # of a message, at most: nothing need be searched for in a whole page of HTML
_SUSPECT = re.compile(r"\S*[@?&]\S*")
_QUERY = re.compile(r"\?(?=\S)|&(?=\S*=)")  # after a blank, a query goes on without a question mark
_USERINFO = re.compile(r"(?<=//)\S*@|(?<![^\s/:])[^\s/:]+:[^\s/]*@")


def attribute(thing: object, name: str) -> object:
    """`thing`'s attribute `name`, None where there is none or its property raises."""
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


def message(error: BaseException) -> str:
    """What `error` says, ``""`` where its ``__str__`` raises."""
    try:
        return str(error)
    except Exception:
        return ""


def in_words(error: BaseException, prefix: str = "") -> str:
    """`prefix` and ``Type: message`` in one line of at most 200 characters, without the secrets of urls."""
    text = message(error)
    if len(text) > _READ:
        text = text[:_READ].rpartition(" ")[0]  # half a url could hide its userinfo from the expression
    text = _SUSPECT.sub(_without_secrets, text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = prefix + (f"{type(error).__name__}: {text}" if text else type(error).__name__)
    return line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"


def _without_secrets(match: re.Match[str]) -> str:
    """A word without the userinfo and the query string of the url that it may be."""
    word = match[0]
    if 0 <= word.find("?") < word.rfind("@"):  # a query with an @, or a password with a question mark
        scheme, slashes, _ = word.partition("//")
        return f"{scheme}//…" if slashes else "…"
    word = _USERINFO.sub("***@", word)
    query = _QUERY.search(word)
    return f"{word[: query.end()]}…" if query else word


def status_in_words(status: int) -> str:
    """``503 Service Unavailable``; the number alone of one that has no name."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def header(response: object, wanted: str) -> str:
    """The header `wanted`, in lower case, of a response of any client; ``""`` when it has none."""
    try:
        for name, value in response.headers.items():  # type: ignore[attr-defined]
            if _text(name).lower() == wanted:
                return _text(value).strip()
    except Exception:
        pass
    return ""


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
