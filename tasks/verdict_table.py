"""The one table of verdicts: exception classes, HTTP statuses, error classes and SQLSTATEs, and what follows from each.

Classes of exceptions are named, not imported: this package knows neither connector nor network. A test walks every one
that databricks-sql-connector, urllib3 and databricks-sdk define and fails on one that is not named here, and on a name
that is none of theirs. Error classes: https://docs.databricks.com/aws/en/error-messages/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Verdict = Literal["transient", "permanent", "unknown"]

Cause = Literal[
    "row",
    "shape",
    "missing",
    "permission",
    "expired",
    "conflict",
    "warehouse",
    "session",
    "answer",
    "unlisted",
]
"""Where the fault lies: `row` is some row's value (split the batch), `missing` an object that may be created, `answer`
a reply that was lost, `session` a connection that has to be opened anew, `warehouse` that it cannot be had now,
`unlisted` an error that says nothing of the job."""

Reading = Literal["never_sent", "refused", "lost", "status", "text", "reason"]
"""How an exception is to be read:

never_sent  no statement left this process
refused     the credentials were not taken: no statement was
lost        a statement may have run, nobody can say
status      an HTTP status says it, see STATUSES; without one, as `lost`
text        the warehouse's text says it, see ERROR_CLASSES and SQLSTATES; without a class, as `lost`
reason      another exception inside says it; without one, as `lost`
"""

_READINGS: Mapping[Reading, Mapping[str, str]] = {
    "never_sent": {
        "builtins": "ConnectionRefusedError",
        "urllib3.exceptions": "ConnectTimeoutError NameResolutionError NewConnectionError",
        # The SDK, and requests for it, get tokens and nothing else: no statement travels with them.
        "requests.exceptions": "RequestException",
        "databricks.sdk.errors.base": "DatabricksError",
        "databricks.sdk.errors.platform": (
            "Aborted AlreadyExists BadRequest Cancelled DataLoss DeadlineExceeded InternalError InvalidParameterValue "
            "InvalidState NotFound NotImplemented RequestLimitExceeded ResourceAlreadyExists ResourceConflict "
            "ResourceDoesNotExist ResourceExhausted TemporarilyUnavailable TooManyRequests Unknown"
        ),
        "databricks.sdk.errors.sdk": "OperationFailed OperationTimeout",
        "databricks.sdk.retries": "RetryError",
        "databricks.sdk.mixins.files": "FallbackToDownloadUsingFilesApi FallbackToUploadUsingFilesApi "
        "_RetryableException",
    },
    "refused": {
        "databricks.sdk.errors.platform": "PermissionDenied Unauthenticated",
        "databricks.sdk.errors.private_link": "PrivateLinkValidationError",
    },
    "lost": {
        "builtins": "Exception",  # whatever is not named, thrift's and pyarrow's among them
        "databricks.sql.exc": (
            "Error InterfaceError InvalidServerResponseError OperationalError "
            "TelemetryNonRateLimitError TelemetryRateLimitError Warning"
        ),
        "urllib3.exceptions": (
            "BodyNotHttplibCompatible ClosedPoolError DecodeError DependencyWarning EmptyPoolError FullPoolError "
            "HTTPError HTTPWarning HeaderParsingError HostChangedError IncompleteRead InsecurePlatformWarning "
            "InsecureRequestWarning InvalidChunkLength InvalidHeader LocationParseError LocationValueError "
            "NotOpenSSLWarning PoolError ProtocolError ProxySchemeUnknown ProxySchemeUnsupported ReadTimeoutError "
            "RequestError ResponseNotChunked SSLError SecurityWarning SystemTimeWarning TimeoutError "
            "TimeoutStateError URLSchemeUnknown UnrewindableBodyError"
        ),
        "urllib3.util.ssl_match_hostname": "CertificateError",
    },
    "status": {
        "databricks.sql.exc": (
            "CursorAlreadyClosedError MaxRetryDurationError NonRecoverableNetworkError RequestError "
            "SessionAlreadyClosedError UnsafeToRetryError"
        ),
        "urllib3.exceptions": "ResponseError",
    },
    "text": {
        "databricks.sql.exc": (
            "DataError DatabaseError IntegrityError InternalError NotSupportedError ProgrammingError "
            "ReydenThriftUnsupportedError ServerOperationError TransactionError"
        ),
    },
    "reason": {
        # A ProxyError is no proof that nothing was sent: urllib3 forgets that it had reached the proxy once the
        # connection is closed, as it is when a reply is lost (urllib3/connection.py, close).
        "urllib3.exceptions": "MaxRetryError ProxyError",
    },
}

EXCEPTIONS: Mapping[str, Reading] = {
    f"{module}.{name}": reading
    for reading, modules in _READINGS.items()
    for module, names in modules.items()
    for name in names.split()
}
"""By qualified name. A class of which only a base is named is read as its nearest base."""

TOKEN_REFUSED = ("invalid_client", "invalid_grant", "unauthorized_client", "access_denied")
"""How a token endpoint says so (RFC 6749, 5.2); the SDK makes a plain ValueError of it."""

UNAUTHENTICATED = "UNAUTHENTICATED"
NO_SUCH_WAREHOUSE = "WAREHOUSE_NOT_FOUND"

STATUSES: Mapping[int, tuple[Verdict, Cause, str]] = {
    # Of the worker's sign-in or its warehouse, not of any job: jobs wait until an operator has put it right. What a
    # statement is not permitted to do comes as an error class, with status 200.
    401: ("transient", "warehouse", UNAUTHENTICATED),
    403: ("transient", "warehouse", UNAUTHENTICATED),
    404: ("transient", "warehouse", NO_SUCH_WAREHOUSE),
    429: ("transient", "warehouse", "HTTP_429"),
    400: ("transient", "unlisted", "HTTP_400"),
    413: ("permanent", "row", "HTTP_413"),
}
"""Of a request that carried a statement. Any other says nothing of it: a 5xx may follow a commit."""

LOST_SESSION = re.compile(
    r"Invalid SessionHandle|session (?:handle\b.*?)?(?:is|was|has) not (?:been )?initiali[sz]ed"
    r"|Couldn't create directory /local_disk0",
    re.IGNORECASE | re.DOTALL,
)
"""A session that is gone, or a warehouse that opens sessions before it can run statements in them (unconfirmed: as
users of other clients report it of a warehouse that starts)."""

ERROR_CLASSES: Mapping[str, tuple[Verdict, Cause]] = {
    "TABLE_OR_VIEW_NOT_FOUND": ("permanent", "missing"),
    "SCHEMA_NOT_FOUND": ("permanent", "missing"),
    "CATALOG_NOT_FOUND": ("permanent", "missing"),
    "NO_SUCH_CATALOG_EXCEPTION": ("permanent", "missing"),
    "CAST_INVALID_INPUT": ("permanent", "row"),
    "CAST_OVERFLOW": ("permanent", "row"),
    "CAST_OVERFLOW_IN_TABLE_INSERT": ("permanent", "row"),
    "CONVERSION_INVALID_INPUT": ("permanent", "row"),
    "NUMERIC_VALUE_OUT_OF_RANGE": ("permanent", "row"),
    "ARITHMETIC_OVERFLOW": ("permanent", "row"),
    "DATETIME_OVERFLOW": ("permanent", "row"),
    "CANNOT_PARSE_TIMESTAMP": ("permanent", "row"),
    "MALFORMED_RECORD_IN_PARSING": ("permanent", "row"),
    "NULL_MAP_KEY": ("permanent", "row"),
    "DUPLICATED_MAP_KEY": ("permanent", "row"),
    "DELTA_NOT_NULL_CONSTRAINT_VIOLATED": ("permanent", "row"),
    "NOT_NULL_ASSERT_VIOLATION": ("permanent", "row"),
    "NOT_NULL_CONSTRAINT_VIOLATION": ("permanent", "row"),
    "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES": ("permanent", "row"),
    "CHECK_CONSTRAINT_VIOLATION": ("permanent", "row"),
    "DELTA_EXCEED_CHAR_VARCHAR_LIMIT": ("permanent", "row"),
    "EXCEED_LIMIT_LENGTH": ("permanent", "row"),
    "INSERT_COLUMN_ARITY_MISMATCH": ("permanent", "shape"),
    "UNRESOLVED_COLUMN": ("permanent", "shape"),
    "INCOMPATIBLE_DATA_FOR_TABLE": ("permanent", "shape"),
    "DELTA_FAILED_TO_MERGE_FIELDS": ("permanent", "shape"),
    "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE": ("permanent", "shape"),
    "MERGE_CARDINALITY_VIOLATION": ("permanent", "shape"),
    "PARSE_SYNTAX_ERROR": ("permanent", "shape"),
    "UNSUPPORTED_LOCAL": ("permanent", "shape"),
    # Raised by an expression of the table, such as a constraint or a generated column, for some row.
    "USER_RAISED_EXCEPTION": ("permanent", "row"),
    "INSUFFICIENT_PERMISSIONS": ("permanent", "permission"),
    "PERMISSION_DENIED": ("permanent", "permission"),
    "DELTA_CONCURRENT_APPEND": ("transient", "conflict"),
    "DELTA_CONCURRENT_DELETE_READ": ("transient", "conflict"),
    "DELTA_CONCURRENT_DELETE_DELETE": ("transient", "conflict"),
    "DELTA_CONCURRENT_WRITE": ("transient", "conflict"),
    "DELTA_CONCURRENT_TRANSACTION": ("transient", "conflict"),
    "DELTA_METADATA_CHANGED": ("transient", "conflict"),
    "DELTA_PROTOCOL_CHANGED": ("transient", "conflict"),
    "DELTA_MAX_COMMIT_RETRIES_EXCEEDED": ("transient", "conflict"),
    # Its own time limit: it was stopped before its commit (unconfirmed), but whether it was is what has to be proved.
    "STATEMENT_TIMEOUT": ("unknown", "answer"),
    "OPERATION_CANCELED": ("unknown", "answer"),
    # It says itself that the commit succeeded and that something after it failed.
    "DELTA_POST_COMMIT_HOOK_FAILED": ("unknown", "answer"),
}
"""Without their sub-class. Any other is judged by its SQLSTATE, then by the class of that: see SQLSTATE_CLASSES."""

SQLSTATES: Mapping[str, tuple[Verdict, Cause]] = {
    "42P01": ("permanent", "missing"),
    "42704": ("permanent", "missing"),
    "42P08": ("permanent", "missing"),
    "22001": ("permanent", "row"),
    "22003": ("permanent", "row"),
    "22007": ("permanent", "row"),
    "22018": ("permanent", "row"),
    "22023": ("permanent", "row"),
    "23001": ("permanent", "row"),
    "23502": ("permanent", "row"),
    "21506": ("permanent", "shape"),
    "21S01": ("permanent", "shape"),
    "23K01": ("permanent", "shape"),
    "42601": ("permanent", "shape"),
    "42703": ("permanent", "shape"),
    "KD000": ("permanent", "shape"),
    "42501": ("permanent", "permission"),
    "08KD1": ("transient", "warehouse"),
    "2D521": ("transient", "conflict"),
    "40000": ("transient", "conflict"),
    "57KD0": ("unknown", "answer"),
    "HY008": ("unknown", "answer"),
}

SQLSTATE_CLASSES: Mapping[str, tuple[Verdict, Cause]] = {
    "21": ("permanent", "shape"),
    "22": ("permanent", "row"),
    "23": ("permanent", "row"),
    "42": ("permanent", "shape"),
}
"""By the first two characters of a SQLSTATE that is not listed itself."""

UNLISTED: tuple[Verdict, Cause] = ("transient", "unlisted")
"""Of everything else: the warehouse's own trouble until it is shown otherwise. No job fails for it."""
