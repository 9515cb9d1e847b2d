"""MERGE as steps: its source kept aside, matched with the table, and each clause applied to the rows that are its own.

Delta keeps the source aside too, so what it raises it raises for every row, matched or not.
"""

from dataclasses import dataclass

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.catalog import Table
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.plans import Merge, Step
from localwarehouse.translate import select, sources
from localwarehouse.translate.context import Gathered, Relation, Scope, Setting, Visible, gather, only, table_relation
from localwarehouse.translate.expressions import Expressions, shown
from localwarehouse.translate.values import Value
from localwarehouse.translate.writes import assigned, broken_checks, row, target_column

# Tables of the connection's own; `clause` numbers the clause that applies to a row, NULL is none.
_SOURCE = "temp.merge_source"
_MATCHED = "temp.merge_matched"
_UNMATCHED = "temp.merge_unmatched"


def merge(setting: Setting, node: exp.Expression) -> Merge:
    only(node, "this", "using", "on", "whens")
    _refuse_subqueries(node.args["on"], *node.args["whens"].expressions)
    table = setting.table(node.this)
    gathered = gather(setting)
    kept, source = _kept_source(gathered, node.args["using"])
    target = table_relation(table, "t", node.this.alias)
    both = Expressions(gathered, Scope((target, source)), select.translate)
    alone = Expressions(gathered, Scope((source,)), select.translate)
    matched, unmatched = _clauses(node.args["whens"].expressions)

    pairs = (
        f"CREATE TEMPORARY TABLE {_MATCHED} AS "
        f"SELECT t.rowid AS target, s.rowid AS source, {_choice(both, matched)} AS clause "
        f"FROM {_SOURCE} AS s JOIN {table.storage} AS t ON {both.boolean(node.args['on']).sql}"
    )
    rest = (
        f"CREATE TEMPORARY TABLE {_UNMATCHED} AS "
        f"SELECT s.*, {_choice(alone, unmatched)} AS clause FROM {_SOURCE} AS s "
        f"WHERE NOT EXISTS (SELECT 1 FROM {_MATCHED} AS m WHERE m.source = s.rowid)"
    )
    changes = [_change(both, table, target, clause) for clause in matched]
    inserts = [_insert(alone, table, target, clause) for clause in unmatched]
    # What a delete would do to a row twice is what it does once.
    may_repeat = len(matched) == 1 and matched[0].condition is None and _is_delete(matched[0])
    ambiguous = f"SELECT 1 FROM {_MATCHED} WHERE clause IS NOT NULL GROUP BY target HAVING count(*) > 1 LIMIT 1"
    return Merge(
        "MERGE",
        table,
        gathered.finish_early(),
        gathered.finish(kept),
        gathered.finish(pairs),
        gathered.finish(rest) if unmatched else None,
        gathered.finish(ambiguous) if matched and not may_repeat else None,
        tuple(
            Step(gathered.finish(text), "deleted" if _is_delete(clause) else "updated")
            for text, clause in zip(changes, matched, strict=True)
        ),
        tuple(Step(gathered.finish(text), "inserted") for text in inserts),
    )


def _refuse_subqueries(*nodes: exp.Expression) -> None:
    for node in nodes:
        if (found := node.find(exp.Select)) is not None:
            raise WarehouseError(
                "DELTA_UNSUPPORTED_SUBQUERY",
                f"Subqueries are not supported in the MERGE operation (condition = {found.sql('databricks')[:200]}).",
                "0AKDD",
            )


def _kept_source(gathered: Gathered, node: exp.Expression) -> tuple[str, Relation]:
    """The statement that keeps the source aside, and the source as it is read from there."""
    taken = select.assert_early(gathered, node.this) if isinstance(node, exp.Subquery) else ()

    def translate(gathered: Gathered, query: exp.Expression, parent: Scope | None) -> select.Selected:
        return select.translate(gathered, query, parent, without=taken if query is node.this else ())

    sql, relation = sources.source(gathered, node, None, translate)
    columns = ", ".join(f"{visible.sql} AS c{position}" for position, visible in enumerate(relation.columns))
    kept = tuple(
        Visible(visible.name, f"s.c{position}", visible.type) for position, visible in enumerate(relation.columns)
    )
    return f"CREATE TEMPORARY TABLE {_SOURCE} AS SELECT {columns} FROM {sql}", Relation(relation.qualifiers, kept)


