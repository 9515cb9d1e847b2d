"""The runbook is true: each of its questions is answered by the command that it names, on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lakequeue.cli
import pytest
from lakequeue import Handle, JobFailed, Queue

from tests.fix_flower import Flower
from tests.fix_localwarehouse import LocalWarehouse
from tests.fix_terminal import on_terminal
from tests.fix_worker import StartWorker, Worker, worker_environ
from tests.support import CONFLICT, PATIENT, QUICK, ids, job, make_tables, sql, until, until_it_waits
from worker.embedded import EmbeddedRedis, embedded_redis

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")
COMMANDS = dict(re.findall(r"^\| \[([^]]+)\]\(#[^)]+\) \| (.+) \|$", RUNBOOK, re.MULTILINE))
"""What the runbook's first table says: a question, and where its command is told."""

ORDERS, PRICES, STOCK = "main.sales.orders", "main.sales.prices", "main.sales.stock"
answered: set[str] = set()

Test = Callable[..., None]


def answers(question: str) -> Callable[[Test], Test]:
    answered.add(question)
    return lambda test: test


def commands(question: str, **given: str) -> list[list[str]]:
    """The commands of a question, as they stand in the runbook; what stands in capitals there is given here."""
    found = []
    for text in re.findall(r"`([^`]+)`", COMMANDS[question]):
        words = [given.get(word.replace("C.S.T", "TABLE"), word) for word in text.split()]
        program = {"lakequeue": "lakequeue", "python": "worker"}[words[0]]
        found.append([sys.executable, "-m", program, *(words[1:] if words[0] == "lakequeue" else words[3:])])
    return found


@dataclass
class Night:
    """A system at night: orders are done, prices wait for another try, stock has failed for good."""

    queue: Queue
    warehouse: LocalWarehouse
    environ: dict[str, str]
    worker: Worker
    done: Handle
    waiting: Handle
    failed: Handle

    def ask(self, question: str, *more: str, nth: int = 0, code: int = 0, **given: str) -> str:
        ended, told = on_terminal([*commands(question, **given)[nth], *more], self.environ)
        assert ended == code, told
        return told

    def row(self, told: str, table: str) -> dict[str, str]:
        """The line of a table, by headings: cells are at least two spaces apart, and stand below them."""
        heading = next(line for line in told.splitlines() if line.startswith("TABLE"))
        line = next(line for line in told.splitlines() if line.startswith(table + " "))
        starts = [found.start() for found in re.finditer(r"(?:(?<=  )|^)\S", heading)]
        cuts = [*starts[1:], None]
        return {heading[a:b].strip(): line[a:b].strip() for a, b in zip(starts, cuts, strict=True)}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    warehouse = LocalWarehouse(folder / "warehouse")
    sql(warehouse, "CREATE CATALOG main", "CREATE SCHEMA main.sales")
    make_tables(warehouse, ORDERS, PRICES, STOCK)
    warehouse.fault({"match": "^INSERT.*prices`", **CONFLICT})
    with embedded_redis(folder / "redis") as server, Queue(server.url) as queue:
        environ = worker_environ(server.url, warehouse, **PATIENT)
        worker = Worker(environ, folder / "worker.log", "w-1")
        try:
            worker.wait_ready()
            done, *_ = queue.enqueue_many(job(i, ORDERS) for i in range(20))
            waiting, *_ = queue.enqueue_many(job(i, PRICES) for i in range(3))
            failed = queue.write(STOCK, [{"id": "seven"}])
            done.result(timeout=30)
            with pytest.raises(JobFailed):
                failed.result(timeout=30)
            until_it_waits(waiting, 300)
            yield Night(queue, warehouse, environ, worker, done, waiting, failed)
        finally:
            worker.kill()
            warehouse.stop()


