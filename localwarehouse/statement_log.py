"""Which statements ran: a bounded log of finished ones, and counts by kind since the start."""

import datetime
import sys
import threading
from collections import Counter, deque
from typing import Any

_KEPT = 100_000
_KEPT_TEXT = 20_000


class StatementLog:
    """Holds texts, never parameters' values. A statement counts when it starts and is logged when it ends.

    Where nobody may ask for the entries, `keep_entries` is false and only the counts are kept.
    """

    def __init__(self, keep_entries: bool) -> None:
        self._keep_entries = keep_entries
        self._guard = threading.Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._next = 0
        self._counts: Counter[str] = Counter()

    def count(self, kind: str) -> None:
        with self._guard:
            self._counts[kind] += 1

    def add(
        self,
        *,
        statement_id: str,
        kind: str,
        table: str | None,
        text: str,
        rows: int | None,
        started: datetime.datetime,
        ended: datetime.datetime,
        error: str | None,
    ) -> None:
        if not self._keep_entries:
            return
        with self._guard:
            self._entries.append(
                {
                    "seq": self._next,
                    "id": statement_id,
                    "kind": kind,
                    "table": table,
                    # One copy of a text that comes again and again.
                    "text": sys.intern(text[:_KEPT_TEXT]),
                    "rows": rows,
                    "started": started.isoformat(),
                    "ended": ended.isoformat(),
                    "state": "FINISHED" if error is None else "ERROR",
                    "error": error,
                }
            )
            self._next += 1

    def since(self, seq: int) -> dict[str, Any]:
        """The entries from `seq` on; `next` is where the following ones will begin."""
        with self._guard:
            first = self._next - len(self._entries)
            entries = list(self._entries)[max(0, seq - first) :]
            return {"next": self._next, "statements": entries}

    def counts(self) -> dict[str, int]:
        with self._guard:
            return dict(self._counts)
