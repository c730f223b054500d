"""The settings: one mapping, the same keys everywhere, checked as a whole before anything starts.

`Settings.load` takes the mapping or a TOML file; `parse_nodes` takes what ``nodes`` in it takes; `advice` tells of
what is valid but cannot work together. Every error is a `SettingsError` that names all problems at once.
"""

from balancemw.settings.admin import AdminSettings
from balancemw.settings.advice import advice
from balancemw.settings.alerts import AlertSettings, MatchRule, Reaction
from balancemw.settings.document import Settings, parse_nodes
from balancemw.settings.hedge import HedgeSettings
from balancemw.settings.models import (
    EjectionSettings,
    InboundSettings,
    RetrySettings,
    RouteSettings,
    ServiceSettings,
    SlowStartSettings,
    StrategySettings,
)
from balancemw.settings.probe import ProbeSettings
from balancemw.settings.sources import (
    CallableSettings,
    ConsulSettings,
    DiscoverySettings,
    DnsSettings,
    FileSettings,
    KubernetesSettings,
    SrvSettings,
)
from balancemw.settings.state import StateSettings

__all__ = [
    "AdminSettings",
    "AlertSettings",
    "CallableSettings",
    "ConsulSettings",
    "DiscoverySettings",
    "DnsSettings",
    "EjectionSettings",
    "FileSettings",
    "HedgeSettings",
    "InboundSettings",
    "KubernetesSettings",
    "MatchRule",
    "ProbeSettings",
    "Reaction",
    "RetrySettings",
    "RouteSettings",
    "ServiceSettings",
    "Settings",
    "SlowStartSettings",
    "SrvSettings",
    "StateSettings",
    "StrategySettings",
    "advice",
    "parse_nodes",
]
