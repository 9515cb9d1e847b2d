"""explode and posexplode: the elements of an array as rows."""

from sqlglot import exp

from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.translate.context import only
from localwarehouse.translate.expressions import Expressions, shown
from localwarehouse.translate.values import Value
from localwarehouse.types import INT, Array

Columns = list[tuple[str, Value]]


def generated(expressions: Expressions, projection: exp.Expression) -> Columns | None:
    """The columns of a generator in a select list with their names; None where there is none."""
    node, names = projection, []
    if isinstance(projection, exp.Alias):
        node, names = projection.this, [projection.alias]
    elif isinstance(projection, exp.Aliases):
        node, names = projection.this, [name.name for name in projection.expressions]
    if isinstance(node, exp.Posexplode):
        columns = _posexplode(expressions, node)
    elif isinstance(node, exp.Explode):
        columns = [("col", _elements(expressions, node)[1])]
    elif isinstance(projection, exp.Aliases):
        raise Unsupported(f"the expression {shown(projection)}")
    else:
        return None
    if names and len(names) != len(columns):
        raise WarehouseError(
            "UDTF_ALIAS_NUMBER_MISMATCH",
            f"The number of aliases supplied in the AS clause does not match the number of columns output by "
            f"{shown(node)}: expected {len(columns)} aliases, but got {len(names)}.",
            "42802",
        )
    return [(name, value) for name, (_, value) in zip(names, columns, strict=True)] if names else columns


def _elements(expressions: Expressions, node: exp.Expression) -> tuple[Value, Value]:
    only(node, "this")
    array = expressions.value(node.this)
    if not isinstance(array.type, Array):
        raise Unsupported(f"{shown(node)}: only arrays are exploded")
    return array, Value(f"unnest({array.sql})", array.type.element, True)


def _posexplode(expressions: Expressions, node: exp.Expression) -> Columns:
    """Each element's place, from 0, and the element. DuckDB steps both lists together; NULL has no rows in either."""
    array, element = _elements(expressions, node)
    return [("pos", Value(f"CAST(unnest(range(len({array.sql}))) AS INTEGER)", INT, True)), ("col", element)]
