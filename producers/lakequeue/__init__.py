"""Enqueue write, update, delete and read jobs on Databricks Unity Catalog tables."""

from lakequeue.client import Handle, Queue
from lakequeue.definitions import SchemaColumn
from lakequeue.errors import (
    InvalidJob,
    JobConflict,
    JobFailed,
    JobTimeout,
    LakequeueError,
    QueueFull,
    QueueUnreachable,
    UnknownJob,
)
from lakequeue.identifiers import JobId, TableName
from lakequeue.jobs import Delete, Job, Read, Update, Write, parse_job
from lakequeue.outcomes import ReadResult, Receipt, Status, WriteResult
from lakequeue.selection import Filter, OrderBy
from lakequeue.settings import Settings

__all__ = [
    "Delete",
    "Filter",
    "Handle",
    "InvalidJob",
    "Job",
    "JobConflict",
    "JobFailed",
    "JobId",
    "JobTimeout",
    "LakequeueError",
    "OrderBy",
    "Queue",
    "QueueFull",
    "QueueUnreachable",
    "Read",
    "ReadResult",
    "Receipt",
    "SchemaColumn",
    "Settings",
    "Status",
    "TableName",
    "UnknownJob",
    "Update",
    "Write",
    "WriteResult",
    "parse_job",
]
