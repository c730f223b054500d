"""The journal as a table: word for word what the admin surface tells, with the demo's names for the nodes."""

from collections.abc import Iterator

from balancemw.demo.scene import Scene

HEADINGS = ("s", "node", "event", "by", "fault", "reason")

Row = tuple[str, str, str, str, str, str]


def told_by(scene: Scene) -> str:
    """Where it comes from, and who is who."""
    nodes = ", ".join(f"{name} is {node}" for node, name in scene.names.items())
    return f"The journal: GET {scene.stage.url}/_balancer/events\n{nodes}"


def entries(scene: Scene) -> Iterator[Row]:
    """An entry a row; the first column is seconds since the load began."""
    for event in scene.journal:
        node = scene.names.get(event["node"] or "", event["node"] or "")
        time = f"{event['time'] - scene.began:.1f}"
        yield time, node, event["event"], event["source"], event["fault"] or "", event["reason"]
