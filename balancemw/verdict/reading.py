"""Reading exceptions and responses of any make. Nothing here raises, whatever their authors did."""

import re

_LENGTH = 200
_READ = 2000  # of a message, at most: the expressions below need not run over a whole page of HTML
_USERINFO = re.compile(r"(?<=//)\S*@|(?<![^\s/:])[^\s/:]+:[^\s/]*@")
_QUERY = re.compile(r"\?\S+")


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


def in_words(error: BaseException) -> str:
    """``Type: message`` in one line of at most 200 characters, without userinfo and query strings of urls."""
    text = message(error)
    if len(text) > _READ:
        text = text[:_READ].rpartition(" ")[0]  # half a url could hide its userinfo from the expression
    text = _QUERY.sub("?…", _USERINFO.sub("***@", text))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= _LENGTH else line[: _LENGTH - 1] + "…"


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
