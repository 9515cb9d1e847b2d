"""The engine that is Spark: each statement as it came, in a session of its own, its errors and rows translated."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from localwarehouse.arrow_results import arrow_table
from localwarehouse.engine import Finished, Parameter, Running
from localwarehouse.errors import WarehouseError
from localwarehouse.plans import Output
from localwarehouse.spark import adaptations
from localwarehouse.spark.errors import from_spark
from localwarehouse.spark.results import type_of, value_of
from localwarehouse.spark.sessions import COMMIT_MARK, Spark
from localwarehouse.translate.statements import kind_of
from localwarehouse.types import BIGINT, STRING

_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})
_DEFINITIONS = ("CREATE", "DROP", "ALTER")
_INSERT_COUNTS = ("num_affected_rows", "num_inserted_rows")


class SparkEngine:
    def __init__(self, directory: Path, folder: Path, commit_s: float) -> None:
        """`folder` is what `python -m localwarehouse.spark` filled. Raises CannotStart."""
        self._spark = Spark(directory, folder)
        self._commit_s = commit_s

    def close(self) -> None:
        self._spark.close()

    def prepare(self, text: str, parameters: Mapping[str, Parameter], catalog: str, schema: str) -> "SparkStatement":
        table = adaptations.table_of(text, catalog, schema)
        return SparkStatement(self._spark, self._commit_s, text, parameters, catalog, schema, kind_of(text), table)


@dataclass(frozen=True)
class SparkStatement:
    spark: Spark
    commit_s: float
    text: str
    parameters: Mapping[str, Parameter]
    catalog: str
    schema: str
    kind: str
    target: tuple[str, str, str] | None

    @property
    def table(self) -> str | None:
        return ".".join(self.target) if self.target is not None else None

    def run(self, running: Running, /) -> Finished:
        mark = str(uuid.uuid4())
        if self.commit_s and self.kind in _CHANGES:
            running.stopped.wait(self.commit_s)
        try:
            with (
                running.interrupted_by(lambda: self.spark.cancel(mark)),
                self.spark.job_group(mark),
                self.spark.session(self.catalog, self.schema) as session,
            ):
                return self._run(session, mark, running)
        except (PySparkException, Py4JError) as exc:
            try:
                running.check()
            except WarehouseError as reason:
                if self._metrics(mark) is None:
                    raise reason from exc
                # The cancel came too late, and of what was done nothing is known any more.
                return Finished(pa.table({}), (), None)
            raise from_spark(exc) from exc

    def _run(self, session: SparkSession, mark: str, running: Running) -> Finished:
        if adaptations.run_catalog_statement(self.spark, self.text):
            return Finished(pa.table({}), (), None)
        if adaptations.described(self.text) is not None and self.target is not None:
            told = pa.table({"json_metadata": [adaptations.describe(self.spark, session, self.target)]})
            return Finished(told, (Output("json_metadata", STRING),), None)
        session.conf.set(COMMIT_MARK, mark)
        given = {name: value_of(parameter) for name, parameter in self.parameters.items()}
        found = session.sql(self.text, args=given) if given else session.sql(self.text)
        if self.kind == "INSERT":
            rows = int((self._metrics(mark) or {}).get("numOutputRows", "0"))
            return _counted(_INSERT_COUNTS, (rows, rows))
        if self.kind in _CHANGES:
            (row,) = found.collect()
            return _counted(tuple(found.columns), tuple(row))
        outputs = tuple(Output(field.name, type_of(field.dataType)) for field in found.schema.fields)
        table = found.toArrow()
        running.check()
        if self.kind.startswith(_DEFINITIONS):
            return Finished(pa.table({}), (), None)
        return Finished(arrow_table(table, outputs), outputs, None)

    def _metrics(self, mark: str) -> dict[str, str] | None:
        """Those of this statement's commit; None if it did not commit."""
        location = adaptations.location(self.spark, self.target) if self.target is not None else None
        return adaptations.committed(location, mark) if location is not None else None


def _counted(names: tuple[str, ...], counts: tuple[int, ...]) -> Finished:
    row = pa.table([pa.array([number], pa.int64()) for number in counts], names=list(names))
    return Finished(row, tuple(Output(name, BIGINT) for name in names), counts[0])