@answers("Is anything wrong?")
@answers("Which table is stuck, and why?")
@answers("How old is the oldest job?")
def test_tables_tells_what_is_wrong_with_which_table_and_since_when(night: Night) -> None:
    for question in ("Is anything wrong?", "Which table is stuck, and why?", "How old is the oldest job?"):
        told = night.ask(question)
        orders, prices, stock = (night.row(told, table) for table in (ORDERS, PRICES, STOCK))
        assert (orders["QUEUED"], orders["RETRYING"], orders["DEAD"], orders["OLDEST"]) == ("0", "0", "0", "")
        assert re.fullmatch(r"\d+m?\d*s ago", orders["LAST COMMIT"])
        assert (prices["RETRYING"], prices["OWNER"]) == ("3", "w-1@test")
        assert re.fullmatch(r"\d+m?\d*s", prices["OLDEST"])
        assert re.fullmatch(r"DELTA_CONCURRENT_APPEND, 1 try, next in (\d+[dhms])+", prices["NOTE"])
        assert stock["DEAD"] == "1"
        assert "lakequeue: 3 tables, 1 worker, 1 dead letter" in told


@answers("Why do jobs fail?")
def test_errors_tells_why_jobs_fail_and_names_one_of_them(night: Night) -> None:
    told = night.ask("Why do jobs fail?")
    assert re.search(rf"^FAILURE +INVALID_JOB +{STOCK} +1 .*{night.failed.id}", told, re.MULTILINE)
    assert re.search(rf"^RETRY +DELTA_CONCURRENT_APPEND +{PRICES} +3 ", told, re.MULTILINE)
    shown = on_terminal([sys.executable, "-m", "lakequeue", "dead", "show", night.failed.id], night.environ)[1]
    assert "data[0].id" in shown
    assert "seven" not in shown


@answers("Where is job X?")
def test_status_tells_where_a_job_is_and_what_happened_to_it(night: Night) -> None:
    told = night.ask("Where is job X?", X=night.done.id)
    assert f"{night.done.id}  SUCCESS  write of 1 row to {ORDERS}" in told
    statement = night.done.result(timeout=1).receipt.statement
    assert f"statement {statement}: look it up in Databricks' query history" in told
    assert [each["text"][:6] for each in night.warehouse.statements() if each["id"] == statement] == ["INSERT"]
    waits = night.ask("Where is job X?", X=night.waiting.id)
    assert re.search(r"try 1 in batch \w+: DELTA_CONCURRENT_APPEND", waits)
    assert "next try, after 1 that met DELTA_CONCURRENT_APPEND" in waits
    failed = night.ask("Where is job X?", X=night.failed.id)
    assert re.search(r"failed.*: INVALID_JOB, not_committed", failed)
    assert f"lakequeue dead show {night.failed.id}" in failed
    assert "no job nowhere is known" in night.ask("Where is job X?", X="nowhere", code=1)


@answers("What happened lately on a table?")
def test_jobs_lists_what_happened_on_a_table(night: Night) -> None:
    told = night.ask("What happened lately on a table?", TABLE=ORDERS)
    assert len(re.findall(rf"^SUCCESS +{ORDERS}:\d+ ", told, re.MULTILINE)) == 20
    failed = night.ask("What happened lately on a table?", "--state", "failure", TABLE=STOCK)
    assert re.search(rf"^FAILURE +{night.failed.id} .*INVALID_JOB", failed, re.MULTILINE)


@answers("How do I run failed jobs again?")
def test_what_failed_is_replayed_once_its_cause_is_gone(night: Night) -> None:
    table = "main.sales.late"
    early = night.queue.write(table, [{"id": 1}])
    with pytest.raises(JobFailed) as caught:
        early.result(timeout=30)
    make_tables(night.warehouse, table)
    told = night.ask("How do I run failed jobs again?", "--table", table, "--yes", CLASS=caught.value.details["error"])
    replay = night.queue.job(f"{early.id}.replay1")
    assert replay.id in told
    replay.result(timeout=30)
    assert ids(night.warehouse, table) == [1]


@answers("How do I stop a table for a while?")
def test_a_table_stands_still_from_pause_to_resume(night: Night) -> None:
    table = "main.sales.paused"
    make_tables(night.warehouse, table)
    assert f"{table} is paused" in night.ask("How do I stop a table for a while?", TABLE=table)
    waiting = night.queue.enqueue(job(1, table))
    row = night.row(night.ask("Is anything wrong?"), table)
    assert (row["QUEUED"], row["NOTE"].split()[0]) == ("1", "paused")
    resume = [sys.executable, "-m", "lakequeue", "resume", table]
    assert on_terminal(resume, night.environ) == (0, f"lakequeue: {table} goes on\n")
    waiting.result(timeout=30)
    assert on_terminal(resume, night.environ) == (0, f"lakequeue: {table} was not paused\n")


