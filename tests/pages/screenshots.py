"""`python -m tests.pages.screenshots`: the pictures in docs/pictures, taken of Flower with real jobs in every state."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.fix_browser import log_in, start_browser
from tests.pages.page import TasksPage
from tests.pages.stage import Stage, ended, stage
from tests.support import CONFLICT, PATIENT, make_tables, sql, until, until_it_waits

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
ORDERS, PRICES, STOCK, CUSTOMERS = (
    f"main.{name}" for name in ("sales.orders", "sales.prices", "sales.stock", "crm.customers")
)
TABLES = {
    ORDERS: "id BIGINT, customer STRING, amount DECIMAL(10,2)",
    PRICES: "id BIGINT, price DECIMAL(10,2)",
    STOCK: "id BIGINT, pieces INT",
    CUSTOMERS: "id BIGINT, name STRING, mail STRING",
}
VALUES = ("Ada", "ada@example.com", "19.90")
"""Values of rows that no picture may show."""

_AUDIT = "created_at TIMESTAMP, created_by STRING, updated_at TIMESTAMP, updated_by STRING, deleted_at TIMESTAMP"


def play(on: Stage) -> str:
    """Run jobs into every state. Returns the id of one that failed."""
    queue, warehouse = on.queue, on.warehouse
    make_tables(warehouse)
    sql(warehouse, "CREATE CATALOG IF NOT EXISTS main")
    sql(warehouse, "CREATE SCHEMA IF NOT EXISTS main.sales", "CREATE SCHEMA IF NOT EXISTS main.crm")
    sql(warehouse, *(f"CREATE TABLE {name} ({columns}, {_AUDIT}, _job_id STRING)" for name, columns in TABLES.items()))
    sql(warehouse, f"ALTER TABLE {STOCK} ADD CONSTRAINT not_negative CHECK (pieces >= 0)")
    name, mail, amount = VALUES
    orders = [{"kind": "write", "table": ORDERS, "data": [{"id": i, "customer": name, "amount": amount}] * (1 + i % 3)}
              for i in range(3)]  # fmt: skip
    for handle in list(queue.enqueue_many(job | {"id": f"order-event-{17 + i}"} for i, job in enumerate(orders))):
        ended(handle)
    ended(queue.write(CUSTOMERS, [{"id": 1, "name": name, "mail": mail}] * 40, id="crm-import-3"))
    ended(queue.read(CUSTOMERS, filters=[{"column": "mail", "op": "=", "value": mail}], id="crm-lookup-88"))
    ended(queue.update(CUSTOMERS, key={"id": 1}, updates={"name": name}, id="crm-rename-12"))
    ended(queue.delete(ORDERS, key={"id": 2}, id="order-withdrawn-19"))
    warehouse.fault({"on": "ExecuteStatement", "match": "INSERT", "times": 1, "action": "forget_session"})
    ended(queue.write(PRICES, [{"id": 1, "price": amount}], id="price-list-2026-11"))
    ended(queue.write(STOCK, [{"id": 1, "pieces": 12}], id="stock-880"))
    ended(queue.write(STOCK, [{"id": 1, "pieces": -4}], id="stock-881"))
    on.refuse(PRICES, action="error", error_class="INSUFFICIENT_PERMISSIONS", sqlstate="42501")
    ended(queue.write(PRICES, [{"id": 2, "price": amount}], id="price-2"))
    ended(queue.dead_letters.replay("price-2"))
    on.refuse(STOCK, times=None, **CONFLICT)
    until_it_waits(queue.write(STOCK, [{"id": 2, "pieces": 7}], id="stock-882"), 300)
    queue.write(STOCK, [{"id": 3, "pieces": 1}], id="stock-883")
    warehouse.fault({"on": "ExecuteStatement", "match": "INSERT.*customers", **CONFLICT})
    until_it_waits(queue.write(CUSTOMERS, [{"id": 2, "name": name, "mail": mail}], id="crm-import-4"), 300)
    on.seen({"crm-import-4": "RETRY"})
    queue.operations.cancel("crm-import-4")
    on.hold(ORDERS)
    queue.write(ORDERS, [{"id": 9, "customer": name, "amount": amount}] * 3, id="order-event-22")
    until(lambda: warehouse.held() == 1, "a statement is under way")
    queue.write(ORDERS, [{"id": 10, "customer": name, "amount": amount}], id="order-event-23")
    on.seen(
        {
            "crm-import-4": "REVOKED",
            "stock-882": "RETRY",
            "order-event-22": "STARTED",
            "stock-881": "FAILURE",
            "price-2.replay1": "SUCCESS",
        }
    )
    return "stock-881"


def picture(browser: webdriver.Chrome, folder: Path, name: str, *, height: int | None = None) -> None:
    """The page as high as what is on it."""
    for value in VALUES:
        assert value not in browser.page_source, f"{name} shows {value}"
    wanted = height or browser.execute_script(
        "return document.querySelector('main .page-section').getBoundingClientRect().bottom + 24"
    )
    metrics = {"width": 1400, "height": int(wanted), "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.save_screenshot(str(folder / f"{name}.png"))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    print(f"{folder / name}.png  {(folder / f'{name}.png').stat().st_size:,} bytes")


def overview(browser: webdriver.Chrome, folder: Path) -> None:
    """All three in one."""
    page = """<body style="margin:0;background:#d9dee4;padding:20px;display:grid;gap:20px;width:1400px;overflow:hidden">
        <img src="{0}/tasks.png" style="width:1400px"><div style="display:flex;gap:20px;align-items:flex-start">
        <img src="{0}/failed-job.png" style="width:690px"><img src="{0}/workers.png" style="width:690px"></div>"""
    (folder / "overview.html").write_text(page.format(folder.as_uri()))
    browser.get((folder / "overview.html").as_uri())
    until(lambda: bool(browser.execute_script("return [...document.images].every(i => i.complete)")), "it is loaded")
    height = browser.execute_script("return document.body.scrollHeight")
    metrics = {"width": 1440, "height": int(height), "deviceScaleFactor": 0.7, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.save_screenshot(str(folder / "overview.png"))
    (folder / "overview.html").unlink()
    print(f"{folder / 'overview.png'}  {(folder / 'overview.png').stat().st_size:,} bytes")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="lakequeue-pictures-") as own,
        stage(
            Path(own), workers=("worker-1", "worker-2", "worker-3"), host="lake", commit_ms=250, settings=PATIENT
        ) as on,
    ):
        failed = play(on)
        browser = start_browser(Path(own) / "chromium", size=(1400, 900))
        try:
            log_in(browser, on.flower.authorization())
            TasksPage(browser, on.flower).open()
            picture(browser, folder, "tasks")
            browser.get(f"{on.flower.url}/task/{failed}")
            picture(browser, folder, "failed-job")
            browser.get(f"{on.flower.url}/workers")
            online = browser.find_element(By.ID, "workers-online")
            until(lambda: online.text == "3", "all workers are shown")
            picture(browser, folder, "workers")
            overview(browser, folder)
        finally:
            browser.quit()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PICTURES)
