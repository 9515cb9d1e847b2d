"""A MERGE's steps on one connection, inside its transaction: prepared, checked, carried out, counted."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import duckdb

from localwarehouse import errors
from localwarehouse.planner import Planner
from localwarehouse.plans import EngineSql, Merge

COUNTS: tuple[str, ...] = ("num_affected_rows", "num_updated_rows", "num_deleted_rows", "num_inserted_rows")


def run_merge(
    cursor: duckdb.DuckDBPyConnection,
    planner: Planner,
    plan: Merge,
    values: Mapping[str, Any],
    check: Callable[[], None],
) -> tuple[int, ...]:
    """Returns the numbers of `COUNTS`. `check` raises once the statement is cancelled."""

    def run(sql: EngineSql) -> list[Any]:
        check()
        statement = planner.statement(sql)
        # A statement must be given its own placeholders and no others; all steps share one set.
        return cursor.execute(statement, {name: values[name] for name in statement.named_parameters}).fetchall()

    run(plan.source)
    ((matched,),) = run(plan.matched)
    ((unmatched,),) = run(plan.unmatched) if plan.unmatched is not None else ((0,),)
    if plan.ambiguous is not None and matched > 1 and run(plan.ambiguous):
        raise errors.ambiguous_merge()
    counted: Counter[str] = Counter()
    for step in (*(plan.for_matched if matched else ()), *(plan.for_unmatched if unmatched else ())):
        ((rows,),) = run(step.sql)
        counted[step.counts] += rows
    return counted.total(), counted["updated"], counted["deleted"], counted["inserted"]