@answers("How do I cancel?")
def test_a_job_is_cancelled_and_a_table_is_purged(night: Night) -> None:
    table = "main.sales.cancelled"
    make_tables(night.warehouse, table)
    night.queue.operations.pause(table)
    handles = list(night.queue.enqueue_many(job(i, table) for i in range(4)))
    assert f"{handles[0].id} is cancelled" in night.ask("How do I cancel?", ID=handles[0].id)
    assert f"{night.done.id} is SUCCESS: it is left" in night.ask("How do I cancel?", ID=night.done.id, code=1)
    purged = night.ask("How do I cancel?", "--yes", "--wait", nth=1, TABLE=table)
    assert f"jobs of {table} cancelled" in purged
    assert {handle.status().state for handle in handles} == {"REVOKED"}
    night.queue.operations.resume(table)
    assert ids(night.warehouse, table) == []


@answers("Are the workers alive?")
def test_workers_tells_who_is_alive_and_what_each_does(night: Night) -> None:
    until(lambda: bool(night.queue.operations.workers()[0].told), "the worker told of itself")
    told = night.ask("Are the workers alive?")
    assert re.search(rf"^w-1@test +\S+ +{night.worker.pid} .* 64 +\d\.\ds of 2s .* up$", told, re.MULTILINE)


@answers("Is the warehouse up?")
def test_doctor_tells_whether_the_warehouse_is_up(night: Night) -> None:
    assert re.search(r"^ok +warehouse", night.ask("Is the warehouse up?"), re.MULTILINE)


@answers("May the worker write to this table?")
def test_doctor_tells_whether_the_worker_may_write_to_a_table(night: Night) -> None:
    told = night.ask("May the worker write to this table?", TABLE=ORDERS)
    assert re.search(r"^ok +(permissions|privileges|table)", told, re.MULTILINE)


@answers("What can I see in a browser?")
def test_flower_shows_each_job_with_what_became_of_it(night: Night, tmp_path: Path) -> None:
    """Jobs in every state, searching and the history after a restart: see `tests/pages`."""
    assert COMMANDS["What can I see in a browser?"] == "`celery -A worker flower`"
    flower = Flower(night.environ, tmp_path / "flower")
    try:
        assert flower.status("/tasks", open_=True) == 401
        waits, failed = flower.get(f"/task/{night.waiting.id}"), flower.get(f"/task/{night.failed.id}")
        assert "RETRY" in waits
        assert "DELTA_CONCURRENT_APPEND" in waits
        assert "INVALID_JOB" in failed
        assert "seven" not in failed
        assert PRICES in flower.get("/broker")
    finally:
        flower.stop()


@answers("What did it cost?")
def test_costs_tells_statements_and_seconds_by_table(night: Night) -> None:
    until(lambda: bool(night.queue.operations.costs(since_s=3600, table=ORDERS)), "the worker told its costs")
    row = night.row(night.ask("What did it cost?"), ORDERS)
    (cost,) = night.queue.operations.costs(since_s=3600, table=ORDERS)
    assert (row["STATEMENTS"], row["JOBS"], row["ROWS"]) == (str(cost.statements), "20", "20")
    assert float(row["WAREHOUSE S"]) == round(cost.warehouse_s, 1)


TABLE = "shop.sales.restarted"


def tables(url: str) -> str:
    code, told = on_terminal([sys.executable, "-m", "lakequeue", "tables"], {"LAKEQUEUE_REDIS_URL": url})
    assert code == 0, told
    return told


@answers("What happens if I restart Y?")
def test_a_worker_that_is_restarted_with_sigterm_hands_its_tables_on_at_once(
    queue: Queue, redis_url: str, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 1, "action": "hold"})
    first = start_worker()
    under_way = queue.enqueue(job(1, TABLE))
    until(lambda: warehouse.held() == 1, "a statement is under way")
    second = start_worker()
    first.process.terminate()
    until(lambda: "w1@test" in queue_owners(queue), "the other has tables")
    warehouse.release()
    under_way.result(timeout=30)
    assert first.stop() == 0
    queue.enqueue(job(2, TABLE)).result(timeout=30)
    assert "1 worker" in tables(redis_url)
    assert ids(warehouse, TABLE) == [1, 2]
    assert second.stop() == 0


