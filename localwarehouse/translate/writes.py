"""INSERT, UPDATE and DELETE: values brought into a table's types, its constraints kept, rows counted."""

from collections.abc import Mapping

from sqlglot import exp, parse_one

from localwarehouse import errors
from localwarehouse.catalog import Column, Table
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.plans import Change
from localwarehouse.translate import casts, select
from localwarehouse.translate.context import (
    Gathered,
    Relation,
    Scope,
    Setting,
    Visible,
    column_parts,
    gather,
    only,
    table_relation,
)
from localwarehouse.translate.expressions import Expressions, shown
from localwarehouse.translate.values import Value, failure, string
from localwarehouse.types import (
    BIGINT,
    VOID,
    Array,
    DataType,
    Map,
    Struct,
    Text,
    as_expression,
    duckdb_name,
    identifier,
    sql_name,
)


def insert(setting: Setting, node: exp.Expression) -> Change:
    only(node, "this", "expression")
    target = node.this
    named: list[str] | None = None
    if isinstance(target, exp.Schema):
        named = [_column_name(part) for part in target.expressions]
        target = target.this
    table = setting.table(target)
    columns = _targets(table, named)
    gathered = gather(setting)
    source = node.expression
    selected = select.translate(gathered, source, None, without=select.assert_early(gathered, source))
    if len(selected.outputs) != len(columns):
        few = len(selected.outputs) < len(columns)
        raise WarehouseError(
            f"INSERT_COLUMN_ARITY_MISMATCH.{'NOT_ENOUGH_DATA_COLUMNS' if few else 'TOO_MANY_DATA_COLUMNS'}",
            f"Cannot write to {table.name}, the reason is {'not enough' if few else 'too many'} data columns: "
            f"table columns {len(columns)}, data columns {len(selected.outputs)}.",
            "21S01",
        )
    given = {
        column.name: Value(f"s.c{position}", output.type, True)
        for position, (column, output) in enumerate(zip(columns, selected.outputs, strict=True))
    }
    values = row(gathered, table, given)
    names = ", ".join(column.storage for column in table.columns)
    projected = ", ".join(f"{sql} AS {column.storage}" for sql, column in zip(values, table.columns, strict=True))
    text = f"SELECT {projected} FROM ({selected.sql}) AS s"
    conditions = broken_checks(gathered, table, Scope((table_relation(table, "w", None),)))
    if conditions:
        text = f"SELECT {names} FROM ({text}) AS w WHERE {' AND '.join(conditions)}"
    return Change(
        "INSERT",
        table,
        gathered.finish(f"INSERT INTO {table.storage} ({names}) {text}"),
        ("num_affected_rows", "num_inserted_rows"),
        gathered.finish_early(),
    )


def row(gathered: Gathered, table: Table, given: Mapping[str, Value]) -> list[str]:
    """A new row as the table keeps it, in the order of its columns: what is given, and what the table fills in."""
    made: dict[str, str] = {}
    for column in table.columns:
        if column.name in given and (column.generated is not None or (column.identity and column.identity.always)):
            raise _filled_in(column)
        if column.generated is None:
            value = given.get(column.name)
            if value is None and column.identity is not None:
                value = Value(f"nextval({string(table.sequence(column))})", BIGINT)
            made[column.storage] = stored(table, column, value or Value("NULL", VOID))
    made |= _generated(gathered, table, made)
    return [made[column.storage] for column in table.columns]


def _generated(gathered: Gathered, table: Table, made: Mapping[str, str]) -> dict[str, str]:
    """The generated columns of a row whose other columns are `made`, by storage name."""
    others = (column for column in table.columns if column.generated is None)
    visible = tuple(Visible(column.name, made[column.storage], column.type) for column in others)
    expressions = Expressions(gathered, Scope((Relation(frozenset(), visible),)), select.translate)
    found = {}
    for column in table.columns:
        if column.generated is not None:
            node = parse_one(column.generated, read="databricks")
            assert isinstance(node, exp.Expression)
            found[column.storage] = stored(table, column, expressions.value(node))
    return found


