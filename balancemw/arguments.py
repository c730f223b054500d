"""Arguments of the public interface that make no sense, refused in one line where they are given."""

from numbers import Real


def check_number(rule: str, value: object) -> None:
    """Refuse a `value` that is no number; True and False are not meant as numbers.

    Args:
        rule: what it must be, as in "timeout is a number of seconds above 0".

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (float, int, Real)):
        raise TypeError(f"{rule}, not {value!r:.80}")


def check_key(key: object, *, callables: bool) -> None:
    """Refuse a `key` that calls cannot go by; `callables`: one that is called with the arguments of each call is fine.

    Raises:
        TypeError: it is neither.
    """
    if key is None or isinstance(key, str) or (callables and callable(key)):
        return
    also = " or a callable of the call's arguments" if callables else ""
    raise TypeError(f"key is a string{also}, not {key!r:.80}")


def check_service(name: object, decorator: str) -> None:
    """Refuse what cannot be the name of a service; a function is what `decorator` gets where it is written without one.

    Raises:
        TypeError: it is no string.
    """
    if isinstance(name, str):
        return
    if callable(name) or isinstance(name, classmethod):
        function = getattr(name, "__name__", "the function")
        raise TypeError(f'@{decorator} has to know the service: write @{decorator}("inventory") above {function}')
    raise TypeError(f"the name of a service is a string, not {name!r:.80}")
