from tests.adapters.conftest import replicas

__all__ = ["replicas"]
