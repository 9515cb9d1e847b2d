"""FROM and JOIN: tables, queries and inline rows that an expression can name columns of."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlglot import exp

from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.translate.context import Gathered, Relation, Scope, Visible, only, table_relation
from localwarehouse.translate.expressions import Expressions, shown

if TYPE_CHECKING:
    from localwarehouse.translate.select import Selected

Subquery = Callable[[Gathered, exp.Expression, Scope | None], "Selected"]


def source(gathered: Gathered, node: exp.Expression, parent: Scope | None, subquery: Subquery) -> tuple[str, Relation]:
    """One source as SQL that may follow FROM, and its columns. `subquery` translates a query nested in it."""
    name = gathered.relation()
    if isinstance(node, exp.Table):
        table = gathered.setting.table(node)
        return f"{table.storage} AS {name}", table_relation(table, name, node.alias)
    if not isinstance(node, exp.Subquery | exp.Values):
        raise Unsupported(f"{shown(node)} in FROM")
    only(node, "this", "alias", "expressions")
    selected = subquery(gathered, node.this if isinstance(node, exp.Subquery) else node, parent)
    alias = node.args.get("alias")
    renamed = [column.name for column in alias.args.get("columns") or []] if alias else []
    if renamed and len(renamed) != len(selected.outputs):
        raise WarehouseError("NUM_COLUMNS_MISMATCH", "The alias names another number of columns.", "42826")
    columns = tuple(
        Visible(renamed[position] if renamed else output.name, f"{name}.c{position}", output.type)
        for position, output in enumerate(selected.outputs)
    )
    qualifiers = frozenset({node.alias.lower()}) if node.alias else frozenset[str]()
    return f"({selected.sql}) AS {name}", Relation(qualifiers, columns)


def from_clause(
    gathered: Gathered, select: exp.Select, parent: Scope | None, subquery: Subquery
) -> tuple[str, tuple[Relation, ...]]:
    """The FROM of a SELECT, with its inner joins; empty where it has none."""
    node = select.args.get("from_")
    if node is None:
        return "", ()
    only(node, "this")
    first, relation = source(gathered, node.this, parent, subquery)
    sql = f"FROM {first}"
    relations: tuple[Relation, ...] = (relation,)
    for join in select.args.get("joins") or []:
        said = {argument for argument, value in join.args.items() if value}
        if said - {"kind"} != {"this", "on"} or str(join.args.get("kind") or "INNER").upper() != "INNER":
            raise Unsupported(f"{shown(join).strip()}; only JOIN … ON is supported")
        joined, relation = source(gathered, join.this, parent, subquery)
        relations = (*relations, relation)
        condition = Expressions(gathered, Scope(relations, parent), subquery).boolean(join.args["on"])
        sql += f" JOIN {joined} ON {condition.sql}"
    return sql, relations
