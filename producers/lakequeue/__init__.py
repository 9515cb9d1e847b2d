"""Enqueue write, update, delete and read jobs on Databricks Unity Catalog tables."""

from lakequeue import unpickled
from lakequeue.client import Queue
from lakequeue.dead_letters import DeadLetters, Page, Replay, Selection
from lakequeue.definitions import SchemaColumn
from lakequeue.errors import (
    InvalidArgument,
    InvalidJob,
    JobConflict,
    JobFailed,
    JobTimeout,
    LakequeueError,
    QueueClosed,
    QueueFull,
    QueueUnreachable,
    ReplayRefused,
    UnknownJob,
    UnknownLetter,
)
from lakequeue.handle import Handle
from lakequeue.identifiers import JobId, TableName
from lakequeue.jobs import Delete, Job, Read, Update, Write, parse_job
from lakequeue.letters import DeadLetter
from lakequeue.outcomes import ReadResult, Receipt, Status, WriteResult
from lakequeue.selection import Filter, OrderBy
from lakequeue.settings import Settings

unpickled.register()

__all__ = [
    "DeadLetter",
    "DeadLetters",
    "Delete",
    "Filter",
    "Handle",
    "InvalidArgument",
    "InvalidJob",
    "Job",
    "JobConflict",
    "JobFailed",
    "JobId",
    "JobTimeout",
    "LakequeueError",
    "OrderBy",
    "Page",
    "Queue",
    "QueueClosed",
    "QueueFull",
    "QueueUnreachable",
    "Read",
    "ReadResult",
    "Receipt",
    "Replay",
    "ReplayRefused",
    "SchemaColumn",
    "Selection",
    "Settings",
    "Status",
    "TableName",
    "UnknownJob",
    "UnknownLetter",
    "Update",
    "Write",
    "WriteResult",
    "parse_job",
]
