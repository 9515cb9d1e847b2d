"""The four kinds of job a caller can enqueue, validated when they are made."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import AfterValidator, Field, JsonValue, SkipValidation, ValidationError

from lakequeue.changes import Change, check_changes
from lakequeue.definitions import SchemaColumn, check_definition
from lakequeue.encoding import Values
from lakequeue.errors import InvalidJob
from lakequeue.handle import Handle, id_of
from lakequeue.identifiers import check_column_name
from lakequeue.job_model import CheckedJobId, JobModel, Op, invalid_job
from lakequeue.json_text import read_json
from lakequeue.keyed_rows import Mode, check_key_columns, check_keyed_rows
from lakequeue.problems import Path, Problems
from lakequeue.row_keys import Key, check_form, check_key, check_key_value, check_keys
from lakequeue.rows import Row, check_rows, check_updates
from lakequeue.selection import EVERY_COLUMN, Filter, OrderBy, check_columns, check_filters, check_order_by

__all__ = [
    "DEFAULT_LIMIT",
    "MAX_LIMIT",
    "Change",
    "Delete",
    "Filter",
    "Job",
    "Mode",
    "Op",
    "OrderBy",
    "Read",
    "SchemaColumn",
    "Update",
    "Values",
    "Write",
    "parse_job",
    "read_json",
]

MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100

ColumnName = Annotated[str, AfterValidator(check_column_name)]


class Write(JobModel):
    """Insert rows; with a `mode` that looks for them by key, only those that are new, or update the others."""

    as_text: ClassVar[frozenset[str]] = frozenset({"key_columns"})
    kind: Literal["write"] = "write"
    mode: Mode = "append"
    """`append` inserts what it is given; `upsert` updates rows whose key is in the table and inserts the rest;
    `insert_if_absent` inserts the rest only."""
    key_columns: SkipValidation[tuple[str, ...]] = ()
    """What rows are told apart by, for the modes that look for them; a name is spelt as the rows spell it."""
    auto_create: bool = False
    """Create catalog, schema and table where they are missing, which takes a `schema_definition`."""
    schema_definition: SkipValidation[tuple[SchemaColumn, ...] | None] = None
    data: SkipValidation[list[Row]]
    """In wire form. Where there is a `schema_definition`, names are spelt as it spells them, and a Decimal, date or
    datetime in a column of its type is text."""

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, data: Mapping[str, object] | Sequence[Mapping[str, object]],
            mode: Mode = "append", key_columns: Sequence[str] | str | None = None,
            catalog: str | None = None, schema: str | None = None, schema_: str | None = None,
            auto_create: bool = False,
            schema_definition: Sequence[Mapping[str, object] | SchemaColumn] | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["write"] = "write",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], values: Values, problems: Problems) -> None:
        definition = None
        if fields.get("schema_definition") is not None:
            definition = check_definition(fields["schema_definition"], problems, values)
            fields["schema_definition"] = definition.columns if definition else None
        key_columns: tuple[str, ...] = ()
        mode = fields.get("mode", "append")
        if mode != "append" or "key_columns" in fields:
            key_columns = check_key_columns(fields.get("key_columns"), mode, definition, problems)
            fields["key_columns"] = key_columns
        if "data" in fields:
            before = len(problems)
            fields["data"] = rows = check_rows(fields["data"], definition, problems)
            # Rows that are sound only: of others, some are left out.
            if key_columns and len(problems) == before:
                fields["key_columns"] = check_keyed_rows(
                    key_columns, rows, definition, problems, same_columns=mode == "upsert"
                )

    @property
    def row_count(self) -> int:
        return len(self.data)

    def fields(self) -> dict[str, JsonValue]:
        wire = super().fields()
        if self.mode != "append":
            wire["mode"] = self.mode
            wire["key_columns"] = list(self.key_columns)
        if self.auto_create:
            wire["auto_create"] = True
        if self.schema_definition is not None:
            wire["schema_definition"] = [each.to_json() for each in self.schema_definition]
        wire["data"] = self.data  # type: ignore[assignment]  # list is invariant
        return wire


class Update(JobModel):
    """Set columns of the rows that have a key: one `key`, one in `key_column` and `key_value`, or many in `rows`."""

    kind: Literal["update"] = "update"
    key: SkipValidation[Key | None] = None
    key_column: ColumnName | None = None
    key_value: SkipValidation[JsonValue] = None
    updates: SkipValidation[Row | None] = None
    """Goes with the one key."""
    rows: SkipValidation[tuple[Change, ...] | None] = None
    """Each with its own key and updates, by the same key columns."""
    must_exist: bool = False
    """The job fails if a key is in no row, instead of counting none for it."""
    include_deleted: bool = False
    """Change soft-deleted rows as well."""

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, key: Mapping[str, object] | None = None, key_column: str | None = None,
            key_value: object = None, updates: Mapping[str, object] | None = None,
            rows: Sequence[Mapping[str, Mapping[str, object]] | Change] | None = None,
            must_exist: bool = False, include_deleted: bool = False,
            catalog: str | None = None, schema: str | None = None, schema_: str | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["update"] = "update",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], values: Values, problems: Problems) -> None:
        _check_one_key(fields, "rows", problems)
        if fields.get("updates") is not None:
            fields["updates"] = check_updates(fields["updates"], ("updates",), problems)
            if fields.get("rows") is not None:
                problems.add("both_forms", ("updates",), "each of the rows has updates of its own")
        elif fields.get("rows") is None:
            problems.add("missing", ("updates",), "give the new values, by column")
        if fields.get("rows") is not None:
            fields["rows"] = check_changes(fields["rows"], problems)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Keys and updates, in whichever form they were given; the keys have the same columns in the same order."""
        if self.rows is not None:
            return self.rows
        return (Change(_one_key(self), self.updates or {}),)

    @property
    def row_count(self) -> int:
        return 1 if self.rows is None else len(self.rows)

    def fields(self) -> dict[str, JsonValue]:
        wire = super().fields()
        if self.rows is not None:
            wire["rows"] = [each.to_json() for each in self.rows]
        else:
            wire |= _one_key_fields(self)
            wire["updates"] = self.updates
        if self.must_exist:
            wire["must_exist"] = True
        if self.include_deleted:
            wire["include_deleted"] = True
        return wire


