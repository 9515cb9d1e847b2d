"""What every kind of job has: its table, who wants it done, and how it is checked."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from lakequeue.encoding import Values
from lakequeue.errors import InvalidJob
from lakequeue.identifiers import JobId, TableName, check_job_id
from lakequeue.problems import Path, Problems, suggestion
from lakequeue.typed_values import recognised

Op = Literal["write", "update", "delete", "read"]
Actor = Annotated[str, StringConstraints(min_length=1, max_length=255)]
CheckedJobId = Annotated[JobId, AfterValidator(check_job_id)]


_DOTTED = r"^[^.]+\.[^.]+\.[^.]+$"
"""A table as `catalog.schema.table`, in a JSON schema."""


class JobModel(BaseModel):
    """The constructor takes Python values and raises InvalidJob with every error found. `model_validate` takes JSON, as
    a web framework reads it from a request's body, and raises pydantic's ValidationError with the same errors.

    Jobs are equal if their fields are, however their values were given.
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", validate_by_name=True, hide_input_in_errors=True
    )

    known_fields: ClassVar[frozenset[str]]
    """Every name that a field may be given by."""

    as_text: ClassVar[frozenset[str]] = frozenset()
    """Lists that may be given as text with commas between."""

    kind: Op
    catalog: str
    schema_: str = Field(alias="schema")
    table: str
    actor: Actor | None = None
    """Who is recorded as creator or changer of a row; the worker's own identity if absent."""
    id: CheckedJobId | None = None
    """Absent, the client makes one."""

    # Kept beside the fields as pydantic keeps a cached_property: copies have it, and it is no part of what is compared
    # or dumped. A PrivateAttr costs three microseconds a job.
    _values: ClassVar[Values] = "json"

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: object) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        aliases = {field.alias for field in cls.model_fields.values() if field.alias}
        cls.known_fields = frozenset(cls.model_fields) | aliases

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The forms that a job takes beside the one that it is kept in: a dotted table, lists as text."""
        schema = handler.resolve_ref_schema(handler(core))
        fields = schema["properties"]
        schema["required"] = [name for name in schema["required"] if name not in ("catalog", "schema")]
        schema["anyOf"] = [
            {"required": ["catalog", "schema"]},
            {
                "not": {"anyOf": [{"required": ["catalog"]}, {"required": ["schema"]}]},
                "properties": {"table": {"pattern": _DOTTED}},
            },
        ]
        for name in cls.as_text:
            field = fields[name]
            text = {"type": "string"}
            item = text if field["items"] == text else {"anyOf": [text, field["items"]]}
            forms = [text, {"type": "array", "items": item}]
            fields[name] = {"title": field["title"], "default": field["default"], "anyOf": forms}
        return schema

    def __init__(self, /, **given: object) -> None:
        try:
            # As pydantic's own constructor, with a context.
            self.__pydantic_validator__.validate_python(given, self_instance=self, context="python")
        except ValidationError as exc:
            raise invalid_job(type(self), given, exc) from None

    # As on BaseModel's own: without it, model_validate would call the constructor and raise InvalidJob too.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, given: object, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo) -> Self:
        """The context says how values are given; without one, they are JSON that another library read."""
        if isinstance(given, cls):
            return handler(given)
        values: Values = "python" if info.context == "python" else "json"
        if info.context is None:
            given = recognised(given)
        problems = Problems()
        if not isinstance(given, Mapping):
            problems.add("wrong_type", (), "a job is an object of its fields")
            raise _validation_error(cls, problems)
        fields = dict(given)
        known = cls.known_fields
        if not fields.keys() <= known:
            for name in [name for name in fields if name not in known]:
                del fields[name]
                offered = {each for each in known if each != "kind" and not each.endswith("_")}
                msg = f"a {cls._op()} job has no such field{suggestion(name, offered)}"
                problems.add("unknown_field", (name,) if isinstance(name, str) else (), msg)
        _check_table(fields, problems)
        cls._check_own(fields, values, problems)
        try:
            job = handler(fields)
        except ValidationError as exc:
            _add_errors(exc, problems)
        else:
            if not problems:
                job.__dict__["_values"] = values
                return job
        raise _validation_error(cls, problems)

    @classmethod
    def _check_own(cls, fields: dict[str, object], values: Values, problems: Problems) -> None:
        """Replace in `fields` what is checked by hand: what pydantic would check cell by cell."""

    @classmethod
    def _op(cls) -> str:
        return str(cls.model_fields["kind"].default)

    def __repr__(self) -> str:
        # Nothing of the rows: a repr ends in logs.
        name = f", id={self.id!r}" if self.id else ""
        return f"{type(self).__name__}({self.table_name}{name}, rows={self.row_count})"

    __str__ = __repr__

    @property
    def values(self) -> Values:
        """How the values of rows, keys and filters were given: text is base64 for a BINARY column in JSON only."""
        return self._values

    @property
    def table_name(self) -> TableName:
        return TableName.of(self.catalog, self.schema_, self.table)

    @property
    def op(self) -> Op:
        return self.kind

    @property
    def row_count(self) -> int:
        """Rows that the job carries: those of a write, one for each key of an update or delete, none for a read."""
        return 1

    def fields(self) -> dict[str, JsonValue]:
        """The job as keyword arguments of its wire message: JSON-ready, without its kind, id and defaults.

        Rows are shared with the job, not copied: do not change them.
        """
        wire: dict[str, JsonValue] = {"catalog": self.catalog, "schema": self.schema_, "table": self.table}
        if self.actor is not None:
            wire["actor"] = self.actor
        return wire


def _check_table(fields: dict[str, object], problems: Problems) -> None:
    """Put the canonical three names into `fields`, from `catalog.schema.table` or from three fields."""
    if "schema" in fields and "schema_" in fields:
        problems.add("both_forms", ("schema",), "give schema or schema_, not both")
    schema = fields.pop("schema", None)
    parts = {
        "catalog": fields.get("catalog"),
        "schema": fields.get("schema_", schema),
        "table": fields.get("table"),
    }
    name = _PLACEHOLDER
    try:
        if parts["catalog"] is None and parts["schema"] is None:
            if parts["table"] is None:
                problems.add("missing", ("table",), "give the table as catalog.schema.table")
            else:
                name = TableName.parse(parts["table"])  # type: ignore[arg-type]  # parse refuses others
        elif isinstance(parts["table"], str) and "." in parts["table"]:
            msg = "give the table as catalog.schema.table or in three fields, not both"
            problems.add("both_forms", ("table",), msg)
        else:
            name = _from_three(parts, problems)
    except ValueError as exc:
        problems.add("bad_name", ("table",), str(exc))
    fields["catalog"], fields["schema_"], fields["table"] = name.catalog, name.schema, name.table


_PLACEHOLDER = TableName("x", "x", "x")
"""Stands in for a name that is refused, so that the other fields' errors are found as well."""


