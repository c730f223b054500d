"""The list of nodes as a user may write it, and how it becomes `Node` objects."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainValidator, TypeAdapter, ValidationError, WrapValidator
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

from balancemw.node import Node, normal_url
from balancemw.settings.fields import STRICT, Positive, Text, Whole, plain
from balancemw.settings.words import a_list, shown


def _url(value: Any) -> str:
    try:
        return normal_url(value)
    except ValueError as error:
        # urllib repeats parts of what it cannot read, and anything before an "@" may be a password.
        if isinstance(value, str) and "@" in value:
            raise ValueError("expected a url like 'http://host:port', without a user or password") from None
        got = f", got {shown(value)}" if str(error) == "expected a url like 'http://host:port'" else ""
        raise ValueError(f"{error}{got}") from None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class NodeEntry:
    """One entry of ``nodes``, the long form: the same fields as `Node`."""

    url: Annotated[str, PlainValidator(_url)]
    weight: Positive = 1.0
    zone: Text = ""
    priority: Whole = 0
    metadata: Annotated[dict[Text, Any], BeforeValidator(plain)] = Field(default_factory=dict)


_ENTRY = TypeAdapter(NodeEntry)


def _node(value: Any) -> Node:
    if isinstance(value, Node):
        return value
    if isinstance(value, str):
        return Node(_url(value))
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a url or a mapping with one, got {shown(value)}")
    entry = _ENTRY.validate_python(dict(value))
    return Node(entry.url, entry.weight, entry.zone, entry.priority, entry.metadata)


def _address(value: Any) -> tuple[object, ...] | None:
    """What makes two nodes the same: ``http://a`` and ``http://A:80/`` are one. None for what is no node at all."""
    if isinstance(value, Mapping):
        value = value.get("url")
    try:
        node = value if isinstance(value, Node) else Node(value)
    except ValueError:
        return None
    parts = urlsplit(node.url)
    return parts.scheme, node.host, node.port, parts.path


def _unique(value: Any, handler: ValidatorFunctionWrapHandler) -> tuple[Node, ...]:
    """Duplicates are told together with whatever else is wrong with the list, not after it is mended."""
    faults: list[InitErrorDetails] = []
    nodes: tuple[Node, ...] = ()
    try:
        nodes = handler(value)
    except ValidationError as error:
        faults.extend(again(fault) for fault in error.errors(include_url=False))
    first: dict[tuple[object, ...], int] = {}
    for index, entry in enumerate(value):
        address = _address(entry)
        if address is not None and first.setdefault(address, index) != index:
            text = f"the same node as nodes[{first[address]}]; urls must be unique in a service"
            fault = PydanticCustomError("value_error", "{error}", {"error": ValueError(text)})
            faults.append({"type": fault, "loc": (index,), "input": None})
    if faults:
        raise ValidationError.from_exception_data("nodes", faults)
    return nodes


def again(fault: ErrorDetails) -> InitErrorDetails:
    """What pydantic found, to be raised once more together with what else is wrong."""
    return {"type": fault["type"], "loc": fault["loc"], "input": fault["input"], "ctx": fault.get("ctx", {})}


NodeList = Annotated[
    tuple[Annotated[Node, PlainValidator(_node)], ...],
    WrapValidator(_unique),
    a_list("urls", '["http://host:port"]', (list, tuple)),
]
