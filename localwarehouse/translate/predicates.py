"""Conditions: comparisons, BETWEEN, IN, IS, LIKE and EXISTS."""

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.errors import Unsupported
from localwarehouse.translate.context import only
from localwarehouse.translate.expressions import Expressions, compare, handles, of_rows, shown, unify
from localwarehouse.translate.values import Value, failure, string
from localwarehouse.types import (
    BOOLEAN,
    STRING,
)

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


@handles(exp.Exists)
def _exists(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    inner = node.this.this if isinstance(node.this, exp.Subquery) else node.this
    selected = expressions.subquery(expressions.gathered, inner, expressions.scope)
    return Value(f"EXISTS ({selected.sql})", BOOLEAN, True)
