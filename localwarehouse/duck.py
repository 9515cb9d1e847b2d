"""The engine that is DuckDB: one file holds rows and names, locked down; plans run on it."""

import datetime
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from localwarehouse import errors, store
from localwarehouse.arrow_results import arrow_table
from localwarehouse.engine import Finished, Parameter, Running
from localwarehouse.errors import CannotStart, WarehouseError
from localwarehouse.locks import Locks
from localwarehouse.merging import COUNTS, run_merge
from localwarehouse.planner import Planner
from localwarehouse.plans import Answer, Change, Definition, EngineSql, Merge, Output, Plan, Query
from localwarehouse.types import BIGINT

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}


@contextmanager
def _on(cursor: duckdb.DuckDBPyConnection, running: Running) -> Iterator[None]:
    with running.interrupted_by(cursor.interrupt):
        try:
            yield
        except duckdb.Error as exc:
            running.check()
            raise errors.from_engine(exc) from exc


@dataclass(frozen=True)
class DuckStatement:
    kind: str
    table: str | None
    run: Callable[[Running], Finished]


class DuckEngine:
    """Runs statements. Readers see whole commits only and wait for nobody."""

    def __init__(self, directory: Path, commit_s: float, clock: Callable[[], datetime.datetime]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._commit_s = commit_s
        self._clock = clock
        try:
            self._database = duckdb.connect(str(directory / "warehouse.duckdb"), config=_LOCKED)
        except duckdb.IOException as exc:
            raise CannotStart(f"cannot open {directory}: {exc}") from exc
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

    def prepare(self, text: str, parameters: Mapping[str, Parameter], catalog: str, schema: str) -> DuckStatement:
        types = {name: parameter.type for name, parameter in parameters.items()}

        def plan_now() -> Plan:
            """The statement's plan against the names of this moment."""
            return self._planner.plan(self._catalogs, text, types, catalog, schema)

        def go(running: Running) -> Finished:
            return self._run(plan_now, parameters, running)

        plan = plan_now()
        name = plan.table.name if isinstance(plan, Change | Merge) else plan.table
        return DuckStatement(plan.kind, name.dotted if name is not None else None, go)

    def _run(self, plan_now: Callable[[], Plan], parameters: Mapping[str, Parameter], running: Running) -> Finished:
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
            with _on(cursor, running):
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
        with self._transaction(running) as cursor, _on(cursor, running):
            early = self._early(cursor, plan.early, values)
            if isinstance(plan, Merge):
                names, shared = COUNTS, values.of(plan.source) | early
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
                cursor = self._database.cursor()
                with _on(cursor, running):
                    ((broken,),) = cursor.execute(change.must_be_zero.text, values.of(change.must_be_zero)).fetchall()
                if broken:
                    assert change.otherwise is not None
                    raise change.otherwise
            with self._transaction(running) as cursor, _on(cursor, running):
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
