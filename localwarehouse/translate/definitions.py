"""CREATE, DROP and ALTER of catalogs, schemas and tables."""

import re

from sqlglot import exp

from localwarehouse.catalog import Check, Column, Identity, TableName
from localwarehouse.errors import Unsupported, WarehouseError, syntax_error
from localwarehouse.plans import (
    Action,
    AddCheck,
    AddColumns,
    CreateCatalog,
    CreateSchema,
    CreateTable,
    Definition,
    DropCatalog,
    DropSchema,
    DropTable,
)
from localwarehouse.translate import select
from localwarehouse.translate.context import Gathered, Scope, Setting, only, table_relation
from localwarehouse.translate.expressions import Expressions, shown
from localwarehouse.types import BIGINT, BINARY, BOOLEAN, Array, Map, Struct, Text, parse_type, sql_name

_NAME = r"(?:`((?:[^`]|``)+)`|([A-Za-z0-9_]+))"
_CATALOG = re.compile(
    rf"(?:(CREATE)\s+CATALOG(\s+IF\s+NOT\s+EXISTS)?|(DROP)\s+CATALOG(\s+IF\s+EXISTS)?)\s+{_NAME}(\s+CASCADE)?\s*;?",
    re.IGNORECASE,
)
_MAX_NAME_LENGTH = 255


def catalog_statement(text: str) -> Definition | None:
    """CREATE CATALOG and DROP CATALOG, which sqlglot does not parse; None is neither."""
    found = _CATALOG.fullmatch(text.strip())
    if found is None:
        return None
    name = _object_name((found[5] or found[6] or "").replace("``", "`"))
    action: Action
    if found[1] and not found[7]:
        return Definition("CREATE_CATALOG", None, CreateCatalog(name, bool(found[2])))
    if found[3]:
        action = DropCatalog(name, bool(found[4]), bool(found[7]))
        return Definition("DROP_CATALOG", None, action)
    return None


def create(setting: Setting, node: exp.Expression) -> Definition:
    kind = str(node.args.get("kind")).upper()
    if kind in ("SCHEMA", "DATABASE"):
        only(node, "this", "kind", "exists")
        catalog, schema = _schema_name(setting, node.this)
        return Definition("CREATE_SCHEMA", None, CreateSchema(catalog, schema, bool(node.args.get("exists"))))
    if kind != "TABLE" or not isinstance(node.this, exp.Schema):
        raise Unsupported(f"CREATE {kind} in this form")
    only(node, "this", "kind", "exists", "properties")
    name = _new_table(setting.table_name(node.this.this))
    properties, comment = _properties(node.args.get("properties"))
    mapped = dict(properties).get("delta.columnMapping.mode") == "name"
    columns = _columns(node.this.expressions, 0, mapped=mapped)
    _distinct([column.name for column in columns])
    _have_statistics(columns, dict(properties).get("delta.dataSkippingStatsColumns", ""))
    action = CreateTable(name, columns, properties, comment, bool(node.args.get("exists")))
    return Definition("CREATE_TABLE", name, action)


def _have_statistics(columns: tuple[Column, ...], named: str) -> None:
    """Delta Lake keeps statistics of numbers, STRINGs and times only."""
    by_name = {column.name.lower(): column.type for column in columns}
    for part in re.findall(r"`((?:[^`]|``)+)`|([^,`]+)", named):
        name = (part[0].replace("``", "`") or part[1]).strip().lower()
        kept = by_name.get(name)
        if isinstance(kept, Array | Map | Struct | Text) or kept in (BOOLEAN, BINARY):
            raise WarehouseError(
                "DELTA_COLUMN_DATA_SKIPPING_NOT_SUPPORTED_TYPE",
                f"Data skipping is not supported for column '{name}' of type {sql_name(kept)}.",
                "0AKDC",
            )


def drop(setting: Setting, node: exp.Expression) -> Definition:
    only(node, "tables", "kind", "exists", "cascade", "restrict")
    kind = str(node.args.get("kind")).upper()
    exists, cascade = bool(node.args.get("exists")), bool(node.args.get("cascade"))
    target, *others = node.args["tables"]
    if others:
        raise Unsupported(f"DROP {kind} of several")
    if kind in ("SCHEMA", "DATABASE"):
        catalog, schema = _schema_name(setting, target)
        return Definition("DROP_SCHEMA", None, DropSchema(catalog, schema, exists, cascade))
    if kind != "TABLE" or cascade:
        raise Unsupported(f"DROP {kind} in this form")
    name = setting.table_name(target)
    return Definition("DROP_TABLE", name, DropTable(name, exists))


def alter(setting: Setting, node: exp.Expression) -> Definition:
    only(node, "this", "kind", "actions")
    if str(node.args.get("kind")).upper() != "TABLE":
        raise Unsupported(f"ALTER {node.args.get('kind')}")
    table = setting.table(node.this)
    actions = node.args["actions"]
    first = actions[0]
    if isinstance(first, exp.AddConstraint) and len(actions) == 1:
        return _add_check(setting, node, first)
    parts = [
        part for action in actions for part in (action.expressions if isinstance(action, exp.Schema) else [action])
    ]
    if not all(isinstance(part, exp.ColumnDef) and not part.args.get("exists") for part in parts):
        raise Unsupported(f"ALTER TABLE … {shown(first)}")
    # Storage names are never used twice, so the next free number is the count of columns.
    mapped = dict(table.properties).get("delta.columnMapping.mode") == "name"
    columns = _columns(parts, len(table.columns), mapped=mapped)
    _distinct([column.name for column in (*table.columns, *columns)])
    if any(column.generated is not None or column.identity is not None for column in columns):
        raise Unsupported("ADD COLUMN of one that is filled in by the table")
    if not all(column.nullable for column in columns):
        raise WarehouseError("DELTA_ADDING_COLUMN_WITH_NOT_NULL", "NOT NULL is not supported in ADD COLUMN.", "42KDE")
    return Definition("ALTER_TABLE", table.name, AddColumns(table.name, columns))


