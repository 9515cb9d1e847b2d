"""No value of a row is on any page or in any answer of Flower, in no state, whoever tells of it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from celery import Celery
from selenium import webdriver

from tests.fix_browser import log_in
from tests.fix_celery_app import celery_app, close
from tests.pages.page import TasksPage
from tests.pages.stage import JOBS, SECRET, STOCK, Stage
from tests.support import until

DATATABLE = "/tasks/datatable?" + urlencode(
    {"draw": 1, "start": 0, "length": 100, "order[0][column]": 0, "columns[0][data]": "received"}
)
EVERY = [*JOBS, "queued-1"]


@pytest.fixture(scope="module")
def elsewhere(shown: Stage) -> Iterator[Celery]:
    """Another application on the same Redis, which sends events of its own."""
    app = celery_app(shown.redis.url)
    app.conf.task_send_sent_event = True
    yield app
    close(app)


def test_no_answer_of_the_api_holds_a_value(shown: Stage) -> None:
    lists = ["/api/tasks", DATATABLE, "/api/task/types", "/api/queues/length", "/api/workers?refresh=true"]
    paths = [*lists, "/workers?json=1", "/metrics"]
    paths += [f"/api/task/info/{job_id}" for job_id in JOBS]
    for path in paths:
        assert SECRET not in shown.flower.get(path), path
    assert set(JOBS) <= shown.flower.json("/api/tasks").keys()
    for job_id in EVERY:
        code, told = shown.flower.request(f"/api/task/result/{job_id}?timeout=1")
        assert (code, told) == (403, "Results hold values of rows: ask the queue itself")


def test_no_page_in_the_browser_holds_a_value(browser: webdriver.Chrome, shown: Stage) -> None:
    log_in(browser, shown.flower.authorization())
    assert set(TasksPage(browser, shown.flower).open().ids()) >= set(JOBS)
    assert SECRET not in browser.page_source
    for path in ("/workers", "/broker", "/worker/w1@test", *(f"/task/{job_id}" for job_id in EVERY)):
        browser.get(shown.flower.url + path)
        assert SECRET not in browser.page_source, path


def test_the_log_of_flower_holds_no_value(shown: Stage) -> None:
    assert SECRET not in shown.flower.text()


def test_what_another_producer_tells_of_a_job_is_not_kept(shown: Stage, elsewhere: Celery) -> None:
    """With `task_send_sent_event` Celery sends what was passed to the task to whoever listens."""
    row = {"id": 11, "note": SECRET}
    # The table waits for a retry of another job: this one does not begin.
    job = elsewhere.send_task("records.write", kwargs={"table": STOCK, "data": [row]}, task_id="sent-1")
    shown.seen({job.id: "QUEUED"})
    told = shown.flower.get("/api/tasks") + shown.flower.get(f"/api/task/info/{job.id}")
    assert SECRET not in told
    assert SECRET not in shown.flower.get(f"/task/{job.id}")


def test_what_another_worker_tells_of_its_tasks_is_not_kept(shown: Stage, elsewhere: Celery) -> None:
    """A task behind a read in a chain has the rows among its arguments."""
    with elsewhere.connection() as connection, elsewhere.events.Dispatcher(connection, hostname="other@test") as sends:
        told = {"uuid": "foreign-1", "name": "mail.send", "args": f"('{SECRET}',)", "kwargs": f"{{'a': '{SECRET}'}}"}
        sends.send("task-received", **told)
        sends.send("task-started", uuid="foreign-1")
        sends.send("task-failed", uuid="foreign-1", exception=f"E('{SECRET}')", traceback=SECRET, result=SECRET)
        shown.seen({"foreign-1": "FAILURE"})
    assert SECRET not in shown.flower.get("/api/task/info/foreign-1") + shown.flower.get("/api/tasks")
    assert SECRET not in shown.flower.get("/task/foreign-1") + shown.flower.get(DATATABLE)


@pytest.mark.parametrize("name", ["records.read", "mail.send"])
def test_nothing_is_run_for_its_result(shown: Stage, name: str) -> None:
    code, told = shown.flower.request(f"/api/task/apply/{name}", method="POST")
    assert (code, told) == (403, "Results hold values of rows: use send-task, and ask the queue itself")


def test_a_name_that_is_markup_is_shown_as_it_is(browser: webdriver.Chrome, shown: Stage, elsewhere: Celery) -> None:
    """Anyone may send events: what they say is text."""
    markup = "<img src=x onerror=document.title='run'>"
    with elsewhere.connection() as connection, elsewhere.events.Dispatcher(connection, hostname="evil@test") as sends:
        asked = repr({"table": markup, "op": markup, "rows": markup, "replay_of": f"{markup}/../"})
        became = repr({"batch": markup, "error": markup})
        told = {"name": "records.write", "kwargs": asked, "retries": markup}
        for job_id in ("evil-1", f"evil {markup}"):
            sends.send("task-received", uuid=job_id, **told)
            sends.send("task-failed", uuid=job_id, result=became, exception=markup, **told)
        shown.seen({"evil-1": "FAILURE"})
    log_in(browser, shown.flower.authorization())
    page = TasksPage(browser, shown.flower).open("?state=FAILURE")
    until(lambda: any(row["table"] == markup for row in page.rows()), "it is listed")
    assert browser.title != "run"
    browser.get(f"{shown.flower.url}/task/evil-1")
    assert markup in page.text("#job-facts")
    assert browser.title != "run"