class Delete(JobModel):
    """Delete the rows that have a key: one `key`, one in `key_column` and `key_value`, or many in `keys`."""

    kind: Literal["delete"] = "delete"
    key: SkipValidation[Key | None] = None
    key_column: ColumnName | None = None
    key_value: SkipValidation[JsonValue] = None
    # With a method `keys` or what looks like one, Python takes an object for a mapping: dict(job) would fail.
    keys_: SkipValidation[tuple[Key, ...] | None] = Field(default=None, alias="keys")
    """By the same columns."""
    soft: bool = True
    """Set `deleted_at` and keep the row: what can be undone is the default."""
    must_exist: bool = False
    """The job fails if a key is in no row, instead of counting none for it."""

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, key: Mapping[str, object] | None = None, key_column: str | None = None,
            key_value: object = None, keys: Sequence[Mapping[str, object]] | None = None,
            soft: bool = True, must_exist: bool = False,
            catalog: str | None = None, schema: str | None = None, schema_: str | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["delete"] = "delete",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], values: Values, problems: Problems) -> None:
        if "keys" in fields:
            if "keys_" in fields:
                problems.add("both_forms", ("keys",), "give keys or keys_, not both")
            fields["keys_"] = fields.pop("keys")
        _check_one_key(fields, "keys_", problems)
        if fields.get("keys_") is not None:
            fields["keys_"] = check_keys(fields["keys_"], problems)

    @property
    def targets(self) -> tuple[Key, ...]:
        """The keys, in whichever form they were given; they have the same columns in the same order."""
        return (_one_key(self),) if self.keys_ is None else self.keys_

    @property
    def row_count(self) -> int:
        return 1 if self.keys_ is None else len(self.keys_)

    def fields(self) -> dict[str, JsonValue]:
        wire = super().fields()
        if self.keys_ is not None:
            wire["keys"] = list(self.keys_)
        else:
            wire |= _one_key_fields(self)
        if not self.soft:
            wire["soft"] = False
        if self.must_exist:
            wire["must_exist"] = True
        return wire


