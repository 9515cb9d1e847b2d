"""Expressions: one handler per kind of syntax node, gathered by `handles`; what has none is refused by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.translate import casts
from localwarehouse.translate.context import Gathered, Scope, column_parts, only, struct_field
from localwarehouse.translate.values import Value, failure, string
from localwarehouse.types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DOUBLE,
    INT,
    INTEGRALS,
    STRING,
    VOID,
    Array,
    DataType,
    Decimal,
    Map,
    Simple,
    Struct,
    as_expression,
    duckdb_name,
    parse_type,
    sql_name,
)

if TYPE_CHECKING:
    from localwarehouse.translate.select import Selected


@dataclass(frozen=True)
class Expressions:
    """Translates expressions within one scope. `subquery` translates a query nested in one."""

    gathered: Gathered
    scope: Scope
    subquery: "Callable[[Gathered, exp.Expression, Scope], Selected]"

    def value(self, node: exp.Expression | None) -> Value:
        if node is None:
            raise errors.syntax_error("end of input")
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise Unsupported(f"the expression {shown(node)}")
        return handler(self, node)

    def values(self, nodes: list[exp.Expression]) -> list[Value]:
        return [self.value(node) for node in nodes]

    def boolean(self, node: exp.Expression | None) -> Value:
        value = self.value(node)
        if value.type == VOID:
            return casts.cast(value, BOOLEAN)
        if value.type != BOOLEAN:
            raise errors.type_mismatch(shown(node), f'a BOOLEAN is required, not "{sql_name(value.type)}"')
        return value

    def cast(self, node: exp.Expression | None, target: DataType) -> Value:
        return casts.cast(self.value(node), target)

    def within(self, scope: Scope) -> "Expressions":
        return Expressions(self.gathered, scope, self.subquery)


Handler = Callable[[Expressions, exp.Expression], Value]
_HANDLERS: dict[type[exp.Expression], Handler] = {}


def handles(*kinds: type[exp.Expression]) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        for kind in kinds:
            _HANDLERS[kind] = handler
        return handler

    return register


def shown(node: exp.Expression | None) -> str:
    return "" if node is None else node.sql(dialect="databricks", comments=False, normalize_functions="lower")[:200]


def of_rows(*values: Value) -> bool:
    return any(value.of_row for value in values)


def unify(values: list[Value], what: str) -> tuple[list[Value], DataType]:
    """The values in the one type Spark would bring them to."""
    common: DataType = VOID
    for value in values:
        found = casts.common_type(common, as_expression(value.type))
        if found is None:
            raise errors.type_mismatch(what, f'"{sql_name(common)}" and "{sql_name(value.type)}" have no common type')
        common = found
    return [casts.cast(value, common) for value in values], common


@handles(exp.Column, exp.Identifier, exp.Dot)
def _name(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "table", "db", "catalog", "expression", "quoted")
    parts = column_parts(node)
    if parts:
        value = expressions.scope.resolve(parts)
        return value.become(value.sql, as_expression(value.type))
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Identifier):
        return struct_field(expressions.value(node.this), node.expression.name)
    raise Unsupported(f"the expression {shown(node)}")


@handles(exp.Literal)
def _literal(expressions: Expressions, node: exp.Expression) -> Value:
    text = node.this
    if node.args.get("is_string"):
        return Value(string(text), STRING)
    if text.isdigit():
        number = int(text)
        if number < 2**31:
            return Value(f"CAST({number} AS INTEGER)", INT)
        if number < 2**63:
            return Value(f"CAST({number} AS BIGINT)", BIGINT)
        if len(str(number)) <= 38:
            return Value(f"CAST('{number}' AS DECIMAL({len(str(number))},0))", Decimal(len(str(number)), 0))
    elif text.replace(".", "", 1).isdigit():
        whole, _, fraction = text.partition(".")
        precision = max(len(whole.lstrip("0")) + len(fraction), 1)
        if precision <= 38:
            data_type = Decimal(max(precision, len(fraction)), len(fraction))
            return Value(f"CAST('{text}' AS {duckdb_name(data_type)})", data_type)
    else:
        try:
            float(text)
        except ValueError:
            raise errors.syntax_error(f"'{text}'") from None
        return Value(f"CAST('{text}' AS DOUBLE)", DOUBLE)
    raise WarehouseError("INVALID_NUMERIC_LITERAL_RANGE", f"Numeric literal {text} is out of range.", "22003")


@handles(exp.Null)
def _null(expressions: Expressions, node: exp.Expression) -> Value:
    return Value("NULL", VOID)


@handles(exp.Boolean)
def _boolean(expressions: Expressions, node: exp.Expression) -> Value:
    return Value("true" if node.this else "false", BOOLEAN)


@handles(exp.HexString)
def _binary(expressions: Expressions, node: exp.Expression) -> Value:
    text = str(node.this)
    text = text if len(text) % 2 == 0 else f"0{text}"
    return Value(f"unhex('{text}')", BINARY)


@handles(exp.RawString)
def _raw(expressions: Expressions, node: exp.Expression) -> Value:
    return Value(string(str(node.this)), STRING)


@handles(exp.Placeholder)
def _parameter(expressions: Expressions, node: exp.Expression) -> Value:
    return _bound(expressions.gathered, node, None)


def _bound(gathered: Gathered, node: exp.Expression, target: DataType | None) -> Value:
    """A parameter, cast to `target` where one is given."""
    name = node.name
    if not name or not isinstance(node.this, str):
        raise Unsupported("positional parameters (?); name them :like_this")
    data_type = gathered.setting.parameters.get(name)
    if data_type is None:
        raise WarehouseError(
            "UNBOUND_SQL_PARAMETER",
            f"Found the unbound parameter: {name}. Please, fix `args` and provide a mapping of the parameter.",
            "42P02",
        )
    # Every value arrives as text with the name of its type, whatever the type.
    text = Value(f"CAST({gathered.placeholder(name)} AS VARCHAR)", STRING)
    value = casts.cast(text, data_type)
    return value if target is None else casts.cast(value, target)


# Within these an operand may never be evaluated, and its cast must then not fail.
_LAZY = (exp.Case, exp.If, exp.Coalesce, exp.Lambda)


@handles(exp.Paren)
def _paren(expressions: Expressions, node: exp.Expression) -> Value:
    inner = expressions.value(node.this)
    return inner.become(f"({inner.sql})", inner.type)


@handles(exp.Cast)
def _cast(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "to")
    target = parse_type(node.args["to"])
    early = expressions.gathered.early
    if isinstance(node.this, exp.Placeholder) and early is not None and node.find_ancestor(*_LAZY) is None:
        value = _bound(early, node.this, target)
        if value.type != STRING and isinstance(value.type, Simple | Decimal):
            return value.become(f"CAST(${early.column(value.sql, 'k')} AS {duckdb_name(value.type)})", value.type)
    return expressions.cast(node.this, target)


@handles(exp.And, exp.Or)
def _junction(expressions: Expressions, node: exp.Expression) -> Value:
    left, right = expressions.boolean(node.this), expressions.boolean(node.expression)
    word = "AND" if isinstance(node, exp.And) else "OR"
    return Value(f"({left.sql} {word} {right.sql})", BOOLEAN, of_rows(left, right))


@handles(exp.Not)
def _not(expressions: Expressions, node: exp.Expression) -> Value:
    inner = expressions.boolean(node.this)
    return inner.become(f"(NOT {inner.sql})", BOOLEAN)


_COMPARISONS: dict[type[exp.Expression], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.NullSafeEQ: "IS NOT DISTINCT FROM",
}


@handles(*_COMPARISONS)
def _comparison(expressions: Expressions, node: exp.Expression) -> Value:
    return compare(
        expressions.value(node.this), _COMPARISONS[type(node)], expressions.value(node.expression), shown(node)
    )


def compare(left: Value, operator: str, right: Value, what: str) -> Value:
    (one, other), common = unify([left, right], what)
    if isinstance(common, Map):
        raise errors.type_mismatch(what, f'"{sql_name(common)}" cannot be compared')
    return Value(f"({one.sql} {operator} {other.sql})", BOOLEAN, of_rows(left, right))


@handles(exp.Between)
def _between(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "low", "high", "negate")
    value = expressions.value(node.this)
    low = compare(value, ">=", expressions.value(node.args["low"]), shown(node))
    high = compare(value, "<=", expressions.value(node.args["high"]), shown(node))
    negated = "NOT " if node.args.get("negate") else ""
    return Value(f"({negated}({low.sql} AND {high.sql}))", BOOLEAN, of_rows(low, high))


@handles(exp.In)
def _in(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "expressions", "query", "negate")
    value = expressions.value(node.this)
    query = node.args.get("query")
    negated = "NOT " if node.args.get("negate") else ""
    if query is not None:
        inner = query.this if isinstance(query, exp.Subquery) else query
        selected = expressions.subquery(expressions.gathered, inner, expressions.scope)
        if len(selected.outputs) != 1:
            raise errors.type_mismatch(shown(node), "the subquery must have one column")
        column = Value("x.c0", selected.outputs[0].type)
        (one, other), _ = unify([value, column], shown(node))
        return Value(f"({one.sql} {negated}IN (SELECT {other.sql} FROM ({selected.sql}) AS x))", BOOLEAN, True)
    (one, *others), _ = unify([value, *expressions.values(node.expressions)], shown(node))
    if not others:
        raise errors.syntax_error("')'")
    listed = ", ".join(other.sql for other in others)
    return Value(f"({one.sql} {negated}IN ({listed}))", BOOLEAN, of_rows(one, *others))


@handles(exp.Is)
def _is(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "expression", "negate")
    value = expressions.value(node.this)
    negated = "NOT " if node.args.get("negate") else ""
    wanted = node.expression
    if isinstance(wanted, exp.Not):
        negated, wanted = "NOT ", wanted.this
    if isinstance(wanted, exp.Null):
        return value.become(f"({value.sql} IS {negated}NULL)", BOOLEAN)
    if isinstance(wanted, exp.Boolean) and value.type == BOOLEAN:
        return value.become(f"({value.sql} IS {negated}{'true' if wanted.this else 'false'})", BOOLEAN)
    raise Unsupported(f"the expression {shown(node)}")


@handles(exp.Like)
def _like(expressions: Expressions, node: exp.Expression) -> Value:
    return _like_with(expressions, node, "\\")


@handles(exp.Escape)
def _like_escape(expressions: Expressions, node: exp.Expression) -> Value:
    escape = node.expression
    if not isinstance(node.this, exp.Like) or not isinstance(escape, exp.Literal) or len(escape.name) != 1:
        raise Unsupported(f"the expression {shown(node)}")
    return _like_with(expressions, node.this, escape.name)


def _like_with(expressions: Expressions, node: exp.Expression, escape: str) -> Value:
    """LIKE with the escape character Spark assumes; one that escapes nothing is an error there."""
    only(node, "this", "expression", "negate")
    value, pattern = expressions.cast(node.this, STRING), expressions.cast(node.expression, STRING)
    sign = f"\\x{{{ord(escape):x}}}"
    wrong = failure(
        "INVALID_FORMAT.ESC_IN_THE_MIDDLE",
        "The format is invalid: '{value}'. The escape character is not allowed to precede what follows it.",
        "42601",
        pattern.sql,
    )
    # A pattern that follows the rules, or the error; NULL stays NULL.
    checked = (
        f"CASE WHEN regexp_full_match({pattern.sql}, '(?s)([^{sign}]|{sign}[_%{sign}])*') IS DISTINCT FROM false "
        f"THEN {pattern.sql} ELSE {wrong} END"
    )
    negated = "NOT " if node.args.get("negate") else ""
    return Value(f"({value.sql} {negated}LIKE {checked} ESCAPE {string(escape)})", BOOLEAN, of_rows(value, pattern))


@handles(exp.Neg)
def _negative(expressions: Expressions, node: exp.Expression) -> Value:
    inner = node.this
    if isinstance(inner, exp.Literal) and inner.name == "2147483648":
        return Value("CAST(-2147483648 AS INTEGER)", INT)
    if isinstance(inner, exp.Literal) and inner.name == "9223372036854775808":
        return Value("CAST('-9223372036854775808' AS BIGINT)", BIGINT)
    value = expressions.value(inner)
    if value.type not in (*INTEGRALS, DOUBLE) and not isinstance(value.type, Decimal):
        raise errors.type_mismatch(shown(node), "a number is required")
    return value.become(f"(-{value.sql})", value.type)


@handles(exp.Add, exp.Sub, exp.Mul)
def _arithmetic(expressions: Expressions, node: exp.Expression) -> Value:
    (left, right), common = unify(expressions.values([node.this, node.expression]), shown(node))
    if common not in (*INTEGRALS, DOUBLE):
        # Spark's rules for a decimal's digits are not DuckDB's.
        raise Unsupported(f'arithmetic on "{sql_name(common)}"')
    sign = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}[type(node)]  # type: ignore[index]
    return Value(f"({left.sql} {sign} {right.sql})", common, of_rows(left, right))


@handles(exp.DPipe, exp.Concat)
def _concat(expressions: Expressions, node: exp.Expression) -> Value:
    parts = node.expressions if isinstance(node, exp.Concat) else [node.this, node.expression]
    values = [expressions.cast(part, STRING) for part in parts]
    return Value(f"({' || '.join(value.sql for value in values)})", STRING, of_rows(*values))


@handles(exp.Case)
def _case(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "ifs", "default")
    subject = expressions.value(node.this) if node.this is not None else None
    conditions = []
    for branch in node.args["ifs"]:
        if subject is None:
            conditions.append(expressions.boolean(branch.this))
        else:
            conditions.append(compare(subject, "=", expressions.value(branch.this), shown(node)))
    return _choice(
        expressions, node, conditions, [branch.args["true"] for branch in node.args["ifs"]], node.args.get("default")
    )


@handles(exp.If)
def _if(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "true", "false")
    condition = expressions.boolean(node.this)
    return _choice(expressions, node, [condition], [node.args["true"]], node.args.get("false"))


def _choice(
    expressions: Expressions,
    node: exp.Expression,
    conditions: list[Value],
    results: list[exp.Expression],
    default: exp.Expression | None,
) -> Value:
    otherwise = expressions.value(default) if default is not None else Value("NULL", VOID)
    (*values, last), common = unify([*expressions.values(results), otherwise], shown(node))
    arms = " ".join(f"WHEN {when.sql} THEN {then.sql}" for when, then in zip(conditions, values, strict=True))
    return Value(f"CASE {arms} ELSE {last.sql} END", common, of_rows(*conditions, *values, last))


@handles(exp.Coalesce)
def _coalesce(expressions: Expressions, node: exp.Expression) -> Value:
    values, common = unify(expressions.values([node.this, *node.expressions]), shown(node))
    return Value(f"coalesce({', '.join(value.sql for value in values)})", common, of_rows(*values))


@handles(exp.Bracket)
def _element(expressions: Expressions, node: exp.Expression) -> Value:
    """`array[i]` counts from 0 and `element_at(array, i)` from 1; both fail outside the array."""
    only(node, "this", "expressions", "offset", "safe")
    container = expressions.value(node.this)
    if len(node.expressions) != 1:
        raise Unsupported(f"the expression {shown(node)}")
    key = expressions.value(node.expressions[0])
    match container.type:
        case Array(element):
            return _array_element(container, element, key, node)
        case Map(key_type, item):
            wanted = casts.cast(key, key_type)
            return Value(f"map_extract_value({container.sql}, {wanted.sql})", item, of_rows(container, key))
        case Struct() if isinstance(node.expressions[0], exp.Literal) and node.expressions[0].is_string:
            return struct_field(container, node.expressions[0].name)
        case _:
            raise errors.type_mismatch(shown(node), "only arrays, maps and structs have elements")


def _array_element(array: Value, element: DataType, key: Value, node: exp.Expression) -> Value:
    if key.type not in INTEGRALS:
        raise errors.type_mismatch(shown(node), "an array's index must be an integer")
    first = int(node.args.get("offset") or 0)
    wrong = failure(
        "INVALID_ARRAY_INDEX",
        "The index {value} is out of bounds. Use the SQL function `get()` to tolerate accessing element at invalid "
        "index and return NULL instead.",
        "22003",
        f"CAST({key.sql} AS VARCHAR)",
    )
    index = node.expressions[0]
    if isinstance(index, exp.Literal):
        # DuckDB counts from 1, and gives NULL outside.
        position = int(index.name) + 1 - first
        outside = f"len({array.sql}) < {position}" if position > 0 else f"len({array.sql}) >= 0"
    else:
        position_sql = f"({key.sql} + {1 - first})"
        outside = f"{position_sql} NOT BETWEEN 1 AND len({array.sql})"
        return Value(
            f"CASE WHEN {outside} THEN {wrong} ELSE {array.sql}[{position_sql}] END", element, of_rows(array, key)
        )
    bare = f"{array.sql}[{position}]"
    return Value(f"CASE WHEN {outside} THEN {wrong} ELSE {bare} END", element, array.of_row, bare)


@handles(exp.Exists)
def _exists(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    inner = node.this.this if isinstance(node.this, exp.Subquery) else node.this
    selected = expressions.subquery(expressions.gathered, inner, expressions.scope)
    return Value(f"EXISTS ({selected.sql})", BOOLEAN, True)


@handles(exp.Subquery, exp.Select)
def _scalar_subquery(expressions: Expressions, node: exp.Expression) -> Value:
    inner = node
    if isinstance(node, exp.Subquery):
        only(node, "this")
        inner = node.this
    selected = expressions.subquery(expressions.gathered, inner, expressions.scope)
    if len(selected.outputs) != 1:
        raise WarehouseError(
            "INVALID_SUBQUERY_EXPRESSION.SCALAR_SUBQUERY_RETURN_MORE_THAN_ONE_OUTPUT_COLUMN",
            "Scalar subquery must return only one column.",
            "42823",
        )
    return Value(f"({selected.sql})", selected.outputs[0].type, True)
