"""The list of jobs and a job's page in a browser, with a real job in every state."""

from __future__ import annotations

from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.fix_browser import log_in
from tests.pages.page import TasksPage, facts
from tests.pages.stage import JOBS, ORDERS, PRICES, STOCK, Stage
from tests.support import until


@pytest.fixture(scope="module")
def listed(browser: webdriver.Chrome, shown: Stage) -> TasksPage:
    """The list of jobs, opened once; what was searched on it stays."""
    log_in(browser, shown.flower.authorization())
    return TasksPage(browser, shown.flower).open()


@pytest.fixture
def page(listed: TasksPage) -> TasksPage:
    return listed.open()


@pytest.fixture(scope="module")
def rows(listed: TasksPage) -> list[dict[str, str]]:
    return listed.rows()


def job_page(page: TasksPage, shown: Stage, job_id: str) -> dict[str, str]:
    page.browser.get(f"{shown.flower.url}/task/{job_id}")
    return facts(page.browser, "#job-facts")


def comes(page: TasksPage, job_id: str) -> dict[str, str]:
    """Until what was clicked has led to the job's page."""
    until(lambda: facts(page.browser, "#job-facts").get("Job") == job_id, f"the page of {job_id} is there")
    return facts(page.browser, "#job-facts")


@pytest.mark.parametrize(
    ("job_id", "state", "table", "op", "count", "error", "retries"),
    [
        ("done:1", "SUCCESS", ORDERS, "write", "12", "", "0"),
        ("read.1", "SUCCESS", ORDERS, "read", "2", "", "0"),
        ("update-1", "SUCCESS", ORDERS, "update", "1", "", "0"),
        ("retried-1", "SUCCESS", PRICES, "write", "1", "", "1"),
        ("refused_1", "FAILURE", ORDERS, "write", "1", "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES", "0"),
        ("denied:1", "FAILURE", PRICES, "write", "1", "INSUFFICIENT_PERMISSIONS", "0"),
        ("retrying-1", "RETRY", STOCK, "write", "1", "DELTA_CONCURRENT_APPEND", "1"),
        ("cancelled-1", "REVOKED", ORDERS, "write", "1", "", "1"),
        ("started-1", "STARTED", PRICES, "write", "1", "", "0"),
    ],
)
def test_a_row_says_what_a_job_does_and_what_became_of_it(
    rows: list[dict[str, str]], job_id: str, state: str, table: str, op: str, count: str, error: str, retries: str
) -> None:
    (found,) = [row for row in rows if row["id"] == job_id]
    told = [found[name] for name in ("state", "table", "op", "rows", "error", "retries")]
    assert told == [state, table, op, count, error, retries]
    assert len(found["batch"]) == (0 if job_id == "cancelled-1" else 16)
    assert found["worker"] == "w1@test"
    assert found["received"][:2] == "20"


def test_the_columns_have_names_and_times_have_a_zone(page: TasksPage) -> None:
    heads = page.browser.find_elements(By.CSS_SELECTOR, ".dataTables_scrollHead th")
    names = [head.get_attribute("textContent") for head in heads]
    assert names[1:8] == ["State", "Table", "Op", "Rows", "Batch", "Error code", "Retries"]
    assert "Received (UTC)" in names


@pytest.mark.parametrize(
    ("searched", "found"),
    [
        ("table:stock", {"retrying-1"}),
        ("table:shop.sales.orders", {"done:1", "read.1", "update-1", "refused_1", "cancelled-1"}),
        ("op:update", {"update-1"}),
        ("rows:2", {"read.1"}),
        ("error:DELTA_CONCURRENT", {"retrying-1"}),
        ("error:insufficient_permissions", {"denied:1"}),
        ("state:STARTED", {"started-1"}),
        ("state:revoked", {"cancelled-1"}),
        ("retries:1", {"retried-1", "retrying-1", "cancelled-1"}),
        ("job:denied", {"denied:1", "denied:1.replay1"}),
        ("INSUFFICIENT", {"denied:1"}),
        ("shop.sales.stock", {"retrying-1"}),
        ("table:prices state:SUCCESS", {"retried-1", "denied:1.replay1"}),
        ("op:update OR (table:prices AND state:FAILURE)", {"update-1", "denied:1"}),
        ("nosuchthing", set()),
    ],
)
def test_jobs_are_searched_by_what_the_columns_say(listed: TasksPage, searched: str, found: set[str]) -> None:
    assert set(listed.search(searched)) == found


def test_jobs_are_searched_by_their_batch_alone_or_with_its_field(page: TasksPage) -> None:
    (batch,) = [row["batch"] for row in page.rows() if row["id"] == "started-1"]
    assert page.search(batch) == ["started-1"]
    assert page.search(f"batch:{batch[:6]}") == ["started-1"]


def test_the_search_box_says_what_it_takes(page: TasksPage) -> None:
    told = page.box.get_attribute("placeholder") or ""
    for field in ("table:", "op:", "rows:", "batch:", "error:", "retries:", "state:", "job:"):
        assert field in told
    page.search("abc OR")
    assert "OR must be followed" in page.text("#task-search-error-message")


def test_a_button_shows_the_jobs_of_its_state_and_is_pressed_while_they_are_shown(page: TasksPage) -> None:
    button = page.browser.find_element(By.CSS_SELECTOR, "[data-task-state=REVOKED]")
    button.click()
    until(lambda: page.ids() == ["cancelled-1"], "the cancelled job alone")
    assert page.text(".task-state-filter[aria-pressed=true]") == "Cancelled"
    for searched, pressed in (
        ("op:write", "All"),
        ("state:revoked", "Cancelled"),
        ("state:RETRY", "Waiting for a retry"),
    ):
        page.search(searched)
        assert page.text(".task-state-filter[aria-pressed=true]") == pressed
    assert page.open("?state=REVOKED").text(".task-state-filter[aria-pressed=true]") == "Cancelled"


