"""Spark's data types, and how SQL and DuckDB write them."""

from dataclasses import dataclass
from typing import Literal, assert_never

from sqlglot import exp
from sqlglot.errors import SqlglotError

from localwarehouse.errors import Unsupported, WarehouseError, syntax_error

SimpleName = Literal[
    "void", "boolean", "tinyint", "smallint", "int", "bigint", "float", "double", "string", "date", "timestamp",
    "timestamp_ntz", "binary",
]  # fmt: skip


@dataclass(frozen=True)
class Simple:
    name: SimpleName


@dataclass(frozen=True)
class Decimal:
    precision: int
    scale: int


@dataclass(frozen=True)
class Text:
    """VARCHAR(n) or CHAR(n): a column's type only; an expression of it is a STRING."""

    name: Literal["varchar", "char"]
    length: int


@dataclass(frozen=True)
class Array:
    element: "DataType"


@dataclass(frozen=True)
class Map:
    key: "DataType"
    value: "DataType"


@dataclass(frozen=True)
class Field:
    name: str
    type: "DataType"
    nullable: bool = True


@dataclass(frozen=True)
class Struct:
    fields: tuple[Field, ...]

    def find(self, name: str) -> Field | None:
        return next((field for field in self.fields if field.name.lower() == name.lower()), None)


DataType = Simple | Decimal | Text | Array | Map | Struct

VOID = Simple("void")
BOOLEAN = Simple("boolean")
TINYINT = Simple("tinyint")
SMALLINT = Simple("smallint")
INT = Simple("int")
BIGINT = Simple("bigint")
FLOAT = Simple("float")
DOUBLE = Simple("double")
STRING = Simple("string")
DATE = Simple("date")
TIMESTAMP = Simple("timestamp")
TIMESTAMP_NTZ = Simple("timestamp_ntz")
BINARY = Simple("binary")

# From narrow to wide: Spark widens along this order.
INTEGRALS: tuple[DataType, ...] = (TINYINT, SMALLINT, INT, BIGINT)
FRACTIONS: tuple[DataType, ...] = (FLOAT, DOUBLE)
# How many decimal digits each integral type can need.
INTEGRAL_DIGITS: dict[DataType, int] = {TINYINT: 3, SMALLINT: 5, INT: 10, BIGINT: 20}

_PARSED: dict[exp.DType, Simple] = {
    exp.DType.NULL: VOID,
    exp.DType.BOOLEAN: BOOLEAN,
    exp.DType.TINYINT: TINYINT,
    exp.DType.SMALLINT: SMALLINT,
    exp.DType.INT: INT,
    exp.DType.BIGINT: BIGINT,
    exp.DType.FLOAT: FLOAT,
    exp.DType.DOUBLE: DOUBLE,
    exp.DType.TEXT: STRING,
    exp.DType.DATE: DATE,
    exp.DType.TIMESTAMPTZ: TIMESTAMP,
    exp.DType.TIMESTAMPLTZ: TIMESTAMP,
    exp.DType.TIMESTAMPNTZ: TIMESTAMP_NTZ,
    exp.DType.BINARY: BINARY,
}


def parse_type(node: exp.Expression | None) -> DataType:
    """The type a parsed `DataType` node names."""
    if not isinstance(node, exp.DataType) or not isinstance(node.this, exp.DType):
        raise Unsupported(f"the data type {node.sql(dialect='databricks') if node is not None else 'missing'}")
    simple = _PARSED.get(node.this)
    parameters = node.expressions
    if simple is not None and not parameters:
        return simple
    match node.this:
        case exp.DType.DECIMAL:
            numbers = [_number(parameter) for parameter in parameters]
            precision, scale = [*numbers, 0][:2] if numbers else (10, 0)
            if not 1 <= precision <= 38 or not 0 <= scale <= precision:
                raise WarehouseError(
                    "DECIMAL_PRECISION_EXCEEDS_MAX_PRECISION",
                    f"Decimal precision {precision} and scale {scale} are not within 38 digits.",
                    "22003",
                )
            return Decimal(precision, scale)
        case exp.DType.VARCHAR | exp.DType.CHAR:
            name: Literal["varchar", "char"] = "varchar" if node.this is exp.DType.VARCHAR else "char"
            if not parameters:
                raise WarehouseError(
                    "DATATYPE_MISSING_SIZE",
                    f'DataType "{name.upper()}" requires a length parameter, for example "{name.upper()}"(10).',
                    "42K01",
                )
            return Text(name, _number(parameters[0]))
        case exp.DType.ARRAY if len(parameters) == 1:
            return Array(parse_type(parameters[0]))
        case exp.DType.MAP if len(parameters) == 2:
            return Map(parse_type(parameters[0]), parse_type(parameters[1]))
        case exp.DType.STRUCT:
            return Struct(tuple(_field(parameter) for parameter in parameters))
        case exp.DType.ARRAY | exp.DType.MAP:
            raise WarehouseError(
                "INCOMPLETE_TYPE_DEFINITION", f'Incomplete complex type: "{node.this.value}".', "42K01"
            )
        case _:
            raise Unsupported(f"the data type {node.sql(dialect='databricks')}")


