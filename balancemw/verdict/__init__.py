"""How an exception is understood: what the clients' exceptions mean, and how far the request had come.

`fault` asks `judge`; that looks the exception up in the tables of `clients`, which leave errors of the system and of
TLS to `system`, and opens wrappers as far as what is inside is known. `phases` reads from tracebacks what exceptions
do not say themselves, and `reading` touches foreign objects so that nothing of theirs can raise.
"""