def test_jobs_are_sorted_by_our_columns_too_and_numbers_as_numbers(page: TasksPage) -> None:
    for column in ("table", "op", "error", "batch"):
        up = page.sort(column)
        assert up == sorted(up), column
        assert page.sort(column) == sorted(up, reverse=True), column
    for column in ("rows", "retries"):
        up = page.sort(column)
        assert up == sorted(up, key=int), column
        assert len(set(up)) > 1


def test_jobs_that_have_not_begun_are_counted_and_each_has_its_page(page: TasksPage, shown: Stage) -> None:
    assert "All jobs that have begun are shown. 1 more waits in the queue." in page.text("#left-out")
    told = job_page(page, shown, "queued-1")
    assert (told["State"], told["Table"], told["Op"], told["Rows"]) == ("QUEUED", PRICES, "write", "1")
    page.browser.get(f"{shown.flower.url}/broker")
    rows = [row.text for row in page.browser.find_elements(By.CSS_SELECTOR, "#queue-table tbody tr")]
    assert any(row.startswith(f"{PRICES} 1 1 0 0 w1@test") for row in rows), rows


def test_a_jobs_page_shows_its_receipt(page: TasksPage, shown: Stage) -> None:
    told = job_page(page, shown, "done:1")
    assert (told["Job"], told["State"], told["Table"]) == ("done:1", "SUCCESS", ORDERS)
    receipt = facts(page.browser, "#job-receipt")
    status = shown.queue.job("done:1").result(timeout=5).receipt
    assert receipt["Rows"] == "12"
    assert receipt["Batch"] == status.batch
    assert receipt["Batch jobs"] == "1"
    assert receipt["Statement"] == status.statement
    assert receipt["Attempts"] == "1"
    assert float(receipt["Warehouse ms"]) > 0


def test_a_row_leads_to_its_jobs_page(page: TasksPage, shown: Stage) -> None:
    page.browser.find_element(By.CSS_SELECTOR, '[id="denied:1.replay1"] a').click()
    comes(page, "denied:1.replay1")


def test_a_replay_leads_to_its_origin_and_back(page: TasksPage, shown: Stage) -> None:
    told = job_page(page, shown, "denied:1.replay1")
    assert (told["State"], told["Replay of"]) == ("SUCCESS", "denied:1")
    page.browser.find_element(By.LINK_TEXT, "denied:1").click()
    told = comes(page, "denied:1")
    assert (told["State"], told["Replayed as"]) == ("FAILURE", "denied:1.replay1")
    page.browser.find_element(By.LINK_TEXT, "denied:1.replay1").click()
    comes(page, "denied:1.replay1")


def test_a_failed_job_says_by_what_it_failed(page: TasksPage, shown: Stage) -> None:
    told = job_page(page, shown, "refused_1")
    assert (told["State"], told["Error"]) == ("FAILURE", "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES")
    assert (told["Sqlstate"], told["Attempts"], told["Committed"]) == ("23001", "1", "not_committed")
    assert len(told["Batch"]) == 16
    assert told["Ended at"].endswith("Z")


def test_a_waiting_job_says_why_and_what_was_tried(page: TasksPage, shown: Stage) -> None:
    told = job_page(page, shown, "retrying-1")
    assert (told["State"], told["Error"], told["Attempts"]) == ("RETRY", "DELTA_CONCURRENT_APPEND", "1")
    assert told["Next try"].endswith("Z")
    assert "DELTA_CONCURRENT_APPEND" in page.text("#job-tries tbody")


def test_a_running_job_says_who_runs_it(page: TasksPage, shown: Stage) -> None:
    told = job_page(page, shown, "started-1")
    assert (told["State"], told["Worker"]) == ("STARTED", "w1@test")

    def shows_its_batch() -> bool:
        page.browser.get(f"{shown.flower.url}/worker/w1@test")
        return told["Batch"] in page.text("#worker-batches tbody")

    until(shows_its_batch, "its batch is on its worker's page")  # a worker that is slow to answer has none for now


def test_a_waiting_job_is_cancelled_by_its_button(page: TasksPage, shown: Stage) -> None:
    job_id = shown.queue.write(PRICES, [{"id": 9}], id="cancel-me").id  # behind the one that is held
    job_page(page, shown, job_id)
    page.browser.find_element(By.ID, "task-revoke").click()
    until(lambda: shown.queue.job(job_id).status().state == "REVOKED", "it is cancelled")
    until(lambda: "Cancelled 'cancel-me'" in page.text("#toast-container"), "the page says so")
    assert job_page(page, shown, job_id)["State"] == "REVOKED"


def test_what_is_under_way_is_not_cancelled_and_the_answer_says_so(shown: Stage) -> None:
    code, told = shown.flower.request("/api/task/revoke/started-1", method="POST")
    assert (code, told) == (409, "Not cancelled: it is STARTED; what was sent to the warehouse cannot be taken back")
    assert shown.flower.status("/api/task/revoke/nosuchjob", method="POST") == 404


def test_all_jobs_are_listed(page: TasksPage) -> None:
    assert {row["id"]: row["state"] for row in page.rows()} == JOBS


def test_the_pages_have_no_error_in_the_browser(page: TasksPage, shown: Stage) -> None:
    severe(page.browser)
    for path in ("/tasks", "/workers", "/broker", "/worker/w1@test", "/task/done:1"):
        page.browser.get(shown.flower.url + path)
        assert severe(page.browser) == [], path


def severe(browser: webdriver.Chrome) -> list[Any]:
    """What the browser complained of since it was asked last."""
    return [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]  # type: ignore[no-untyped-call]
