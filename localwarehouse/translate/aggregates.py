"""Aggregates, with Spark's result types."""

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.errors import Unsupported
from localwarehouse.translate.context import only
from localwarehouse.translate.expressions import Expressions, handles, shown
from localwarehouse.translate.values import Value
from localwarehouse.types import (
    BIGINT,
    DOUBLE,
    FRACTIONS,
    INTEGRALS,
    Decimal,
    Map,
    duckdb_name,
    sql_name,
)


@handles(exp.Count)
def _count(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this", "big_int")
    counted = node.this
    if isinstance(counted, exp.Star):
        only(counted)
        return Value("count(*)", BIGINT, True)
    distinct = ""
    if isinstance(counted, exp.Distinct):
        if len(counted.expressions) != 1:
            raise Unsupported("count(DISTINCT …) of several columns")
        distinct, counted = "DISTINCT ", counted.expressions[0]
    return Value(f"count({distinct}{expressions.value(counted).sql})", BIGINT, True)


@handles(exp.CountIf)
def _count_if(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    return Value(f"count(*) FILTER (WHERE {expressions.boolean(node.this).sql})", BIGINT, True)


@handles(exp.Sum)
def _sum(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    value = expressions.value(node.this)
    if value.type in INTEGRALS:
        # DuckDB widens to 128 bits; Spark stays with 64 and fails.
        return Value(f"CAST(sum({value.sql}) AS BIGINT)", BIGINT, True)
    if value.type in FRACTIONS:
        return Value(f"sum(CAST({value.sql} AS DOUBLE))", DOUBLE, True)
    if isinstance(value.type, Decimal):
        total = Decimal(min(38, value.type.precision + 10), value.type.scale)
        return Value(f"CAST(sum({value.sql}) AS {duckdb_name(total)})", total, True)
    raise errors.type_mismatch(shown(node), "a number is required")


@handles(exp.Avg)
def _average(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    value = expressions.value(node.this)
    if value.type in INTEGRALS or value.type in FRACTIONS:
        return Value(f"avg({value.sql})", DOUBLE, True)
    raise Unsupported(f'avg of "{sql_name(value.type)}"')


@handles(exp.Min, exp.Max)
def _extreme(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    value = expressions.value(node.this)
    if isinstance(value.type, Map):
        raise errors.type_mismatch(shown(node), "maps have no order")
    return Value(f"{type(node).__name__.lower()}({value.sql})", value.type, True)
