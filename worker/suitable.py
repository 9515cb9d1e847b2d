"""What of a table matters to jobs beside privileges: can it be written, and can what was written be proved?"""

from __future__ import annotations

from collections.abc import Iterator

from databricks.sdk.service.catalog import DataSourceFormat, TableInfo, TableType
from lakequeue.identifiers import TableName

from tasks.table import AUDIT_TYPES, JOB_ID, from_type_texts, ordinary
from worker.findings import Finding

WRITABLE = (
    TableType.MANAGED,
    TableType.EXTERNAL,
    TableType.MANAGED_SHALLOW_CLONE,
    TableType.EXTERNAL_SHALLOW_CLONE,
)
DELTA = (
    DataSourceFormat.DELTA,
    DataSourceFormat.DELTA_UNIFORM_HUDI,
    DataSourceFormat.DELTA_UNIFORM_ICEBERG,
)


def read_only(info: TableInfo) -> str:
    """Why jobs cannot write it, as said after its name; "" if they can. What the SDK does not know is no reason."""
    if info.table_type is not None and info.table_type not in WRITABLE:
        return f"is a {info.table_type.value.replace('_', ' ').lower()}"
    if info.data_source_format is not None and info.data_source_format not in DELTA:
        return f"is in the format {info.data_source_format.value}, not Delta"
    return ""


def columns_found(name: TableName, info: TableInfo) -> Iterator[Finding]:
    """Of its audit columns; and whether any rows could be hidden from a proof."""
    columns = info.columns or ()
    table = from_type_texts(name, [(c.name or "", c.type_text or "", c.nullable is not False) for c in columns])
    odd = ordinary(table)
    absent = [each for each in AUDIT_TYPES if each not in table.audit]
    adopt = f"python -m worker adopt {name}"
    if odd:
        told = f"{name}: {'; '.join(odd)}: the worker leaves it alone, jobs may write it"
        yield Finding("ok", "columns", told)
    if table.stamp_column is None:
        told = f"{name} has no created_at and no updated_at to stamp: appends whose answer is lost end as `unknown`"
        in_the_way = {"created_at", "updated_at"} <= table.by_name.keys()
        yield Finding(
            "warn", "columns", told, "rename the columns of these names, then adopt it" if in_the_way else adopt
        )
    elif JOB_ID in absent:
        told = (
            f"{name} has no {JOB_ID} to stamp: what an earlier attempt of a job wrote is not found when it is replayed"
        )
        yield Finding("warn", "columns", told, f"rename {JOB_ID}, then adopt it" if JOB_ID in table.by_name else adopt)
    elif absent:
        yield Finding("ok", "columns", f"{name} has {', '.join(sorted(table.audit))}; not {', '.join(absent)}")
    else:
        yield Finding("ok", "columns", f"{name} has all audit columns")
    masked = any(column.mask is not None and (column.name or "").lower() in table.audit for column in columns)
    if info.row_filter is not None or masked:
        told = f"{name} has a row filter, or masks audit columns: what is hidden from the worker cannot be proved"
        yield Finding("warn", "columns", told, "exempt the worker from it")
