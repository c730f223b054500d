"""The kinds of sources by their settings. What needs an optional library is imported when it is used."""

from collections.abc import Callable
from importlib import import_module
from random import Random
from typing import cast

from balancemw.discovery.consul import Consul
from balancemw.discovery.file import File
from balancemw.discovery.found import Source
from balancemw.discovery.function import Function
from balancemw.discovery.kubernetes import Kubernetes
from balancemw.settings import (
    CallableSettings,
    ConsulSettings,
    DiscoverySettings,
    DnsSettings,
    FileSettings,
    KubernetesSettings,
    SrvSettings,
)


def describe(settings: DiscoverySettings) -> str:
    """The source in words, for messages."""
    match settings:
        case DnsSettings() | SrvSettings():
            return f"{settings.kind} {settings.name}"
        case FileSettings():
            return f"file {settings.path}"
        case ConsulSettings() | KubernetesSettings():
            return f"{settings.kind} service {settings.service}"
        case _:
            return f"callable {settings.kind}"


def open_source(settings: DiscoverySettings, rng: Random) -> Source:
    """The source that `settings` describe. Nothing is asked yet."""
    match settings:
        case DnsSettings():
            return _imported("dns:Dns")(settings)
        case SrvSettings():
            return _imported("srv:Srv")(settings)
        case FileSettings():
            return File(settings)
        case ConsulSettings():
            return Consul(settings, rng)
        case KubernetesSettings():
            return Kubernetes(settings, rng)
        case CallableSettings():
            return Function(settings)
        case _:
            raise TypeError(f"no source for {type(settings).__name__}")


def _imported(name: str) -> Callable[[DiscoverySettings], Source]:
    module, _, cls = name.partition(":")
    return cast("Callable[[DiscoverySettings], Source]", getattr(import_module(f"balancemw.discovery.{module}"), cls))
