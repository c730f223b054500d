"""Discovery: where the nodes of a service are found, and how its pool keeps in step with that.

`found` is what a source answers, `directory` what comes of it in the pool; both decide only. `finder` asks. There is a
module for each kind of source: `dns` and `srv` (on `resolver`), `file`, `consul`, `kubernetes` (both on `web`) and
`function`, the user's own.
"""

from balancemw.discovery.finder import Finder

__all__ = ["Finder"]