def parse_type_text(text: str) -> DataType:
    """The type a schema string such as `ARRAY<STRUCT<id: STRING>>` names."""
    try:
        node = exp.DataType.build(text, dialect="databricks")
    except SqlglotError as exc:
        raise syntax_error(f"'{text}'") from exc
    return parse_type(node)


def _number(parameter: exp.Expression) -> int:
    return int(parameter.name)


def _field(node: exp.Expression) -> Field:
    if not isinstance(node, exp.ColumnDef):
        raise Unsupported(f"the struct field {node.sql(dialect='databricks')}")
    nullable = True
    for constraint in node.args.get("constraints") or []:
        kind = constraint.args["kind"]
        if isinstance(kind, exp.NotNullColumnConstraint) and not kind.args.get("allow_null"):
            # Nothing here enforces it inside a value, and a silent NULL would be worse than a refusal.
            raise Unsupported("NOT NULL inside a STRUCT")
        if not isinstance(kind, exp.CommentColumnConstraint | exp.NotNullColumnConstraint):
            raise Unsupported(f"the struct field {node.sql(dialect='databricks')}")
    return Field(node.name, parse_type(node.args.get("kind")), nullable)


def sql_name(data_type: DataType) -> str:
    """The type as SQL writes it: `ARRAY<STRUCT<a: INT>>`. `parse_type_text` reads it back."""
    match data_type:
        case Simple(name):
            return name.upper()
        case Decimal(precision, scale):
            return f"DECIMAL({precision},{scale})"
        case Text(name, length):
            return f"{name.upper()}({length})"
        case Array(element):
            return f"ARRAY<{sql_name(element)}>"
        case Map(key, value):
            return f"MAP<{sql_name(key)}, {sql_name(value)}>"
        case Struct(fields):
            inner = ", ".join(f"{quote(field.name)}: {sql_name(field.type)}" for field in fields)
            return f"STRUCT<{inner}>"
        case _:
            assert_never(data_type)


def quote(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


_DUCKDB: dict[SimpleName, str] = {
    "void": "INTEGER",
    "boolean": "BOOLEAN",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "int": "INTEGER",
    "bigint": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "date": "DATE",
    # Both kinds are kept as microseconds without a zone: a TIMESTAMP's are UTC.
    "timestamp": "TIMESTAMP",
    "timestamp_ntz": "TIMESTAMP",
    "binary": "BLOB",
}


def duckdb_name(data_type: DataType) -> str:
    match data_type:
        case Simple(name):
            return _DUCKDB[name]
        case Decimal(precision, scale):
            return f"DECIMAL({precision},{scale})"
        case Text():
            return "VARCHAR"
        case Array(element):
            return f"{duckdb_name(element)}[]"
        case Map(key, value):
            return f"MAP({duckdb_name(key)}, {duckdb_name(value)})"
        case Struct(fields):
            inner = ", ".join(f"{identifier(field.name)} {duckdb_name(field.type)}" for field in fields)
            return f"STRUCT({inner})"
        case _:
            assert_never(data_type)


def identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def as_expression(data_type: DataType) -> DataType:
    """What a column of this type is once it is read: VARCHAR and CHAR are STRING everywhere but in a table."""
    match data_type:
        case Text():
            return STRING
        case Array(element):
            return Array(as_expression(element))
        case Map(key, value):
            return Map(as_expression(key), as_expression(value))
        case Struct(fields):
            return Struct(tuple(Field(field.name, as_expression(field.type), field.nullable) for field in fields))
        case Simple() | Decimal():
            return data_type
        case _:
            assert_never(data_type)
