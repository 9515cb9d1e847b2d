"""What Flower shows when workers die, when it is restarted itself, and when more ends than it can follow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lakequeue import JobFailed
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.fix_browser import log_in
from tests.pages.page import TasksPage, facts
from tests.pages.stage import COLUMNS, ORDERS, PRICES, Stage, stage
from tests.support import make_tables, until

SHOWN_PER_S = 5
FAILING = range(0, 300, 60)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A worker that shows few jobs a second, and a Flower that forgets workers soon."""
    folder = tmp_path_factory.mktemp("busy")
    with stage(folder, purge_s=1, settings={"LAKEQUEUE_EVENTS_PER_S": str(SHOWN_PER_S)}) as made:
        make_tables(made.warehouse, ORDERS, PRICES, columns=COLUMNS)
        yield made


def names(browser: webdriver.Chrome) -> dict[str, str]:
    """The workers on the page, and whether each is online."""
    read = """
        return Object.fromEntries([...document.querySelectorAll('#workers-table tbody tr')].map(
            row => [row.cells[0].textContent.trim(), row.cells.length > 1 ? row.cells[1].textContent.trim() : '']));
    """
    found: dict[str, str] = browser.execute_script(read)
    return found


def test_of_many_jobs_failures_are_shown_and_successes_thinned(busy: Stage, browser: webdriver.Chrome) -> None:
    """One table, so that they end in few batches; the failing ones are refused by the worker."""
    jobs = [{"kind": "write", "table": ORDERS, "data": [{"id": "x" if i in FAILING else i}]} for i in range(300)]
    handles = list(busy.queue.enqueue_many(job | {"id": f"many-{i}"} for i, job in enumerate(jobs)))
    for i, handle in enumerate(handles):
        if i in FAILING:
            with pytest.raises(JobFailed):
                handle.result(timeout=30)
        else:
            handle.result(timeout=30)
    failed = {f"many-{i}" for i in FAILING}
    busy.seen(dict.fromkeys(failed, "FAILURE"))
    states = busy.flower.states()
    succeeded = {job_id for job_id, state in states.items() if state == "SUCCESS"}
    assert len(states) == len(succeeded) + len(failed)
    assert 0 < len(succeeded) < 100
    left_out = 300 - len(states)

    log_in(browser, busy.flower.authorization())
    page = TasksPage(browser, busy.flower).open()
    told = f"{left_out} successful jobs of the last minute are not shown ({left_out} since the workers started)"
    until(lambda: told in page.open().text("#left-out"), told)
    assert "Failures are always shown." in page.text("#left-out")
    assert set(page.search("state:FAILURE")) == failed

    missing = next(f"many-{i}" for i in range(300) if f"many-{i}" not in states)
    browser.get(f"{busy.flower.url}/task/{missing}")
    assert facts(browser, "#job-facts")["State"] == "SUCCESS"
    assert facts(browser, "#job-receipt")["Rows"] == "1"
    assert browser.find_elements(By.ID, "not-reached") == []

    # The figures of the workers' page are theirs, and nothing is left out of them.
    row = next(row for row in busy.flower.json("/workers?json=1")["data"] if row["hostname"] == "w1@test")
    assert (row["task-received"], row["task-failed"], row["task-succeeded"]) == (300, 5, 295)


def test_a_job_that_ends_while_flower_is_down_is_not_left_running(busy: Stage, browser: webdriver.Chrome) -> None:
    """Its history outlives a restart; what happened meanwhile it learns from Redis."""
    until(lambda: busy.warehouse.held() == 0, "nothing is held")
    busy.hold(PRICES)
    running = busy.queue.write(PRICES, [{"id": 1}], id="outlives")
    busy.seen({"outlives": "STARTED"})
    before = busy.flower.states()
    busy.flower.stop()
    busy.warehouse.release()
    running.result(timeout=30)
    busy.flower.start()
    after = busy.flower.states()
    assert len(before) > 10
    assert after == {**before, "outlives": "SUCCESS"}
    log_in(browser, busy.flower.authorization())
    page = TasksPage(browser, busy.flower).open("?state=SUCCESS")
    (row,) = [row for row in page.rows() if row["id"] == "outlives"]
    assert (row["table"], row["op"], row["rows"], row["retries"]) == (PRICES, "write", "1", "0")
    assert len(row["batch"]) == 16


def test_workers_that_are_gone_are_not_shown(busy: Stage, browser: webdriver.Chrome) -> None:
    """One is killed with a statement under way, another stopped."""
    second, third = busy.start_workers("w2", "w3")
    log_in(browser, busy.flower.authorization())
    browser.get(f"{busy.flower.url}/workers")
    everyone = {"w1@test": "Online", "w2@test": "Online", "w3@test": "Online"}
    until(lambda: everyone.items() <= names(browser).items(), "all are online")
    assert busy.flower.json("/api/workers?refresh=true").keys() >= everyone.keys()
    second.kill()
    assert third.stop() == 0
    until(lambda: "w2@test" not in names(browser) and "w3@test" not in names(browser), "both are gone from the page")
    assert names(browser)["w1@test"] == "Online"
    assert browser.find_element(By.ID, "workers-online").text == "1"
    assert busy.flower.json("/api/workers").keys() == {"w1@test"}
    assert busy.flower.status("/worker/w2@test") == 404
    assert "w2@test" not in busy.flower.get("/metrics")


def test_a_workers_page_says_what_the_worker_says_of_itself(busy: Stage, browser: webdriver.Chrome) -> None:
    log_in(browser, busy.flower.authorization())
    browser.get(f"{busy.flower.url}/worker/w1@test")
    told = facts(browser, "#worker-facts")
    assert told["Pid"] == str(busy.workers[0].pid)
    assert told["Warehouse"] == "up"
    assert told["Ended"].startswith("success ")
    buttons = [button.get_attribute("id") for button in browser.find_elements(By.CSS_SELECTOR, "main button")]
    assert buttons == ["worker-shutdown"]


def test_a_worker_is_shut_down_by_its_button(busy: Stage, browser: webdriver.Chrome) -> None:
    (fourth,) = busy.start_workers("w4")
    log_in(browser, busy.flower.authorization())
    browser.get(f"{busy.flower.url}/worker/w4@test")
    browser.find_element(By.ID, "worker-shutdown").click()
    assert fourth.process.wait(timeout=30) == 0


def test_without_redis_the_pages_say_so_soon(busy: Stage, browser: webdriver.Chrome) -> None:
    """The last of these: it ends Redis."""
    busy.redis.kill()
    log_in(browser, busy.flower.authorization())
    page = TasksPage(browser, busy.flower).open()
    assert "Redis does not answer" in page.text("#left-out")
    assert "outlives" in page.ids()
    browser.get(f"{busy.flower.url}/task/outlives")
    assert facts(browser, "#job-facts")["State"] == "SUCCESS"
    assert "this is what Flower saw of it" in page.text("#not-reached")
    assert busy.flower.status("/healthcheck", open_=True) == 200
    busy.flower.process.terminate()
    assert busy.flower.process.wait(timeout=15) == 0
