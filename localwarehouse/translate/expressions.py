"""Expressions: one handler per kind of syntax node, gathered by `handles`; what has none is refused by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.translate import casts
from localwarehouse.translate.context import Gathered, Scope, column_parts, only, struct_field
from localwarehouse.translate.values import Value, string
from localwarehouse.types import (
    BIGINT,
    BINARY,
    BOOLEAN,
    DOUBLE,
    INT,
    INTEGRALS,
    STRING,
    VOID,
    DataType,
    Decimal,
    Map,
    Simple,
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
    if data_type == VOID:
        return Value("NULL", VOID) if target is None else casts.cast(Value("NULL", VOID), target)
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
    values = [expressions.boolean(operand) for operand in operands(node)]
    word = " AND " if isinstance(node, exp.And) else " OR "
    return Value(f"({word.join(value.sql for value in values)})", BOOLEAN, of_rows(*values))


def operands(node: exp.Expression) -> list[exp.Expression]:
    """Those of a chain `a AND b AND …`, which is parsed into a tree as deep as it is long."""
    found: list[exp.Expression] = []
    kind, rest = type(node), node
    while type(rest) is kind:
        found.append(rest.expression)
        rest = rest.this
    return [rest, *reversed(found)]


@handles(exp.Not)
def _not(expressions: Expressions, node: exp.Expression) -> Value:
    inner = expressions.boolean(node.this)
    return inner.become(f"(NOT {inner.sql})", BOOLEAN)


def compare(left: Value, operator: str, right: Value, what: str) -> Value:
    (one, other), common = unify([left, right], what)
    if isinstance(common, Map):
        raise errors.type_mismatch(what, f'"{sql_name(common)}" cannot be compared')
    return Value(f"({one.sql} {operator} {other.sql})", BOOLEAN, of_rows(left, right))


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
