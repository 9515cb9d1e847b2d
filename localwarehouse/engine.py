"""DuckDB: one file that holds the rows and the names, locked down, and the running of plans on it."""

import datetime
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from localwarehouse import errors, store
from localwarehouse.arrow_results import arrow_table
from localwarehouse.errors import WarehouseError
from localwarehouse.locks import Locks
from localwarehouse.merging import COUNTS, run_merge
from localwarehouse.planner import Planner
from localwarehouse.plans import Answer, Change, Definition, EngineSql, Merge, Output, Plan, Query
from localwarehouse.types import BIGINT, DataType


@dataclass(frozen=True)
class Parameter:
    """A bound value as it arrives: text with the name of its type. None is NULL."""

    type: DataType
    text: str | None


@dataclass(frozen=True)
class Finished:
    """What a statement gave: rows in Arrow, and for a write how many rows it changed."""

    table: pa.Table
    outputs: tuple[Output, ...]
    modified_rows: int | None


class Running:
    """One statement under way, as its canceller sees it. The commit and the cancel exclude each other."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._cursor: duckdb.DuckDBPyConnection | None = None
        self._reason: WarehouseError | None = None
        self._committing = False
        self.stopped = threading.Event()

    def cancel(self, reason: WarehouseError) -> bool:
        """False when the statement is past stopping."""
        with self._guard:
            if self._committing or self._reason is not None:
                return False
            self._reason = reason
            self.stopped.set()
            if self._cursor is not None:
                self._cursor.interrupt()
            return True

    def check(self) -> None:
        if self._reason is not None:
            raise self._reason

    def enter_commit(self) -> None:
        with self._guard:
            self.check()
            self._committing = True

    @contextmanager
    def on(self, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
        with self._guard:
            self.check()
            self._cursor = cursor
        try:
            yield
        except duckdb.Error as exc:
            self.check()
            raise errors.from_engine(exc) from exc
        finally:
            with self._guard:
                self._cursor = None


class Engine:
    """Runs statements. Readers see whole commits only and wait for nobody."""

    def __init__(self, directory: Path, commit_s: float, clock: Callable[[], datetime.datetime]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._commit_s = commit_s
        self._clock = clock
        self._database = duckdb.connect(
            str(directory / "warehouse.duckdb"),
            config={
                "enable_external_access": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
            },
        )
        self._database.execute("SET GLOBAL TimeZone = 'UTC'")
        self._database.execute("SET GLOBAL lock_configuration = true")
        store.prepare(self._database)
        self._catalogs = store.load(self._database)
        self._locks = Locks()
        self._planner = Planner(self._database.cursor())

    def close(self) -> None:
        """Writes everything into the one file; where a statement is still under way, the next start replays the log."""
        with suppress(duckdb.TransactionException):
            self._database.execute("CHECKPOINT")
        self._database.close()

    def plan(self, text: str, parameters: Mapping[str, DataType], catalog: str, schema: str) -> Plan:
        """The statement's plan against the names of this moment."""
        return self._planner.plan(self._catalogs, text, parameters, catalog, schema)

    def run(self, plan_now: Callable[[], Plan], parameters: Mapping[str, Parameter], running: Running) -> Finished:
        """Run a statement. It is planned again when names change between its planning and its turn."""
        now = self._clock()
        while True:
            catalogs = self._catalogs
            plan = plan_now()
            values = _Values(parameters, now)
            match plan:
                case Answer():
                    return _answered(plan)
                case Definition():
                    self._define(plan_now, values, running)
                    return Finished(pa.table({}), (), None)
                case Query():
                    try:
                        return self._query(plan, values, running)
                    except WarehouseError:
                        if catalogs.version == self._catalogs.version:
                            raise
                case Change() | Merge():
                    with self._locks.held([plan.table.name.dotted], running.stopped):
                        running.check()
                        if self._is_current(plan):
                            return self._write(plan, values, running)

    def _is_current(self, plan: Change | Merge) -> bool:
        try:
            return self._catalogs.table(plan.table.name) is plan.table
        except WarehouseError:
            return False

    def _query(self, plan: Query, values: "_Values", running: Running) -> Finished:
        cursor = self._database.cursor()
        try:
            with running.on(cursor):
                bound = values.of(plan.sql) | self._early(cursor, plan.early, values)
                found = cursor.sql(self._planner.parsed(plan.sql), params=bound).to_arrow_table()
            running.check()
            return Finished(arrow_table(found, plan.outputs), plan.outputs, None)
        finally:
            cursor.close()

    def _early(self, cursor: duckdb.DuckDBPyConnection, sql: EngineSql | None, values: "_Values") -> dict[str, Any]:
        """What is computed before the statement proper; its assertions raise here."""
        if sql is None:
            return {}
        cursor.execute(self._planner.parsed(sql), values.of(sql))
        names = [column[0] for column in cursor.description or []]
        # Fetched to its end: DuckDB takes no other statement before.
        (row,) = cursor.fetchall()
        return {name: value for name, value in zip(names, row, strict=True) if name.startswith("k")}

    def _write(self, plan: Change | Merge, values: "_Values", running: Running) -> Finished:
        with self._transaction(running) as cursor, running.on(cursor):
            early = self._early(cursor, plan.early, values)
            if isinstance(plan, Merge):
                names, shared = COUNTS, values.of(plan.prepare[0]) | early
                counted = run_merge(cursor, self._planner, plan, shared, running.check)
            else:
                bound = values.of(plan.sql) | early
                ((changed,),) = cursor.execute(self._planner.parsed(plan.sql), bound).fetchall()
                names, counted = plan.counts, (changed,) * len(plan.counts)
        row = pa.table([pa.array([number], pa.int64()) for number in counted], names=list(names))
        return Finished(row, tuple(Output(name, BIGINT) for name in names), counted[0])

    def _define(self, plan_now: Callable[[], Plan], values: "_Values", running: Running) -> None:
        with ExitStack() as held:
            # One definition at a time, and none beside a write to a table it touches.
            held.enter_context(self._locks.held([""], running.stopped))
            running.check()
            # Planned again, now that no other definition can come between.
            plan = plan_now()
            assert isinstance(plan, Definition)
            touched = store.touched(self._catalogs, plan.action)
            held.enter_context(self._locks.held([name.dotted for name in touched], running.stopped))
            running.check()
            change = store.decide(self._catalogs, plan.action, self._clock())
            if change is None:
                return
            if change.must_be_zero is not None:
                with running.on(cursor := self._database.cursor()):
                    ((broken,),) = cursor.execute(change.must_be_zero.text, values.of(change.must_be_zero)).fetchall()
                if broken:
                    assert change.otherwise is not None
                    raise change.otherwise
            with self._transaction(running) as cursor, running.on(cursor):
                store.write(cursor, change)
            self._catalogs = change.after

    @contextmanager
    def _transaction(self, running: Running) -> Iterator[duckdb.DuckDBPyConnection]:
        """Commits on a clean exit, unless the statement was cancelled up to that very moment."""
        cursor = self._database.cursor()
        try:
            cursor.execute("BEGIN")
            try:
                yield cursor
                if self._commit_s:
                    running.stopped.wait(self._commit_s)
                running.enter_commit()
            except BaseException:
                with suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
                raise
            try:
                cursor.execute("COMMIT")
            except duckdb.Error as exc:
                raise errors.from_engine(exc) from exc
        finally:
            cursor.close()


@dataclass(frozen=True)
class _Values:
    parameters: Mapping[str, Parameter]
    now: datetime.datetime

    def of(self, sql: EngineSql) -> dict[str, Any]:
        """What the SQL's placeholders stand for."""
        values: dict[str, Any] = {
            placeholder: self.parameters[parameter].text for placeholder, parameter in sql.values.items()
        }
        if sql.uses_now:
            values["now"] = self.now.astimezone(datetime.UTC).replace(tzinfo=None)
        return values


def _answered(plan: Answer) -> Finished:
    columns = list(zip(*plan.rows, strict=True)) or [()] * len(plan.outputs)
    table = pa.table([pa.array(list(column)) for column in columns], names=[output.name for output in plan.outputs])
    return Finished(arrow_table(table, plan.outputs), plan.outputs, None)
