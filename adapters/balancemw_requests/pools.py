"""The connection pools of the replicas."""

from collections.abc import Callable, Collection, Hashable
from typing import Any

from urllib3.poolmanager import PoolManager

Address = tuple[str, int]


class Pools(PoolManager):
    """A pool for every replica, however many there are, and none for long for those that have left.

    Args:
        present: the hosts and ports of all replicas.
        options: of urllib3's.
    """

    def __init__(self, present: Callable[[], Collection[Address]], **options: Any) -> None:
        super().__init__(**options)
        self._present = present
        self._enough = 16
        self._known: dict[Hashable, Any] = {}  # what urllib3 would find by a key that costs more than all the rest

    def get(self, key: Hashable, find: Callable[[], Any]) -> Any:
        """The pool that was found for `key` before, or `find()`."""
        pool = self._known.get(key)
        if pool is None or pool.pool is None:  # the latter: closed
            pool = self._known[key] = find()
        return pool

    def clear(self) -> None:
        """As urllib3's."""
        self._known.clear()
        super().clear()

    def _new_pool(self, *args: Any, **kwargs: Any) -> Any:
        # urllib3 means it to be overridden. It holds the lock of `pools`.
        if max(len(self.pools), len(self._known)) >= self._enough:
            self._forget()
        return super()._new_pool(*args, **kwargs)

    def _forget(self) -> None:
        present = self._present()
        for key in self.pools.keys():  # noqa: SIM118  it is no mapping that can be iterated
            if (key.key_host, key.key_port) not in present:
                del self.pools[key]
        self._known.clear()
        self._enough = max(16, 2 * len(self.pools))