def _from_three(parts: Mapping[str, object], problems: Problems) -> TableName:
    try:
        return TableName.of(parts["catalog"], parts["schema"], parts["table"])  # type: ignore[arg-type]
    except (ValueError, TypeError):  # TypeError: not hashable; below, each part says what it lacks
        pass
    for part, value in parts.items():
        try:
            if value is None:
                problems.add("missing", (part,), "give all three names, or catalog.schema.table alone")
            else:
                TableName(**{**_PLACEHOLDER_PARTS, part: value})  # type: ignore[arg-type]
        except ValueError as exc:
            problems.add("bad_name", (part,), str(exc))
    return _PLACEHOLDER


_PLACEHOLDER_PARTS = dict.fromkeys(("catalog", "schema", "table"), "x")


def _add_errors(exc: ValidationError, problems: Problems) -> None:
    for error in exc.errors(include_url=False, include_input=False):
        if error["type"] == "more":
            problems.more += error["ctx"]["count"]
        else:
            # Our own ValueErrors come with a prefix that says nothing to a caller.
            problems.add(error["type"], error["loc"], error["msg"].removeprefix("Value error, "))


def _validation_error(model: type[JobModel], problems: Problems) -> ValidationError:
    lines = [_line(PydanticCustomError(kind, "{msg}", {"msg": msg}), loc) for kind, loc, msg in problems.shown]
    if problems.more:
        lines.append(
            _line(
                PydanticCustomError(
                    "more", "and {least}{count} more", {"count": problems.more, "least": problems.least}
                ),
                (),
            )
        )
    return ValidationError.from_exception_data(model.__name__, lines, hide_input=True)


def _line(error: PydanticCustomError, loc: Path) -> InitErrorDetails:
    return InitErrorDetails(type=error, loc=loc, input=None)


def invalid_job(model: type[JobModel], given: Mapping[str, object], exc: ValidationError) -> InvalidJob:
    problems = Problems()
    _add_errors(exc, problems)
    fields = dict(given)
    _check_table(fields, named := Problems())
    table = "" if named else f" {fields['catalog']}.{fields['schema_']}.{fields['table']}"
    return problems.as_invalid_job(f"{model._op()}{table}")
