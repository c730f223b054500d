"""Forwarding a path of the app to a service: all rules, without any input or output.

An adapter asks `Routes.match` whether a request is to be forwarded, `request_head` for what a replica gets,
`response_head` for what the client gets, and `trouble` for the answer where there is none. The body goes through a
`Tee`. `Refused` carries the answer to a request that is not passed on.
"""

from balancemw.forward.body import Broken, Tee
from balancemw.forward.fields import Field
from balancemw.forward.paths import Match, Routes, query_of
from balancemw.forward.refusal import Refused
from balancemw.forward.request import Head, Visit, request_head
from balancemw.forward.response import Nonsense, Outside, bodiless, check_head, outward, response_head
from balancemw.forward.trouble import trouble

__all__ = [
    "Broken",
    "Field",
    "Head",
    "Match",
    "Nonsense",
    "Outside",
    "Refused",
    "Routes",
    "Tee",
    "Visit",
    "bodiless",
    "check_head",
    "outward",
    "query_of",
    "request_head",
    "response_head",
    "trouble",
]