def _filled_in(column: Column) -> WarehouseError:
    if column.identity is not None:
        return WarehouseError(
            "DELTA_IDENTITY_COLUMNS_EXPLICIT_INSERT_NOT_SUPPORTED",
            f"Providing values for GENERATED ALWAYS AS IDENTITY column {column.name} is not supported.",
            "42808",
        )
    # Delta takes a value that is the expression's.
    return Unsupported(f"a value for the generated column {column.name}")


def _column_name(node: exp.Expression) -> str:
    if not isinstance(node, exp.Identifier | exp.Column):
        raise errors.syntax_error(f"'{shown(node)}'")
    return node.name


def _targets(table: Table, named: list[str] | None) -> list[Column]:
    if named is None:
        return list(table.columns)
    found = []
    for name in named:
        column = table.find(name)
        if column is None:
            raise errors.unresolved_column(f"`{name}`", [known.name for known in table.columns])
        if column in found:
            raise WarehouseError("COLUMN_ALREADY_EXISTS", f"The column `{name}` is named twice.", "42711")
        found.append(column)
    return found


def update(setting: Setting, node: exp.Expression) -> Change:
    only(node, "this", "expressions", "where")
    table = setting.table(node.this)
    gathered = gather(setting)
    relation = table_relation(table, "u", node.this.alias)
    expressions = Expressions(gathered, Scope((relation,)), select.translate)
    assignments = assigned(expressions, table, relation, node.expressions)
    where = f" WHERE {expressions.boolean(node.args['where'].this).sql}" if node.args.get("where") else ""
    return Change(
        "UPDATE",
        table,
        gathered.finish(f"UPDATE {table.storage} AS u SET {assignments}{where}"),
        ("num_affected_rows",),
        gathered.finish_early(),
    )


def assigned(expressions: Expressions, table: Table, relation: Relation, nodes: list[exp.Expression]) -> str:
    """The list after SET, as the engine reads it, the table's CHECKs with it. `relation` is the table as it was."""
    changed: dict[str, str] = {}
    for assignment in nodes:
        if not isinstance(assignment, exp.EQ):
            raise errors.syntax_error(f"'{shown(assignment)}'")
        column = target_column(table, relation, assignment.this)
        if column.storage in changed:
            raise WarehouseError("DELTA_CONFLICT_SET_COLUMN", f"`{column.name}` is set twice.", "42701")
        if column.identity is not None:
            raise WarehouseError(
                "DELTA_IDENTITY_COLUMNS_UPDATE_NOT_SUPPORTED",
                f"UPDATE on IDENTITY column {column.name} is not supported.",
                "42808",
            )
        if column.generated is not None:
            raise _filled_in(column)
        changed[column.storage] = stored(table, column, expressions.value(assignment.expression))
    if any(column.generated is not None for column in table.columns):
        kept = {column.storage: visible.sql for column, visible in zip(table.columns, relation.columns, strict=True)}
        changed |= _generated(expressions.gathered, table, {**kept, **changed})
    after = tuple(
        Visible(column.name, changed.get(column.storage, visible.sql), column.type)
        for column, visible in zip(table.columns, relation.columns, strict=True)
    )
    conditions = broken_checks(expressions.gathered, table, Scope((Relation(relation.qualifiers, after),)))
    if conditions:
        # One of the new values carries the checks, since an UPDATE has no place of its own for them.
        storage, sql = next(iter(changed.items()))
        changed[storage] = f"CASE WHEN {' AND '.join(conditions)} THEN {sql} END"
    return ", ".join(f"{storage} = {sql}" for storage, sql in changed.items())


def target_column(table: Table, relation: Relation, node: exp.Expression) -> Column:
    """The table's column that a write names, `a` or `t.a`."""
    parts = column_parts(node) or [""]
    column = table.find(parts[-1])
    qualifier = ".".join(parts[:-1]).lower()
    if column is None or (qualifier and qualifier not in relation.qualifiers):
        raise errors.unresolved_column(f"`{'`.`'.join(parts)}`", [known.name for known in table.columns])
    return column


