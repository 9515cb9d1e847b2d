"""What Flower's API may do here, and to whom anything answers."""

from __future__ import annotations

from typing import Any

from flower import urls
from flower.api import BaseApiHandler, control, tasks
from flower.api.workers import ListWorkers
from flower.views import BaseHandler
from flower.views.auth import LoginHandler
from flower.views.error import NotFoundErrorHandler
from flower.views.monitor import Healthcheck, Metrics
from lakequeue import Queue, UnknownJob
from lakequeue.outcomes import FINAL
from tornado import web
from tornado.options import options

from worker.pages import truth, views

OPEN = frozenset({Healthcheck})
"""Without a password: what an orchestrator asks, which says OK and nothing else. Flower's own style sheets and scripts
are open, too: they are the same everywhere."""


class Closed:
    """Nothing answers before the password is checked, not even that there is no such page."""

    def prepare(self) -> Any:
        try:
            _ = self.current_user  # type: ignore[attr-defined]  # raises 401
        except TypeError as exc:  # hmac.compare_digest takes text in ASCII only
            raise web.HTTPError(401) from exc
        return super().prepare()  # type: ignore[misc]


class Refused(BaseApiHandler):  # type: ignore[misc]
    """A command that would do nothing, or harm."""

    reason = ""

    @web.authenticated
    def get(self, *_: str) -> None:
        raise web.HTTPError(403, self.reason)

    post = get


class NoResult(Refused):
    reason = "Results hold values of rows: ask the queue itself"


class NoWait(Refused):
    reason = "Results hold values of rows: use send-task, and ask the queue itself"


class NoAbort(Refused):
    """Flower's would overwrite the job's record."""

    reason = "Use /api/task/revoke: it cancels a job that has not begun"


class NoEffect(Refused):
    reason = "These workers have no pool to resize, no other queues and no limits of Celery's: it would have no effect"


class Cancel(control.TaskRevoke):  # type: ignore[misc]
    """Cancels in Redis: Flower's own tells the workers, and says it is done even if none is there."""

    @web.authenticated
    async def post(self, taskid: str) -> None:
        if self.application.options.read_only:
            raise web.HTTPError(403, "Read only mode is enabled")
        was = await truth.asked(_cancel, taskid)
        if was is None:
            raise web.HTTPError(503, "Redis does not answer")
        if was == "":
            raise web.HTTPError(404, f"Unknown job '{taskid}'")
        if was not in ("QUEUED", "RETRY"):
            left = "it has ended" if was in FINAL else "what was sent to the warehouse cannot be taken back"
            raise web.HTTPError(409, f"Not cancelled: it is {was}; {left}")
        await truth.refresh(self.application.events.state)
        self.write({"message": f"Cancelled '{taskid}'"})


def _cancel(queue: Queue, job_id: str) -> str:
    try:
        return queue.operations.cancel(job_id)
    except (UnknownJob, ValueError):
        return ""


class AliveWorkers(ListWorkers):  # type: ignore[misc]
    """Flower keeps what it once learned of a worker for ever."""

    @web.authenticated
    async def get(self) -> None:
        members = await truth.alive()
        if members is not None:
            for name in [each for each in self.application.workers if each not in members]:
                del self.application.workers[name]
        await super().get()


class ClosedMetrics(Metrics):  # type: ignore[misc]
    """Flower's own figures, which name workers: with a login as with a password."""

    @web.authenticated
    async def get(self) -> None:
        await super().get()


class Login(LoginHandler):  # type: ignore[misc]
    """Where there is none, it is a page that does not exist."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if options.auth_provider:
            return super().__new__(cls, *args, **kwargs)
        return closed(NotFoundErrorHandler)(*args, **kwargs)


REPLACED: dict[Any, Any] = {
    **views.REPLACED,
    Metrics: ClosedMetrics,
    ListWorkers: AliveWorkers,
    tasks.TaskResult: NoResult,
    tasks.TaskApply: NoWait,
    tasks.TaskAbort: NoAbort,
    control.TaskRevoke: Cancel,
    control.WorkerPoolRestart: NoEffect,
    control.WorkerPoolGrow: NoEffect,
    control.WorkerPoolShrink: NoEffect,
    control.WorkerPoolAutoscale: NoEffect,
    control.WorkerQueueAddConsumer: NoEffect,
    control.WorkerQueueCancelConsumer: NoEffect,
    control.TaskTimout: NoEffect,
    control.TaskRateLimit: NoEffect,
    LoginHandler: Login,
}


def closed(handler: Any) -> Any:
    """The same handler behind the password."""
    if handler in OPEN or not issubclass(handler, BaseHandler) or handler is Login:
        return handler
    return type(handler.__name__, (Closed, handler), {})


def install() -> None:
    """Put our handlers in the place of Flower's, before its application is made."""
    for index, rule in enumerate(urls.handlers):
        if isinstance(rule, tuple):
            path, handler, *rest = rule
            urls.handlers[index] = (path, closed(REPLACED.get(handler, handler)), *rest)
        else:
            rule.handler_class = rule.target = closed(REPLACED.get(rule.handler_class, rule.handler_class))
    urls.settings["template_loader"] = views.Templates(urls.settings["template_path"])
