"""balancemw for Flask."""

try:
    from balancemw_flask.extension import Balance
except ModuleNotFoundError as error:
    if error.name != "flask":
        raise
    raise ModuleNotFoundError("balancemw_flask needs Flask: pip install 'balancemw[flask]'", name="flask") from None

__all__ = ["Balance"]
