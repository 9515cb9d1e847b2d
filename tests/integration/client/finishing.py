"""What a worker does at the end of a job, for tests that need an outcome and no worker."""

from __future__ import annotations

import json

import redis
from lakequeue import keys

RESULT = {"message": "done", "count": 1, "receipt": {}}


def job(job_id: str) -> dict[str, object]:
    return {"kind": "write", "table": "shop.sales.waits", "data": [{"id": 1}], "id": job_id}


def finish(client: redis.Redis, *job_ids: str, publish: bool = True) -> None:
    with client.pipeline(transaction=False) as pipe:
        for job_id in job_ids:
            key = keys.record(job_id)
            stored = client.get(key)
            assert isinstance(stored, bytes)
            text = json.dumps({**json.loads(stored), "status": "SUCCESS", "result": RESULT})
            pipe.set(key, text)
            if publish:
                pipe.publish(key, text)
        pipe.execute()
