"""What a pool tells the other workers' pools of its service, and what it asks of them."""

from balancemw.peer import Peer

Figures = tuple[int, int, int]
"""Of one node: calls in flight, calls ended, failures."""

NOTHING: Figures = (0, 0, 0)


class Partners:
    """None: nobody is told and everything is granted. Where state is shared another object takes this one's place.

    All methods run under the pool's lock and do no I/O.

    Attributes:
        proven: whether a probe of the service has ever passed, here or elsewhere.
    """

    proven = False

    def note(self, peer: Peer, source: str, now: float) -> None:
        """The mark of `source` was set or cleared here."""

    def struck(self) -> None:
        """A failure counted here towards the ejection of a peer."""

    def prove(self) -> None:
        """A probe has passed here."""
        self.proven = True

    def may_try(self, peer: Peer) -> bool:  # noqa: ARG002
        """Whether the peer's trial call may be sent from here: the pool has one, not each worker."""
        return True

    def elsewhere(self, peer: Peer) -> Figures:  # noqa: ARG002
        """The peer's figures in the other workers together."""
        return NOTHING

    def after_fork(self) -> None:
        """In a child process: what is under way is the parent's affair."""
