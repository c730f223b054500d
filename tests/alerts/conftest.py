from tests.adapters.conftest import replicas, state

__all__ = ["replicas", "state"]
