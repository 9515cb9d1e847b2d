"""Flower's pages of tasks, replaced by ours: the list says what it leaves out, and a job's page is read from Redis."""

from __future__ import annotations

import asyncio
import logging
from functools import cache
from pathlib import Path
from typing import Any

from flower import urls
from flower.api.tasks import TaskResult
from flower.utils.tasks import get_task_by_id
from flower.views import BaseHandler
from flower.views.monitor import Metrics
from flower.views.tasks import TasksView, TaskView, visible_task_columns
from lakequeue import LakequeueError, Queue
from tornado import web
from tornado.template import Loader

from worker.pages import columns
from worker.pages.jobs import JobPage, LeftOut, job_page, left_out
from worker.settings import Settings

log = logging.getLogger(__name__)

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
        time = "natural-time" if options.natural_time else "time"
        if zone := self.application.capp.conf.timezone:
            time += f"-{zone}"
        self.render(
            "lakequeue-tasks.html",
            columns=visible_task_columns(options.tasks_columns),
            time=time,
            left_out=await _asked(left_out) or LeftOut.unknown(),
        )


class JobView(TaskView):  # type: ignore[misc]
    """One job. Redis knows it for a day after it ended, whatever Flower has seen of it."""

    @web.authenticated
    async def get(self, task_id: str) -> None:
        task = get_task_by_id(self.application.events, task_id)
        page = await _asked(job_page, task_id)
        if page is None and task is None:
            raise web.HTTPError(404, f"Unknown job '{task_id}'")
        seen = None if task is None else BaseHandler.format_task(self, task)
        self.render(
            "lakequeue-job.html",
            page=page or JobPage.of_events(seen),
            reached=page is not None,
            seen=seen,
            read_only=self.application.options.read_only,
        )


class ClosedMetrics(Metrics):  # type: ignore[misc]
    """Flower's own figures, which name workers: behind the password like its pages."""

    @web.authenticated
    async def get(self) -> None:
        answer = super().get()
        if asyncio.iscoroutine(answer):
            await answer


class NoResult(BaseHandler):  # type: ignore[misc]
    """Flower's API would hand out what a read brought."""

    @web.authenticated
    def get(self, task_id: str) -> None:
        raise web.HTTPError(404, "Results hold values of rows: ask the queue itself")


REPLACED = {TasksView: JobsView, TaskView: JobView, Metrics: ClosedMetrics, TaskResult: NoResult}


def install() -> None:
    """Put our handlers in the place of Flower's, before its application is made."""
    for index, rule in enumerate(urls.handlers):
        if isinstance(rule, tuple):
            path, handler, *rest = rule
            urls.handlers[index] = (path, REPLACED.get(handler, handler), *rest)
        else:
            rule.handler_class = rule.target = REPLACED.get(rule.handler_class, rule.handler_class)
    urls.settings["template_loader"] = Templates(urls.settings["template_path"])


@cache
def _queue() -> Queue:
    return Queue(Settings.from_env().redis_url)


async def _asked(ask: Any, *args: Any) -> Any:
    """What Redis says, None if it does not answer; Flower's loop goes on meanwhile."""
    try:
        return await asyncio.get_running_loop().run_in_executor(None, ask, _queue(), *args)
    except LakequeueError as exc:
        log.warning("%s", exc.message)
        return None


__all__ = ["columns", "install"]
