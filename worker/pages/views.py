"""Flower's pages, replaced by ours where they would say less than the queue knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flower.api.tasks import ListTasks, TaskInfo
from flower.utils.tasks import get_task_by_id
from flower.views import BaseHandler
from flower.views.broker import BrokerView
from flower.views.tasks import TasksDataTable, TasksView, TaskView, visible_task_columns
from flower.views.workers import WorkersView, WorkerView
from tornado import web
from tornado.template import Loader

from worker.pages import truth
from worker.pages.jobs import JobPage, Waiting, job_page, queues, waiting

OURS = Path(__file__).parent / "templates"


class Templates(Loader):
    """Flower's templates, and ours beside them."""

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        if name.startswith("lakequeue-"):
            return str(OURS / name)
        return str(super().resolve_path(name, parent_path))


class JobsView(TasksView):  # type: ignore[misc]
    """The list of tasks."""

    @web.authenticated
    async def get(self) -> None:
        options = self.application.options
        time, zone = "natural-time" if options.natural_time else "time", self.application.capp.conf.timezone
        self.render(
            "lakequeue-tasks.html",
            columns=visible_task_columns(options.tasks_columns),
            time=f"{time}-{zone}" if zone else time,
            zone=zone or "UTC",
            waiting=await truth.asked(waiting) or Waiting(known=False),
        )


class JobsTable(TasksDataTable):  # type: ignore[misc]
    """What the list of tasks asks for."""

    @web.authenticated
    async def get(self) -> None:
        await truth.refresh(self.application.events.state)
        super().get()


class JobsList(ListTasks):  # type: ignore[misc]
    @web.authenticated
    async def get(self) -> None:
        await truth.refresh(self.application.events.state)
        super().get()


class JobInfo(TaskInfo):  # type: ignore[misc]
    @web.authenticated
    async def get(self, taskid: str) -> None:
        await truth.refresh(self.application.events.state)
        super().get(taskid)


class JobView(TaskView):  # type: ignore[misc]
    """One job. Redis knows it for a day after it ended, whatever Flower has seen of it."""

    @web.authenticated
    async def get(self, task_id: str) -> None:
        task = get_task_by_id(self.application.events, task_id)
        page = await truth.asked(job_page, task_id)
        if page is None and task is None:
            raise web.HTTPError(404, f"Unknown job '{task_id}'")
        seen = None if task is None else BaseHandler.format_task(self, task)
        self.render(
            "lakequeue-job.html",
            page=page or JobPage.of_events(seen),
            reached=page is not None,
            worker=seen.worker.hostname if seen is not None and seen.worker else None,
            read_only=self.application.options.read_only,
        )


class AllWorkers(WorkersView):  # type: ignore[misc]
    """The list of workers, as a page and as what it asks for."""

    @web.authenticated
    async def get(self) -> None:
        options = self.application.options
        if self.get_argument("refresh", default=False, type=bool):
            self.application.update_workers()
        rows = truth.listed(self.application.events.state, await truth.alive(), purge_s=options.purge_offline_workers)
        if self.get_argument("json", default=False, type=bool):
            self.write({"data": list(rows.values())})
        else:
            self.render(
                "workers.html",
                workers=rows,
                broker=self.application.broker_uri,
                autorefresh=1 if options.auto_refresh else 0,
            )


class OneWorker(WorkerView):  # type: ignore[misc]
    """A worker's page: what it says of itself, and the batches under way. Pool, limits and consumers of a Celery
    worker mean nothing here."""

    @web.authenticated
    async def get(self, name: str) -> None:
        member = (await truth.alive() or {}).get(name)
        if member is None:
            raise web.HTTPError(404, f"No worker '{name}' is alive")
        await self.application.update_workers(workername=name)
        self.render(
            "lakequeue-worker.html",
            worker=member,
            batches=self.application.workers.get(name, {}).get("active", []),
            read_only=self.application.options.read_only,
        )


class QueuesView(BrokerView):  # type: ignore[misc]
    """Where jobs wait: each table has a list of its own."""

    @web.authenticated
    async def get(self) -> None:
        self.render("lakequeue-queues.html", broker_url=self.application.broker_uri, overview=await truth.asked(queues))


REPLACED: dict[Any, Any] = {
    TasksView: JobsView,
    TasksDataTable: JobsTable,
    TaskView: JobView,
    ListTasks: JobsList,
    TaskInfo: JobInfo,
    WorkersView: AllWorkers,
    WorkerView: OneWorker,
    BrokerView: QueuesView,
}
