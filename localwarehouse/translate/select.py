"""SELECT: sources, filters, grouping, order and pages, with the column names Spark would give."""

from dataclasses import dataclass

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.catalog import TableName
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.plans import Output, Query
from localwarehouse.translate import casts, sources
from localwarehouse.translate.context import (
    Gathered,
    Scope,
    Setting,
    Visible,
    gather,
    only,
)
from localwarehouse.translate.expressions import Expressions, operands, shown, unify
from localwarehouse.translate.generators import generated
from localwarehouse.translate.values import Value, failure
from localwarehouse.types import INT, VOID, as_expression, sql_name

_CLAUSES = ("expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset", "distinct")


@dataclass(frozen=True)
class Selected:
    """A query whose columns DuckDB calls c0, c1, …: names may repeat in Spark."""

    sql: str
    outputs: tuple[Output, ...]


def query(setting: Setting, node: exp.Expression) -> Query:
    """A SELECT that is the whole statement."""
    gathered = gather(setting)
    selected = translate(gathered, node, None, without=assert_early(gathered, node))
    for output in selected.outputs:
        if output.type != VOID and "VOID" in sql_name(output.type):
            raise Unsupported(f"a result of the type {sql_name(output.type)}")
    sql = gathered.finish(selected.sql)
    return Query("SELECT", _first_table(setting, node), sql, selected.outputs, gathered.finish_early())


def _first_table(setting: Setting, node: exp.Expression) -> TableName | None:
    table = node.find(exp.Table)
    return None if table is None else setting.table_name(table)


def assert_early(gathered: Gathered, node: exp.Expression) -> tuple[exp.Expression, ...]:
    """Take the WHERE's conditions that assert something of no row in particular, such as `now < :start_by`, into
    the early statement; returns those taken."""
    where = node.args.get("where")
    if where is None or gathered.early is None:
        return ()
    taken = tuple(
        condition
        for condition in _conjuncts(where.this)
        if any(part.name.lower() in ("assert_true", "raise_error") for part in condition.find_all(exp.Anonymous))
        and condition.find(exp.Column, exp.Identifier, exp.Select) is None
    )
    for condition in taken:
        value = Expressions(gathered.early, Scope(), translate).boolean(condition)
        gathered.early.column(value.sql, "g")
    return taken


def _conjuncts(node: exp.Expression) -> list[exp.Expression]:
    return operands(node) if isinstance(node, exp.And) else [node]


def translate(
    gathered: Gathered, node: exp.Expression, parent: Scope | None, without: tuple[exp.Expression, ...] = ()
) -> Selected:
    """`without` are conditions of the WHERE that are checked elsewhere."""
    if isinstance(node, exp.Subquery):
        only(node, "this")
        return translate(gathered, node.this, parent)
    if isinstance(node, exp.Values):
        return _values(gathered, node, parent)
    if not isinstance(node, exp.Select):
        raise Unsupported(f"{type(node).__name__.upper()} as a query")
    only(node, *_CLAUSES)
    from_sql, relations = sources.from_clause(gathered, node, parent, translate)
    scope = Scope(relations, parent)
    expressions = Expressions(gathered, scope, translate)
    outputs, columns = _projections(expressions, node)
    aliases = _aliases(node, columns)

    parts = ["SELECT"]
    distinct = node.args.get("distinct") is not None
    if distinct:
        only(node.args["distinct"])
        parts.append("DISTINCT")
    parts.append(", ".join(f"{column.sql} AS c{position}" for position, column in enumerate(columns)))
    parts.append(from_sql)
    conditions = [
        expressions.boolean(condition).sql
        for condition in (_conjuncts(node.args["where"].this) if node.args.get("where") else [])
        if condition not in without
    ]
    if conditions:
        parts.append(f"WHERE {' AND '.join(conditions)}")
    if node.args.get("group"):
        parts.append(f"GROUP BY {_group(expressions, node.args['group'], columns, aliases)}")
    if node.args.get("having"):
        parts.append(f"HAVING {expressions.boolean(node.args['having'].this).sql}")
    if node.args.get("order"):
        parts.append(f"ORDER BY {_order(expressions, node.args['order'], columns, aliases, distinct)}")
    for clause in ("limit", "offset"):
        if node.args.get(clause):
            parts.append(f"{clause.upper()} {_count(expressions, node.args[clause], clause)}")
    return Selected(" ".join(part for part in parts if part), outputs)


def _values(gathered: Gathered, node: exp.Values, parent: Scope | None) -> Selected:
    """`VALUES (…), (…)`: the columns are col1, col2, … in the widest type of each."""
    only(node, "expressions", "alias")
    expressions = Expressions(gathered, Scope((), parent), translate)
    rows = [expressions.values(row.expressions if isinstance(row, exp.Tuple) else [row]) for row in node.expressions]
    if len({len(row) for row in rows}) != 1:
        raise WarehouseError("INVALID_INLINE_TABLE.NUM_COLUMNS_MISMATCH", "Rows of different lengths.", "42000")
    columns = [unify([row[position] for row in rows], "VALUES") for position in range(len(rows[0]))]
    listed = ", ".join(
        "(" + ", ".join(values[position].sql for values, _ in columns) + ")" for position in range(len(rows))
    )
    names = ", ".join(f"c{position}" for position in range(len(columns)))
    return Selected(
        f"SELECT {names} FROM (VALUES {listed}) AS {gathered.relation()}({names})",
        tuple(Output(f"col{position}", data_type) for position, (_, data_type) in enumerate(columns, 1)),
    )


