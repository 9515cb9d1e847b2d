"""One statement from its arrival to its result: queued, running, finished, failed or cancelled."""

import datetime
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from localwarehouse import errors
from localwarehouse.arrow_results import Pages
from localwarehouse.deadlines import Deadlines
from localwarehouse.engine import Engine, Finished, Parameter, Running, Statement
from localwarehouse.errors import WarehouseError
from localwarehouse.statement_log import StatementLog
from localwarehouse.translate.statements import kind_of

_log = logging.getLogger(__name__)

State = Literal["PENDING", "RUNNING", "FINISHED", "ERROR", "CANCELED"]


@dataclass(frozen=True)
class Request:
    """What a client asked to run. `queue` waits where the warehouse's queue would, before execution."""

    text: str
    parameters: Mapping[str, Parameter]
    catalog: str
    schema: str
    timeout_s: int
    lz4: bool
    queue: Callable[["Operation"], None] | None = None
    ends_by: WarehouseError | None = None
    """It is carried out, and answered by this error all the same."""


@dataclass
class Operation:
    request: Request
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    secret: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    state: State = "PENDING"
    error: WarehouseError | None = None
    finished: Finished | None = None
    pages: Pages | None = None
    running: Running = field(default_factory=Running)
    done: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self.running.cancel(errors.cancelled())


@dataclass(frozen=True)
class Executor:
    """Runs operations, each on a thread of its own: a client that goes away does not stop its statement."""

    engine: Engine
    log: StatementLog
    deadlines: Deadlines
    clock: Callable[[], datetime.datetime]

    def start(self, request: Request) -> Operation:
        operation = Operation(request)
        threading.Thread(target=self._execute, args=(operation,), daemon=True).start()
        return operation

    def _execute(self, operation: Operation) -> None:
        request, running = operation.request, operation.running
        statement: Statement | None = None
        started = self.clock()
        cancel_at_deadline = None
        try:
            if request.queue is not None:
                request.queue(operation)
            running.check()
            started = self.clock()
            operation.state = "RUNNING"
            if request.timeout_s:
                cancel_at_deadline = self.deadlines.after(
                    request.timeout_s, lambda: running.cancel(errors.statement_timeout(request.timeout_s))
                )
            statement = self.engine.prepare(request.text, request.parameters, request.catalog, request.schema)
            self.log.count(statement.kind)
            operation.finished = statement.run(running)
            if request.ends_by is not None:
                raise request.ends_by
            operation.pages = Pages(operation.finished.table, request.lz4)
        except WarehouseError as exc:
            operation.error = exc
        except Exception as exc:
            _log.exception("a statement failed inside the local warehouse")
            operation.error = WarehouseError("INTERNAL_ERROR", f"{type(exc).__name__}: {exc}", "XX000")
        finally:
            if cancel_at_deadline is not None:
                self.deadlines.drop(cancel_at_deadline)
            self._settle(operation, statement, started)

    def _settle(self, operation: Operation, statement: Statement | None, started: datetime.datetime) -> None:
        error = operation.error
        if statement is None:
            kind = kind_of(operation.request.text)
            self.log.count(kind)
        else:
            kind = statement.kind
        finished = operation.finished
        rows = None
        if finished is not None:
            rows = finished.modified_rows if finished.modified_rows is not None else finished.table.num_rows
        self.log.add(
            statement_id=str(operation.id),
            kind=kind,
            table=statement.table if statement is not None else None,
            text=operation.request.text,
            rows=rows,
            started=started,
            ended=self.clock(),
            error=str(error) if error is not None else None,
        )
        if error is None:
            operation.state = "FINISHED"
        else:
            operation.state = "CANCELED" if error.sqlstate == "HY008" else "ERROR"
        operation.done.set()
