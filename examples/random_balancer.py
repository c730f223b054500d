"""A balancer that spreads requests over nodes at random: each of N nodes is as likely as any other, P(i) = 1/N.

python examples/random_balancer.py [NODES [REQUESTS]]
"""

import sys
from collections import Counter

from balancemw import Balancer, Node


def main(nodes: int = 4, requests: int = 20_000) -> None:
    urls = [f"http://10.0.0.{number + 1}:8000" for number in range(nodes)]
    balancer = Balancer({"services": {"shop": {"nodes": urls, "strategy": "random"}}})
    served: Counter[Node] = Counter()

    @balancer.call("shop")
    def request(node: Node) -> None:
        served[node] += 1  # where an app would send something to node.url

    for _ in range(requests):
        request()

    print(f"{requests} requests, {nodes} nodes, 1/N = {1 / nodes:.2%}")
    for node in balancer["shop"].nodes:
        share = served[node] / requests
        print(f"{node.name:16} {served[node]:8} {share:8.2%} {'#' * round(share * 100)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