def _check_one_key(fields: dict[str, object], many: Literal["rows", "keys_"], problems: Problems) -> None:
    check_form(fields, many, problems)
    if fields.get("key") is not None:
        fields["key"] = check_key(fields["key"], problems)
    if "key_value" in fields and (fields["key_value"] is not None or fields.get("key_column") is not None):
        fields["key_value"] = check_key_value(fields["key_value"], ("key_value",), problems)


def _one_key(job: Update | Delete) -> Key:
    if job.key is not None:
        return job.key
    assert job.key_column is not None
    return {job.key_column: job.key_value}


def _one_key_fields(job: Update | Delete) -> dict[str, JsonValue]:
    """The one key as it was given, so that a job has the digest it always had."""
    if job.key is not None:
        return {"key": job.key}
    return {"key_column": job.key_column, "key_value": job.key_value}


class Read(JobModel):
    """Select rows."""

    as_text: ClassVar[frozenset[str]] = frozenset({"columns", "order_by"})
    kind: Literal["read"] = "read"
    columns: SkipValidation[tuple[str, ...]] = EVERY_COLUMN
    """Names in order; `*` alone is every column but `_job_id`."""
    filters: SkipValidation[tuple[Filter, ...]] = ()
    """All of them must hold."""
    order_by: SkipValidation[tuple[OrderBy, ...]] = ()
    limit: int = Field(default=DEFAULT_LIMIT, ge=0, le=MAX_LIMIT)
    offset: int = Field(default=0, ge=0, le=2**31 - 1)
    after: CheckedJobId | None = None
    """A job, by its id or handle, that has to reach any final state first."""
    include_deleted: bool = False

    if TYPE_CHECKING:

        def __init__(
            self, *, table: str, columns: Sequence[str] | str | None = None,
            filters: Sequence[Mapping[str, object] | Filter] | None = None,
            order_by: Sequence[str | OrderBy] | str | None = None, limit: int = DEFAULT_LIMIT,
            offset: int = 0, after: str | Handle | None = None, include_deleted: bool = False,
            catalog: str | None = None, schema: str | None = None, schema_: str | None = None,
            actor: str | None = None, id: str | None = None, kind: Literal["read"] = "read",
        ) -> None: ...  # fmt: skip

    @classmethod
    def _check_own(cls, fields: dict[str, object], values: Values, problems: Problems) -> None:
        if isinstance(fields.get("after"), Handle):
            fields["after"] = id_of(cast("Handle", fields["after"]))
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


def parse_job(
    given: Mapping[str, object] | str | bytes, *, index: int | None = None, values: Values = "python"
) -> Write | Update | Delete | Read:
    """The job in a mapping of its fields with its `kind`, or in the JSON text of one.

    Args:
        index: the job's place among several, which InvalidJob then carries.
        values: how a mapping gives its values. Text gives them as JSON.
    """
    try:
        if isinstance(given, str | bytes | bytearray):
            given, values = cast("Mapping[str, object]", read_json(given)), "json"
        fields = given
        if not isinstance(fields, Mapping):
            raise _refusal("wrong_type", (), "a job is a JSON object")
        kind = fields.get("kind")
        model = _MODELS.get(kind) if isinstance(kind, str) else None
        if model is None:
            raise _refusal("unknown_kind", ("kind",), f"takes one of {', '.join(_MODELS)}")
        try:
            return model.model_validate(fields, context=values)
        except ValidationError as exc:
            raise invalid_job(model, fields, exc) from None
    except InvalidJob as exc:
        exc.index = index
        raise


def _refusal(kind: str, loc: Path, msg: str) -> InvalidJob:
    problems = Problems()
    problems.add(kind, loc, msg)
    return problems.as_invalid_job("a job")