def _add_check(setting: Setting, node: exp.Expression, action: exp.Expression) -> Definition:
    table = setting.table(node.this)
    (constraint,) = action.expressions
    if not isinstance(constraint, exp.Constraint) or len(constraint.expressions) != 1:
        raise Unsupported(f"ALTER TABLE … {shown(action)}")
    (rule,) = constraint.expressions
    if not isinstance(rule, exp.CheckColumnConstraint):
        raise Unsupported(f"ALTER TABLE … {shown(action)}")
    if rule.find(exp.Select, exp.Placeholder, exp.Anonymous) is not None:
        raise Unsupported(f"the CHECK ({shown(rule.this)})")
    gathered = Gathered(setting)
    scope = Scope((table_relation(table, "t", None),))
    condition = Expressions(gathered, scope, select.translate).boolean(rule.this)
    if gathered.uses_now:
        raise Unsupported(f"the CHECK ({shown(rule.this)})")
    violations = gathered.finish(f"SELECT count(*) FROM {table.storage} AS t WHERE ({condition.sql}) IS NOT true")
    check = Check(constraint.name.lower(), rule.this.sql(dialect="databricks"))
    return Definition("ALTER_TABLE", table.name, AddCheck(table.name, check, violations))


def _columns(nodes: list[exp.Expression], first: int, *, mapped: bool) -> tuple[Column, ...]:
    """`mapped`: under column mapping names may hold any character."""
    columns = []
    for position, node in enumerate(nodes, first):
        if not isinstance(node, exp.ColumnDef):
            raise Unsupported(f"{shown(node)} in a table's definition")
        only(node, "this", "kind", "constraints")
        nullable, comment = True, None
        generated, identity = None, None
        for constraint in node.args.get("constraints") or []:
            rule = constraint.args["kind"]
            if isinstance(rule, exp.NotNullColumnConstraint):
                nullable = bool(rule.args.get("allow_null"))
            elif isinstance(rule, exp.CommentColumnConstraint):
                comment = rule.name
            elif isinstance(rule, exp.ComputedColumnConstraint):
                generated = _expression(rule.this)
            elif isinstance(rule, exp.GeneratedAsIdentityColumnConstraint) and not rule.args.get("expression"):
                start, step = rule.args.get("start"), rule.args.get("increment")
                identity = Identity(bool(rule.this), _whole(start), _whole(step))
            else:
                raise Unsupported(f"{shown(constraint)} of a column")
        if not node.name or (not mapped and re.search(r"[ ,;{}()\n\t=]", node.name)):
            raise WarehouseError(
                "DELTA_INVALID_CHARACTERS_IN_COLUMN_NAMES",
                f"Found invalid character(s) among ' ,;{{}}()\\n\\t=' in the column name {node.name!r}.",
                "42K05",
            )
        data_type = parse_type(node.args.get("kind"))
        if isinstance(data_type, Text) and data_type.length < 1:
            raise syntax_error(f"'{data_type.length}'")
        if identity is not None and data_type != BIGINT:
            raise WarehouseError(
                "DELTA_IDENTITY_COLUMNS_UNSUPPORTED_DATA_TYPE",
                f"DataType {sql_name(data_type)} is not supported for IDENTITY columns.",
                "428H2",
            )
        columns.append(Column(node.name, data_type, nullable, f"c{position}", comment, generated, identity))
    if not columns:
        raise syntax_error("')'")
    return tuple(columns)


def _expression(node: exp.Expression) -> str:
    if node.find(exp.Select, exp.Placeholder, exp.Anonymous) is not None:
        raise Unsupported(f"the generated column ({shown(node)})")
    return node.sql(dialect="databricks")


def _whole(node: exp.Expression | None) -> int:
    return 1 if node is None else int(node.sql())


def _distinct(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise WarehouseError("COLUMN_ALREADY_EXISTS", f"The column `{name}` already exists.", "42711")
        seen.add(name.lower())


def _properties(node: exp.Expression | None) -> tuple[tuple[tuple[str, str], ...], str | None]:
    pairs: list[tuple[str, str]] = []
    comment = None
    for part in node.expressions if node is not None else []:
        if isinstance(part, exp.FileFormatProperty) and part.name.upper() == "DELTA":
            continue
        if isinstance(part, exp.SchemaCommentProperty):
            comment = part.name
        elif type(part) is exp.Property:
            pairs.append((part.name, part.args["value"].name))
        else:
            raise Unsupported(f"{shown(part)} in CREATE TABLE")
    return tuple(pairs), comment


def _schema_name(setting: Setting, node: exp.Expression) -> tuple[str, str]:
    if not isinstance(node, exp.Table):
        raise Unsupported(f"{shown(node)} in place of a schema")
    # sqlglot puts the schema where a table's would be.
    catalog, schema = (node.catalog or setting.catalog, node.db) if node.db else (setting.catalog, node.name)
    return _object_name(catalog), _object_name(schema)


def _new_table(name: TableName) -> TableName:
    for part in (name.catalog, name.schema, name.table):
        _object_name(part)
    return name


def _object_name(name: str) -> str:
    """Unity Catalog's rule for names of objects."""
    if not name or len(name) > _MAX_NAME_LENGTH or re.search(r"[./ \x00-\x1f\x7f]", name):
        raise WarehouseError("INVALID_PARAMETER_VALUE", f"The name {name!r} is not valid.", "22023")
    return name.lower()
