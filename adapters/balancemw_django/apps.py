"""What Django does with the app when it starts: next to nothing, as it starts for every command."""

from django.apps import AppConfig
from django.core.checks import register

from balancemw.balancer import install_lazily
from balancemw_django.checks import check_middleware, check_settings
from balancemw_django.own import balancer


class BalanceConfig(AppConfig):
    """Registers the system checks, and lets `balanced` find the balancer in commands, tasks and shells."""

    name = "balancemw_django"
    label = "balancemw"
    verbose_name = "balancemw"

    def ready(self) -> None:
        """Open, start and validate nothing: this runs for every command, and twice under ``runserver``."""
        register(check_settings, self.label)
        register(check_middleware, self.label)
        install_lazily(balancer)
