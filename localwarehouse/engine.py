"""What the warehouse asks of the engine that runs its statements: the one seam between DuckDB and Spark."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from localwarehouse.errors import WarehouseError
from localwarehouse.plans import Output
from localwarehouse.types import DataType


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
        self._interrupt: Callable[[], object] | None = None
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
            if self._interrupt is not None:
                self._interrupt()
            return True

    def check(self) -> None:
        if self._reason is not None:
            raise self._reason

    def enter_commit(self) -> None:
        with self._guard:
            self.check()
            self._committing = True

    @contextmanager
    def interrupted_by(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """A cancel meanwhile calls `interrupt`."""
        with self._guard:
            self.check()
            self._interrupt = interrupt
        try:
            yield
        finally:
            with self._guard:
                self._interrupt = None


class Statement(Protocol):
    """A statement that is ready to run. `table` is the dotted name of its table, where it has one."""

    @property
    def kind(self) -> str: ...

    @property
    def table(self) -> str | None: ...

    def run(self, running: Running, /) -> Finished:
        """Raises WarehouseError; then nothing was committed."""
        ...


class Engine(Protocol):
    """Runs statements, many at once. Readers see whole commits only."""

    def prepare(self, text: str, parameters: Mapping[str, Parameter], catalog: str, schema: str) -> Statement:
        """`catalog` and `schema` are the session's, for names without them. Raises WarehouseError."""
        ...

    def close(self) -> None: ...
