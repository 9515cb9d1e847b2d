"""What Flower keeps of the events it sees: of jobs all that our workers tell, of other tasks no values.

Another application's producers and workers may send events to the same Redis, with the arguments of their tasks in
them: a producer with `task_send_sent_event` tells the rows that it writes, a task behind a read in a chain those that
it got. Our workers' events hold none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flower import events
from lakequeue.job_states import JobHistory
from lakequeue.outcomes import FINAL
from lakequeue.wire import TASKS, summary

HELD_BACK = frozenset({"args", "kwargs", "result", "exception", "traceback"})

UNKNOWN = "UNKNOWN"
"""Of a job that Flower saw begin, and the queue does not know any more."""

ENDED = FINAL | {UNKNOWN}


class JobEvents(events.EventsState):  # type: ignore[misc]
    """Flower's memory; pickled into its history."""

    def event(self, event: dict[str, Any]) -> None:
        kind = event["type"]
        if kind.startswith("task-"):
            if kind == "task-sent" or event.get("name") not in TASKS:
                event = {name: value for name, value in event.items() if name not in HELD_BACK}
            if kind == "task-received":
                self._forget_ended(event["uuid"])
        super().event(event)

    def _forget_ended(self, task_id: str) -> None:
        """A job that is received begins: what ended before under its id, long ago, was another. Celery's own order of
        states would keep that one's."""
        task = self.tasks.data.get(task_id)
        if task is not None and task.state in ENDED:
            del self.tasks[task_id]
            self.search_engine.remove(task_id)

    def unfinished(self, most: int) -> list[str]:
        """Jobs that have not ended as far as is known here, those heard of last first."""
        found = [task for task in self.tasks.data.values() if task.state not in ENDED]
        found = [task for task in found if task.name is None or task.name in TASKS]
        found.sort(key=lambda task: task.timestamp or 0, reverse=True)
        return [task.uuid for task in found[:most]]

    def correct(self, job_ids: list[str], histories: Mapping[str, JobHistory]) -> None:
        """Take over what Redis says of jobs: an event may have been lost, or sent while nobody listened."""
        for job_id in job_ids:
            task = self.tasks.data.get(job_id)
            history = histories.get(job_id)
            if task is None or task.state in ENDED:
                continue  # it ended meanwhile
            if history is None:
                if task.state == "PENDING":  # it was sent through Celery's door, and not taken in yet
                    continue
                task.state = UNKNOWN
            elif history.state == task.state and history.now.get("attempts", task.retries) == task.retries:
                continue
            else:
                _take_over(task, history)
            self.search_engine.upsert(task)


def _take_over(task: Any, history: JobHistory) -> None:
    now, receipt = history.now, history.receipt
    task.state = history.state
    if history.table and history.op:
        task.name = f"records.{history.op}"
        task.kwargs = summary(history.table, history.op, history.rows or 0, history.replay_of)
    attempts = receipt.get("attempts") or now.get("attempt") or now.get("attempts", 0) + (history.state == "RETRY")
    task.retries = max(task.retries or 0, len(history.tries), attempts - 1)
    batch = receipt.get("batch") or now.get("batch")
    if history.state == "RETRY" and history.tries:
        batch = history.tries[-1].get("batch")
    told = {
        "rows": receipt.get("rows", history.rows),
        "batch": batch,
        "error": now.get("error"),
    }
    task.result = repr({name: value for name, value in told.items() if value is not None})


def install() -> None:
    events.EventsState = JobEvents
