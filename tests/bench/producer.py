"""`python -m tests.bench.producer URL TABLE FIRST COUNT`: enqueues one-row jobs, ids from FIRST on.

Prints its peak memory in KiB.
"""

from __future__ import annotations

import resource
import sys

from lakequeue import Queue

from tests.bench.stand import job


def main() -> None:
    url, table, first, count = sys.argv[1:]
    with Queue(url) as queue:
        for _ in queue.enqueue_many(job(int(first) + i, table) for i in range(int(count))):
            pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()
