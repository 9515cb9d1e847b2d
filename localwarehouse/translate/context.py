"""What a translation knows and gathers: the catalogs, the parameters' types, the names in scope."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.catalog import DEFAULT_CATALOG, DEFAULT_SCHEMA, Catalogs, Table, TableName
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.plans import EngineSql
from localwarehouse.translate.values import Value
from localwarehouse.types import DataType, Struct, identifier, quote


@dataclass(frozen=True)
class Setting:
    """What a statement is translated against; with its text it decides the translation."""

    catalogs: Catalogs
    parameters: Mapping[str, DataType]
    catalog: str = DEFAULT_CATALOG
    schema: str = DEFAULT_SCHEMA

    def table_name(self, node: exp.Expression) -> TableName:
        """The full name of a `Table` node; one and two parts are completed from the session."""
        if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
            raise Unsupported(f"{node.sql(dialect='databricks')} in place of a table")
        only(node, "this", "db", "catalog", "alias")
        if node.args.get("alias") is not None:
            only(node.args["alias"], "this")
        return TableName((node.catalog or self.catalog).lower(), (node.db or self.schema).lower(), node.name.lower())

    def table(self, node: exp.Expression) -> Table:
        return self.catalogs.table(self.table_name(node))


@dataclass
class Gathered:
    """One engine statement in the making: its placeholders, and how many names it has used up.

    `early` gathers what is computed once before it, so that a cast of a parameter is not planned and run per row.
    """

    setting: Setting
    values: dict[str, str] = field(default_factory=dict)
    uses_now: bool = False
    relations: int = 0
    early: "Gathered | None" = None
    # Of an early statement: its columns, by their names.
    columns: dict[str, str] = field(default_factory=dict)

    def placeholder(self, parameter: str) -> str:
        for placeholder, known in self.values.items():
            if known == parameter:
                return f"${placeholder}"
        placeholder = f"p{len(self.values)}"
        self.values[placeholder] = parameter
        return f"${placeholder}"

    def now(self) -> str:
        self.uses_now = True
        return "CAST($now AS TIMESTAMP)"

    def relation(self) -> str:
        self.relations += 1
        return f"q{self.relations}"

    def column(self, sql: str, prefix: str) -> str:
        """A column of an early statement. `k…` is handed to the main statement under that name."""
        for name, known in self.columns.items():
            if known == sql:
                return name
        name = f"{prefix}{len(self.columns)}"
        self.columns[name] = sql
        return name

    def finish(self, text: str) -> EngineSql:
        return EngineSql(text, dict(self.values), self.uses_now)

    def finish_early(self) -> EngineSql | None:
        early = self.early
        if early is None or not early.columns:
            return None
        return early.finish("SELECT " + ", ".join(f"{sql} AS {name}" for name, sql in early.columns.items()))


def gather(setting: Setting) -> Gathered:
    """For a whole statement."""
    return Gathered(setting, early=Gathered(setting))


@dataclass(frozen=True)
class Visible:
    """A column that can be named: `sql` reads it."""

    name: str
    sql: str
    type: DataType


@dataclass(frozen=True)
class Relation:
    """One source of a FROM. `qualifiers` are the lowercase names it goes by: `t`, `s.t`, `c.s.t`."""

    qualifiers: frozenset[str]
    columns: tuple[Visible, ...]


@dataclass(frozen=True)
class Scope:
    """The names an expression may use, innermost first; `parent` is the enclosing query's."""

    relations: tuple[Relation, ...] = ()
    parent: "Scope | None" = None

    def with_variables(self, columns: tuple[Visible, ...]) -> "Scope":
        return Scope((Relation(frozenset(), columns),), self)

    def resolve(self, parts: list[str]) -> Value:
        """The column `a`, `t.a`, `s.t.a` or `c.s.t.a`, or a field `a.f.g` of one."""
        scope: Scope | None = self
        while scope is not None:
            for split in range(min(3, len(parts) - 1), -1, -1):
                found = scope._columns(".".join(parts[:split]).lower(), parts[split])
                if len(found) > 1:
                    raise WarehouseError("AMBIGUOUS_REFERENCE", f"Reference {_quoted(parts)} is ambiguous.", "42704")
                if found:
                    value = Value(found[0].sql, found[0].type, of_row=True)
                    for name in parts[split + 1 :]:
                        value = struct_field(value, name)
                    return value
            scope = scope.parent
        known = [column.name for relation in self.relations for column in relation.columns]
        raise errors.unresolved_column(_quoted(parts), known)

    def _columns(self, qualifier: str, name: str) -> list[Visible]:
        return [
            column
            for relation in self.relations
            if not qualifier or qualifier in relation.qualifiers
            for column in relation.columns
            if column.name.lower() == name.lower()
        ]


def struct_field(value: Value, name: str) -> Value:
    if not isinstance(value.type, Struct):
        raise WarehouseError(
            "INVALID_EXTRACT_BASE_FIELD_TYPE",
            f"Can't extract a value from {quote(name)}: need a complex type.",
            "42000",
        )
    found = value.type.find(name)
    if found is None:
        raise WarehouseError("FIELD_NOT_FOUND", f"No such struct field {quote(name)}.", "42704")
    return value.become(f"struct_extract({value.sql}, {_text(found.name)})", found.type)


def _text(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _quoted(parts: list[str]) -> str:
    return ".".join(quote(part) for part in parts)


def table_relation(table: Table, source: str, alias: str | None) -> Relation:
    """The table's columns, read through the engine's name `source`."""
    name = table.name
    qualifiers = (
        frozenset({alias.lower()}) if alias else frozenset({name.table, f"{name.schema}.{name.table}", name.dotted})
    )
    return Relation(
        qualifiers,
        tuple(Visible(column.name, f"{source}.{identifier(column.storage)}", column.type) for column in table.columns),
    )


def only(node: exp.Expression, *known: str) -> None:
    """Refuse a node that says more than its translation would carry over."""
    for argument, value in node.args.items():
        if argument not in known and value not in (None, False, [], ""):
            word = argument.rstrip("_").replace("_", " ").upper()
            raise Unsupported(f"{word} in {type(node).__name__.upper()}")


def column_parts(node: exp.Expression) -> list[str] | None:
    """The dotted names of a column reference, or None for any other expression."""
    if isinstance(node, exp.Identifier):
        return [node.name]
    if isinstance(node, exp.Column):
        names = [node.args.get(part) for part in ("catalog", "db", "table", "this")]
        return [name.name for name in names if isinstance(name, exp.Identifier)]
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        before = column_parts(node.this)
        return None if before is None else [*before, node.expression.name]
    return None