@dataclass(frozen=True)
class _Clause:
    number: int
    condition: exp.Expression | None
    action: exp.Expression


def _is_delete(clause: _Clause) -> bool:
    return isinstance(clause.action, exp.Var)


def _clauses(nodes: list[exp.Expression]) -> tuple[list[_Clause], list[_Clause]]:
    """Those for matched rows and those for unmatched ones, in the order in which they are tried."""
    matched: list[_Clause] = []
    unmatched: list[_Clause] = []
    for node in nodes:
        if node.args.get("source"):
            raise Unsupported("WHEN NOT MATCHED BY SOURCE in MERGE")
        only(node, "matched", "condition", "then")
        action = node.args["then"]
        of = matched if node.args.get("matched") else unmatched
        fitting = isinstance(action, exp.Update) or (isinstance(action, exp.Var) and action.name.upper() == "DELETE")
        if not (fitting if of is matched else isinstance(action, exp.Insert)):
            raise errors.syntax_error(f"'{shown(action)}'")
        if of and of[-1].condition is None:
            which = "MATCHED" if of is matched else "NOT_MATCHED_BY_TARGET"
            raise WarehouseError(
                f"NON_LAST_{which}_CLAUSE_OMIT_CONDITION",
                f"When there are more than one {which.replace('_', ' ')} clauses in a MERGE statement, only the last "
                f"{which.replace('_', ' ')} clause can omit the condition.",
                "42613",
            )
        of.append(_Clause(len(of), node.args.get("condition"), action))
    return matched, unmatched


def _choice(expressions: Expressions, clauses: list[_Clause]) -> str:
    """The number of the first clause that applies."""
    arms = [
        f"WHEN {'true' if clause.condition is None else expressions.boolean(clause.condition).sql} THEN {clause.number}"
        for clause in clauses
    ]
    return f"CASE {' '.join(arms)} END" if arms else "CAST(NULL AS INTEGER)"


def _change(expressions: Expressions, table: Table, target: Relation, clause: _Clause) -> str:
    """UPDATE or DELETE of the rows a clause applies to."""
    if _is_delete(clause):
        return (
            f"DELETE FROM {table.storage} AS t "
            f"WHERE t.rowid IN (SELECT m.target FROM {_MATCHED} AS m WHERE m.clause = {clause.number})"
        )
    only(clause.action, "expressions")
    if any(isinstance(part, exp.Star) for part in clause.action.expressions):
        raise Unsupported("UPDATE SET * in MERGE")
    assignments = assigned(expressions, table, target, clause.action.expressions)
    return (
        f"UPDATE {table.storage} AS t SET {assignments} "
        f"FROM {_MATCHED} AS m JOIN {_SOURCE} AS s ON s.rowid = m.source "
        f"WHERE t.rowid = m.target AND m.clause = {clause.number}"
    )


def _insert(expressions: Expressions, table: Table, target: Relation, clause: _Clause) -> str:
    action = clause.action
    only(action, "this", "expression")
    names, values = action.this, action.expression
    if not isinstance(names, exp.Tuple) or not isinstance(values, exp.Tuple):
        raise Unsupported("INSERT without a list of columns in MERGE")
    if len(names.expressions) != len(values.expressions):
        raise errors.syntax_error("')': the number of inserted values does not match the number of columns")
    given: dict[str, Value] = {}
    for name, value in zip(names.expressions, values.expressions, strict=True):
        column = target_column(table, target, name)
        if column.name in given:
            raise WarehouseError("DELTA_DUPLICATE_COLUMNS_ON_INSERT", f"`{column.name}` is named twice.", "42701")
        given[column.name] = expressions.value(value)
    made = row(expressions.gathered, table, given)
    after = tuple(Visible(column.name, sql, column.type) for column, sql in zip(table.columns, made, strict=True))
    conditions = broken_checks(expressions.gathered, table, Scope((Relation(target.qualifiers, after),)))
    if conditions:
        # Part of a value, not of the WHERE: a row of another clause need not keep them.
        made[0] = f"CASE WHEN {' AND '.join(conditions)} THEN {made[0]} END"
    return (
        f"INSERT INTO {table.storage} ({', '.join(column.storage for column in table.columns)}) "
        f"SELECT {', '.join(made)} FROM {_UNMATCHED} AS s WHERE s.clause = {clause.number}"
    )
