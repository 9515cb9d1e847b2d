"""Messages of Celery's door that no worker reads, being too large or having ended workers; what becomes of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

from worker import ends
from worker.admission import Admission, refused

MOST_DEATHS = 3
"""So many workers may die with a message in hand, nothing beside it, before it is a dead letter."""


@dataclass(frozen=True, slots=True)
class Unread:
    """A message's `size` in bytes, its first and last bytes, and how many workers died with it."""

    size: int
    head: bytes
    tail: bytes
    deaths: int

    def refusal(self, now: datetime, *, most_bytes: int, table: str = "") -> tuple[Admission, Admission]:
        """What becomes of it: its sender is told, if an end tells who that is. The second is for a known id."""
        code = "KILLED_WORKER"
        reason = f"{self.deaths} workers died with this message in hand and nothing beside it: nothing was committed"
        if self.deaths < MOST_DEATHS:
            code = "MESSAGE_TOO_LARGE"
            reason = (
                f"the message is {self.size:,} bytes and a worker reads {most_bytes:,} "
                "(LAKEQUEUE_MAX_MESSAGE_BYTES): send the rows in several jobs"
            )
        mark = "unread-" + blake2b(b"%d %b %b" % (self.size, self.head, self.tail), digest_size=12).hexdigest()
        sender = ends.sender(self.head, self.tail)
        return refused(sender, reason, now, code=code, mark=mark, size=self.size, table=table)