def queue_owners(queue: Queue) -> set[str]:
    return {each.name for each in queue.operations.workers() if each.partitions}


def test_the_tables_of_a_killed_worker_go_on_and_what_it_had_sent_is_proved(
    queue: Queue, redis_url: str, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    """And with all workers gone jobs are taken in and wait: the table's owner is NONE."""
    make_tables(warehouse, TABLE)
    warehouse.fault({"match": "^INSERT", "times": 1, "action": "drop_after"}, {"match": "AS found", "action": "hold"})
    worker = start_worker(**QUICK)
    sent = queue.enqueue(job(1, TABLE))
    until(lambda: warehouse.held() == 1, "it is looked for")
    worker.kill()
    late = queue.enqueue(job(2, TABLE))
    until(lambda: "NONE" in tables(redis_url), "its leases ran out")
    assert "64 of 64 partitions have no worker" in tables(redis_url)
    warehouse.clear_faults()
    warehouse.release()
    start_worker(**QUICK)
    assert sent.result(timeout=30).count == 1
    late.result(timeout=30)
    assert ids(warehouse, TABLE) == [1, 2]


@pytest.mark.parametrize("disk", [True, False], ids=["with its disk", "without its disk"])
def test_redis_goes_on_with_its_disk_and_begins_anew_without(
    tmp_path: Path, warehouse: LocalWarehouse, disk: bool
) -> None:
    make_tables(warehouse, TABLE)
    options = () if disk else ("--appendonly", "no")
    server = EmbeddedRedis(tmp_path / "redis", options=options)
    server.start()
    try:
        with Queue(server.url) as queue:
            queue.operations.pause(TABLE)
            worker = Worker(worker_environ(server.url, warehouse), tmp_path / "worker.log", "w0")
            try:
                worker.wait_ready()
                waiting = queue.enqueue(job(1, TABLE))
                server.stop()
                server.start()
                if disk:
                    assert ("paused" in tables(server.url), waiting.status().state) == (True, "QUEUED")
                    queue.operations.resume(TABLE)
                    waiting.result(timeout=30)
                else:
                    assert "0 tables" in tables(server.url)
                    queue.enqueue(job(2, TABLE)).result(timeout=30)
                assert ids(warehouse, TABLE) == ([1] if disk else [2])
                assert worker.stop() == 0
            finally:
                worker.kill()
    finally:
        server.stop()


def test_jobs_wait_while_the_warehouse_is_away_and_go_on_with_it(
    queue: Queue, redis_url: str, warehouse: LocalWarehouse, start_worker: StartWorker
) -> None:
    make_tables(warehouse, TABLE)
    worker = start_worker()
    queue.enqueue(job(1, TABLE)).result(timeout=30)
    port = warehouse.port
    warehouse.stop()
    waiting = queue.enqueue(job(2, TABLE))
    until(lambda: waiting.status().state == "RETRY", "it waits")
    workers = [sys.executable, "-m", "worker", "workers"]
    environ = {"LAKEQUEUE_REDIS_URL": redis_url}
    until(
        lambda: re.search(r"w0@test.*(away|probing)$", on_terminal(workers, environ)[1], re.MULTILINE) is not None, ""
    )
    warehouse.start(port=port)
    waiting.result(timeout=30)
    assert ids(warehouse, TABLE) == [1, 2]
    assert worker.stop() == 0


def test_every_question_of_the_runbook_has_its_test_and_its_section() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    assert list(COMMANDS) == headings
    assert answered == set(headings)


def test_the_runbook_names_only_commands_and_options_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """Each `lakequeue …` in it is understood; what stands in capitals is left out."""
    known: dict[str, str] = {}
    for name, rest in re.findall(r"`lakequeue (dead [a-z]+|[a-z]+)([^`]*)`", RUNBOOK):
        if name not in known:
            with pytest.raises(SystemExit, match="0"):
                lakequeue.cli.main([*name.split(), "--help"])
            known[name] = capsys.readouterr().out
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in known[name], f"lakequeue {name} {option}"
    assert len(known) > 8


def test_alerts_of_the_runbook_are_metrics() -> None:
    metrics: Any = (Path(__file__).parents[2] / "worker" / "metrics.py").read_text(encoding="utf-8")
    for name in set(re.findall(r"`lakequeue_(\w+)`", RUNBOOK)):
        assert f'"{name}"' in metrics