def delete(setting: Setting, node: exp.Expression) -> Change:
    only(node, "this", "where")
    table = setting.table(node.this)
    gathered = gather(setting)
    scope = Scope((table_relation(table, "d", node.this.alias),))
    where = ""
    if node.args.get("where"):
        where = f" WHERE {Expressions(gathered, scope, select.translate).boolean(node.args['where'].this).sql}"
    sql = gathered.finish(f"DELETE FROM {table.storage} AS d{where}")
    return Change("DELETE", table, sql, ("num_affected_rows",), gathered.finish_early())


def stored(table: Table, column: Column, value: Value) -> str:
    """The value as the column keeps it: cast as a write casts, its length and its presence checked."""
    try:
        sql = casts.cast(value, column.type, "CAST_OVERFLOW_IN_TABLE_INSERT").sql
    except WarehouseError as exc:
        if exc.error_class.startswith("DATATYPE_MISMATCH"):
            raise errors.incompatible_data(
                str(table.name), column.name, sql_name(value.type), sql_name(column.type)
            ) from exc
        raise
    sql = _fitted(sql, column.type)
    if column.nullable:
        return sql if value.type != VOID else f"CAST({sql} AS {duckdb_name(column.type)})"
    missing = failure(
        "DELTA_NOT_NULL_CONSTRAINT_VIOLATED",
        f"NOT NULL constraint violated for column: {column.name}.",
        "23502",
    )
    return f"coalesce({sql}, {missing})"


def _fitted(sql: str, data_type: DataType) -> str:
    """VARCHAR(n) and CHAR(n) wherever they are in the type: longer is an error, blanks too; CHAR is padded."""
    if data_type == as_expression(data_type):
        return sql
    match data_type:
        case Text(name, length):
            wrong = failure(
                "DELTA_EXCEED_CHAR_VARCHAR_LIMIT",
                f'Value "{{value}}" exceeds char/varchar type length limitation. Failed check: {name}({length}).',
                "22001",
                sql,
            )
            fits = f"rpad({sql}, {length}, ' ')" if name == "char" else sql
            return f"CASE WHEN length({sql}) <= {length} THEN {fits} WHEN {sql} IS NOT NULL THEN {wrong} END"
        case Array(element):
            return f"list_transform({sql}, lambda y: {_fitted('y', element)})"
        case Map(key, item):
            return (
                f"map_from_entries(list_transform(map_entries({sql}), lambda y: "
                f"{{'key': {_fitted('y.key', key)}, 'value': {_fitted('y.value', item)}}}))"
            )
        case Struct(fields):
            parts = ", ".join(
                f"{identifier(field.name)} := " + _fitted(f"struct_extract({sql}, {string(field.name)})", field.type)
                for field in fields
            )
            return f"CASE WHEN {sql} IS NOT NULL THEN struct_pack({parts}) END"
        case _:
            return sql


def broken_checks(gathered: Gathered, table: Table, scope: Scope) -> list[str]:
    """Conditions that raise where a row breaks one of the table's CHECKs. NULL breaks it, as Delta has it."""
    conditions = []
    for check in table.checks:
        node = parse_one(check.expression, read="databricks")
        assert isinstance(node, exp.Expression)
        value = Expressions(gathered, scope, select.translate).boolean(node)
        seen = {column.name.lower(): column for column in node.find_all(exp.Column)}
        shows = " || ".join(
            f"{string(f' - {name} : ')} || coalesce(CAST({scope.resolve([name]).sql} AS VARCHAR), 'null')"
            for name in seen
        )
        wrong = failure(
            "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES",
            f"CHECK constraint {check.name} ({check.expression}) violated by row with values: {{value}}.",
            "23001",
            f"({shows})" if shows else string(""),
        )
        conditions.append(f"(CASE WHEN {value.sql} THEN true ELSE CAST({wrong} AS BOOLEAN) END)")
    return conditions
