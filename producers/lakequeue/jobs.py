"""The four kinds of job a caller can enqueue, validated when they are made."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, JsonValue, SkipValidation, ValidationError

from lakequeue.definitions import SchemaColumn, check_definition
from lakequeue.errors import InvalidJob
from lakequeue.identifiers import check_column_name
from lakequeue.job_model import CheckedJobId, JobModel, Op, invalid_job
from lakequeue.json_text import read_json
from lakequeue.problems import Path, Problems
from lakequeue.rows import Row, check_rows, check_scalar, check_updates
from lakequeue.selection import EVERY_COLUMN, Filter, OrderBy, check_columns, check_filters, check_order_by

__all__ = [
    "DEFAULT_LIMIT",
    "MAX_LIMIT",
    "Delete",
    "Filter",
    "Job",
    "Op",
    "OrderBy",
    "Read",
    "SchemaColumn",
    "Update",
    "Write",
    "parse_job",
    "read_json",
]

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100

ColumnName = Annotated[str, AfterValidator(check_column_name)]


class Write(JobModel):
    """Insert rows."""

    kind: Literal["write"] = "write"
    auto_create: bool = False
    """Create catalog, schema and table where they are missing, which takes a `schema_definition`."""
    schema_definition: SkipValidation[tuple[SchemaColumn, ...] | None] = None
    data: SkipValidation[list[Row]]
    """In wire form; a column's name is spelt as `schema_definition` spells it, where there is one."""

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, data: Mapping[str, object] | Sequence[Mapping[str, object]],
            catalog: str | None = None, schema_: str | None = None, auto_create: bool = False,
            schema_definition: Sequence[Mapping[str, object] | SchemaColumn] | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["write"] = "write",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], problems: Problems) -> None:
        definition = None
        if fields.get("schema_definition") is not None:
            definition = check_definition(fields["schema_definition"], problems)
            fields["schema_definition"] = definition.columns if definition else None
        if "data" in fields:
            fields["data"] = check_rows(fields["data"], definition, problems)

    @property
    def row_count(self) -> int:
        return len(self.data)

    def fields(self) -> dict[str, JsonValue]:
        wire = super().fields()
        if self.auto_create:
            wire["auto_create"] = True
        if self.schema_definition is not None:
            wire["schema_definition"] = [each.to_json() for each in self.schema_definition]
        wire["data"] = self.data  # type: ignore[assignment]  # list is invariant
        return wire


class Update(JobModel):
    """Set columns of the rows whose `key_column` equals `key_value`."""

    kind: Literal["update"] = "update"
    key_column: ColumnName
    key_value: SkipValidation[JsonValue]
    updates: SkipValidation[Row]

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, key_column: str, key_value: object, updates: Mapping[str, object],
            catalog: str | None = None, schema_: str | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["update"] = "update",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], problems: Problems) -> None:
        if "key_value" in fields:
            fields["key_value"] = check_scalar(fields["key_value"], ("key_value",), problems)
        if "updates" in fields:
            fields["updates"] = check_updates(fields["updates"], problems)

    def fields(self) -> dict[str, JsonValue]:
        return super().fields() | {
            "key_column": self.key_column,
            "key_value": self.key_value,
            "updates": self.updates,
        }


class Delete(JobModel):
    """Delete the rows whose `key_column` equals `key_value`."""

    kind: Literal["delete"] = "delete"
    key_column: ColumnName
    key_value: SkipValidation[JsonValue]
    soft: bool = True
    """Set `deleted_at` and keep the row: what can be undone is the default."""

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, key_column: str, key_value: object, soft: bool = True,
            catalog: str | None = None, schema_: str | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["delete"] = "delete",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], problems: Problems) -> None:
        if "key_value" in fields:
            fields["key_value"] = check_scalar(fields["key_value"], ("key_value",), problems)

    def fields(self) -> dict[str, JsonValue]:
        wire = super().fields() | {"key_column": self.key_column, "key_value": self.key_value}
        if not self.soft:
            wire["soft"] = False
        return wire


class Read(JobModel):
    """Select rows."""

    kind: Literal["read"] = "read"
    columns: SkipValidation[tuple[str, ...]] = EVERY_COLUMN
    """Names in order; `*` alone is every column but `_job_id`."""
    filters: SkipValidation[tuple[Filter, ...]] = ()
    """All of them must hold."""
    order_by: SkipValidation[tuple[OrderBy, ...]] = ()
    limit: int = Field(default=DEFAULT_LIMIT, ge=0, le=MAX_LIMIT)
    offset: int = Field(default=0, ge=0, le=2**31 - 1)
    after: CheckedJobId | None = None
    """A job that has to reach any final state first."""
    include_deleted: bool = False

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, columns: Sequence[str] | str | None = None,
            filters: Sequence[Mapping[str, object] | Filter] | None = None,
            order_by: Sequence[str | OrderBy] | str | None = None, limit: int = DEFAULT_LIMIT,
            offset: int = 0, after: str | None = None, include_deleted: bool = False,
            catalog: str | None = None, schema_: str | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["read"] = "read",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], problems: Problems) -> None:
        if "columns" in fields:
            fields["columns"] = check_columns(fields["columns"], problems)
        if "filters" in fields:
            fields["filters"] = check_filters(fields["filters"], problems)
        if "order_by" in fields:
            fields["order_by"] = check_order_by(fields["order_by"], problems)

    @property
    def row_count(self) -> int:
        return 0

    def fields(self) -> dict[str, JsonValue]:
        wire = super().fields()
        if self.columns != EVERY_COLUMN:
            wire["columns"] = list(self.columns)
        if self.filters:
            wire["filters"] = [each.to_json() for each in self.filters]
        if self.order_by:
            wire["order_by"] = [str(each) for each in self.order_by]
        if self.limit != DEFAULT_LIMIT:
            wire["limit"] = self.limit
        if self.offset:
            wire["offset"] = self.offset
        if self.after is not None:
            wire["after"] = self.after
        if self.include_deleted:
            wire["include_deleted"] = True
        return wire


Job = Annotated[Write | Update | Delete | Read, Field(discriminator="kind")]

_MODELS: dict[str, type[Write | Update | Delete | Read]] = {
    "write": Write,
    "update": Update,
    "delete": Delete,
    "read": Read,
}


def parse_job(given: Mapping[str, object] | str | bytes, *, index: int | None = None) -> Write | Update | Delete | Read:
    """The job in a JSON object with its `kind`, or in the text of one.

    InvalidJob carries `index`, the job's place among several, if the caller gives it.
    """
    try:
        fields = read_json(given) if isinstance(given, str | bytes | bytearray) else given
        if not isinstance(fields, Mapping):
            raise _refusal("wrong_type", (), "a job is a JSON object")
        kind = fields.get("kind")
        model = _MODELS.get(kind) if isinstance(kind, str) else None
        if model is None:
            raise _refusal("unknown_kind", ("kind",), f"takes one of {', '.join(_MODELS)}")
        try:
            return model.model_validate(fields)
        except ValidationError as exc:
            raise invalid_job(model, fields, exc) from None
    except InvalidJob as exc:
        exc.index = index
        raise


def _refusal(kind: str, loc: Path, msg: str) -> InvalidJob:
    problems = Problems()
    problems.add(kind, loc, msg)
    return problems.as_invalid_job("a job")
