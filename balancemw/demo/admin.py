"""The app's admin surface, as an operator, an Alertmanager and whoever reads the journal use it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp

from balancemw.demo.processes import Replica, Stage

ALERT = {"alertname": "StockIsStale", "severity": "critical", "service": "inventory"}
SUMMARY = "the stock it tells is 3600 s old"

_FINGERPRINT = "b9e5e5d8f0a1c3d7"  # Alertmanager derives it from the labels
_NEVER = "0001-01-01T00:00:00Z"  # how Alertmanager writes that an alert has not ended


class Admin:
    """A client of the admin surface. Every call may raise `aiohttp.ClientError` or `TimeoutError`.

    Args:
        stage: where the app is.
    """

    def __init__(self, stage: Stage) -> None:
        self._url = f"{stage.url}/_balancer"
        self._client = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=5.0),
            headers={"Authorization": f"Bearer {stage.token}"},
            raise_for_status=True,
        )
        self._fired_at = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def status(self) -> Mapping[str, Any]:
        """What is known of the service."""
        async with self._client.get(f"{self._url}/status") as response:
            return dict((await response.json())["services"]["inventory"])

    async def events(self, after: int) -> list[Mapping[str, Any]]:
        """The journal, from the entry that follows `after`."""
        async with self._client.get(f"{self._url}/events", params={"after": after}) as response:
            return list((await response.json())["events"])

    async def order(self, replica: Replica, action: str, reason: str) -> None:
        """Give an operator's order for a replica."""
        document = {"action": action, "reason": reason}
        url = f"{self._url}/services/inventory/nodes/{replica.node}"
        async with self._client.post(url, json=document) as response:
            await response.read()

    async def alert(self, replica: Replica, *, firing: bool) -> None:
        """Send what Alertmanager sends when an alert about a replica fires, and when it is resolved."""
        async with self._client.post(f"{self._url}/alerts", json=self._webhook(replica, firing)) as response:
            await response.read()

    def _webhook(self, replica: Replica, firing: bool) -> Mapping[str, object]:
        now, status = datetime.now(UTC).isoformat(), "firing" if firing else "resolved"
        self._fired_at = now if firing else self._fired_at
        labels = {**ALERT, "instance": replica.node}
        alert = {
            "status": status,
            "labels": labels,
            "annotations": {"summary": SUMMARY},
            "startsAt": self._fired_at,
            "endsAt": _NEVER if firing else now,
            "generatorURL": "",
            "fingerprint": _FINGERPRINT,
        }
        return {
            "version": "4",
            "groupKey": '{}:{alertname="StockIsStale"}',
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "balancemw",
            "groupLabels": {"alertname": labels["alertname"]},
            "commonLabels": labels,
            "commonAnnotations": alert["annotations"],
            "externalURL": "",
            "alerts": [alert],
        }
