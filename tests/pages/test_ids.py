"""Jobs with the ids that Celery applications give them: each has its page, and Cancel cancels that job alone."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import quote

from lakequeue import Queue

from tests.fix_flower import Flower
from worker.embedded import embedded_redis

IDS = ["orders/2024/17", "a/../b", "a?b", "a#b", "%41", "größe@shop"]
OTHERS = ["orders", "a", "b", "A"]


def test_the_page_of_a_job_is_found_and_cancels_it_whatever_its_id(tmp_path: Path) -> None:
    with embedded_redis(tmp_path / "redis") as server, Queue(server.url) as queue:
        for each in [*IDS, *OTHERS]:
            queue.write("main.sales.orders", [{"id": 1}], id=each)
        flower = Flower({"LAKEQUEUE_REDIS_URL": server.url}, tmp_path)
        try:
            for each in IDS:
                page = flower.get(f"/task/{quote(each, safe='')}")
                assert f"<code>{each}</code>" in page
                # flower.js puts it into the address as it is.
                (in_address,) = re.findall(r'<p id="taskid"[^>]*>(.*?)</p>', page)
                assert flower.status(f"/api/task/revoke/{unescape(in_address)}", method="POST") == 200
        finally:
            flower.stop()
        assert [queue.job(each).status().state for each in IDS] == ["REVOKED"] * len(IDS)
        assert [queue.job(each).status().state for each in OTHERS] == ["QUEUED"] * len(OTHERS)