def _projections(expressions: Expressions, node: exp.Select) -> tuple[tuple[Output, ...], list[Value]]:
    outputs: list[Output] = []
    columns: list[Value] = []
    generators = 0
    for projection in node.expressions:
        inner = projection
        if isinstance(projection, exp.Alias):
            only(projection, "this", "alias")
            inner = projection.this
        made = generated(expressions, projection)
        if made is not None:
            generators += 1
            outputs += [Output(name, value.type) for name, value in made]
            columns += [value for _, value in made]
            continue
        if isinstance(inner, exp.Star) or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
            for visible in _starred(expressions.scope, inner):
                outputs.append(Output(visible.name, as_expression(visible.type)))
                columns.append(Value(visible.sql, as_expression(visible.type), True))
            continue
        value, name = expressions.value(inner), _name(inner)
        if value.type == VOID and value.sql != "NULL":
            value = value.become(f"CAST({value.sql} AS INTEGER)", VOID)
        outputs.append(Output(projection.alias if inner is not projection else name, value.type))
        columns.append(value)
    if generators > 1:
        raise WarehouseError(
            "UNSUPPORTED_GENERATOR.MULTI_GENERATOR",
            "The generator is not supported: only one generator allowed per SELECT clause.",
            "42K0E",
        )
    if not columns:
        raise errors.syntax_error("end of input")
    return tuple(outputs), columns


def _starred(scope: Scope, node: exp.Expression) -> list[Visible]:
    star = node if isinstance(node, exp.Star) else node.this
    only(star)
    qualifier = ""
    if isinstance(node, exp.Column):
        qualifier = ".".join(part.name for part in node.parts[:-1]).lower()
    found = [
        column
        for relation in scope.relations
        if not qualifier or qualifier in relation.qualifiers
        for column in relation.columns
    ]
    if not found:
        raise WarehouseError("CANNOT_RESOLVE_STAR_EXPAND", f"Cannot resolve {shown(node)}.", "42704")
    return found


def _name(node: exp.Expression) -> str:
    if isinstance(node, exp.Column | exp.Dot):
        return node.name
    if isinstance(node, exp.Literal):
        return str(node.name)
    if isinstance(node, exp.Subquery):
        return "scalarsubquery()"
    return shown(node).replace("count(*)", "count(1)")


def _aliases(node: exp.Select, columns: list[Value]) -> dict[str, int]:
    """Which output a lowercase name stands for, where the select list names one."""
    if any(isinstance(part, exp.Star) or part.is_star for part in node.expressions):
        return {}
    if any(isinstance(part.unalias(), exp.Posexplode) or isinstance(part, exp.Aliases) for part in node.expressions):
        # One of the select list's terms has two columns: positions would be off.
        only(node, "expressions", "from_", "joins", "where", "limit", "offset")
        return {}
    return {
        projection.alias_or_name.lower(): position
        for position, projection in reversed(list(enumerate(node.expressions)))
        if isinstance(projection, exp.Alias)
    }


def _group(expressions: Expressions, node: exp.Expression, columns: list[Value], aliases: dict[str, int]) -> str:
    only(node, "expressions", "all")
    if node.args.get("all"):
        return "ALL"
    return ", ".join(_position(expressions, part, columns, aliases, prefer_alias=False) for part in node.expressions)


def _position(
    expressions: Expressions,
    node: exp.Expression,
    columns: list[Value],
    aliases: dict[str, int],
    prefer_alias: bool,
) -> str:
    """A grouping or ordering term: an output's number, its alias, or an expression over the source."""
    if isinstance(node, exp.Literal) and not node.is_string:
        if not node.name.isdigit() or not 1 <= int(node.name) <= len(columns):
            raise WarehouseError(
                "ORDER_BY_POS_OUT_OF_RANGE", f"The position {node.name} is not in the select list.", "42805"
            )
        return node.name
    alias = aliases.get(node.name.lower()) if isinstance(node, exp.Column) and not node.table else None
    if alias is not None and prefer_alias:
        return str(alias + 1)
    try:
        value = expressions.value(node)
    except WarehouseError:
        if alias is None:
            raise
        return str(alias + 1)
    # A bare constant would be an output's number to DuckDB.
    return value.sql if value.of_row else f"({value.sql})"


def _order(
    expressions: Expressions, node: exp.Expression, columns: list[Value], aliases: dict[str, int], distinct: bool
) -> str:
    only(node, "expressions")
    terms = []
    for term in node.expressions:
        if not isinstance(term, exp.Ordered):
            raise Unsupported(f"{shown(term)} in ORDER BY")
        only(term, "this", "desc", "nulls_first")
        place = _position(expressions, term.this, columns, aliases, prefer_alias=True)
        if distinct and not place.isdigit() and place not in (column.sql for column in columns):
            raise errors.unresolved_column(f"`{shown(term.this)}`", list(aliases))
        direction = "DESC" if term.args.get("desc") else "ASC"
        nulls = "FIRST" if term.args.get("nulls_first") else "LAST"
        terms.append(f"{place} {direction} NULLS {nulls}")
    return ", ".join(terms)


def _count(expressions: Expressions, node: exp.Expression, clause: str) -> str:
    """LIMIT's and OFFSET's number, found before the query runs: a wrong one fails it on an empty table too."""
    only(node, "expression")
    gathered = expressions.gathered.early or expressions.gathered
    value = casts.cast(Expressions(gathered, Scope(), translate).value(node.expression), INT)
    wrong = failure(
        "INVALID_LIMIT_LIKE_EXPRESSION.IS_NEGATIVE",
        f"The limit like expression is invalid: the {clause} must be equal to or greater than 0.",
        "42K0E",
    )
    checked = f"CASE WHEN {value.sql} < 0 THEN {wrong} ELSE {value.sql} END"
    if expressions.gathered.early is None:
        return f"({checked})"
    return f"CAST(${gathered.column(checked, 'k')} AS BIGINT)"
