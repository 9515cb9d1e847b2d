"""Sessions: their settings, checked when they open, and the operations they hold."""

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from localwarehouse import errors
from localwarehouse.catalog import DEFAULT_CATALOG, DEFAULT_SCHEMA
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.operations import Operation

# Databricks' own default, two days.
_DEFAULT_TIMEOUT_S = 172_800
# Finished operations nobody closed, such as failed ones, are forgotten beyond this many a session.
_KEPT_OPERATIONS = 1_000
# Settings that change nothing here.
_WITHOUT_EFFECT = ("query_tags", "use_cached_result")


@dataclass
class Session:
    catalog: str
    schema: str
    timeout_s: int
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    secret: bytes = field(default_factory=lambda: uuid.uuid4().bytes)
    operations: "OrderedDict[bytes, Operation]" = field(default_factory=OrderedDict)


def open_session(configuration: Mapping[str, str], catalog: str | None, schema: str | None) -> Session:
    timeout_s = _DEFAULT_TIMEOUT_S
    for key, value in configuration.items():
        name = key.lower()
        if name == "ansi_mode":
            if value.lower() != "true":
                raise Unsupported(f"ANSI_MODE {value}")
        elif name == "timezone":
            if value.upper() not in ("UTC", "ETC/UTC", "Z", "GMT"):
                raise Unsupported(f"TIMEZONE {value}")
        elif name == "statement_timeout":
            if not value.isdigit() or int(value) > _DEFAULT_TIMEOUT_S:
                raise WarehouseError(
                    "INVALID_CONF_VALUE.TYPE_MISMATCH",
                    f"The value '{value}' in the config \"STATEMENT_TIMEOUT\" is invalid.",
                    "22022",
                )
            timeout_s = int(value) or _DEFAULT_TIMEOUT_S
        elif name not in _WITHOUT_EFFECT and not name.startswith("spark.thriftserver."):
            raise WarehouseError("CONFIG_NOT_AVAILABLE", f"Configuration {key} is not available.", "42K0I")
    return Session((catalog or DEFAULT_CATALOG).lower(), (schema or DEFAULT_SCHEMA).lower(), timeout_s)


class Sessions:
    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._by_id: dict[bytes, Session] = {}

    def add(self, session: Session) -> None:
        with self._guard:
            self._by_id[session.id.bytes] = session

    def get(self, session_id: bytes) -> Session:
        with self._guard:
            found = self._by_id.get(session_id)
        if found is None:
            raise errors.invalid_session(_shown(session_id))
        return found

    def forget(self, session_id: bytes) -> None:
        """The session is gone. Statements that run in it go on, as a lost client's do."""
        with self._guard:
            self._by_id.pop(session_id, None)

    def close(self, session_id: bytes) -> None:
        """The client's own farewell: what still runs is cancelled."""
        session = self.get(session_id)
        self.forget(session_id)
        for operation in list(session.operations.values()):
            operation.cancel()

    def keep(self, session: Session, operation: Operation) -> None:
        with self._guard:
            session.operations[operation.id.bytes] = operation
            if len(session.operations) > _KEPT_OPERATIONS:
                for key, known in list(session.operations.items()):
                    if known.done.is_set():
                        del session.operations[key]
                        break

    def operation(self, operation_id: bytes) -> Operation:
        with self._guard:
            for session in self._by_id.values():
                found = session.operations.get(operation_id)
                if found is not None:
                    return found
        raise WarehouseError("INVALID_HANDLE", f"Invalid OperationHandle: {_shown(operation_id)}", "HY000")

    def drop(self, operation_id: bytes) -> None:
        with self._guard:
            for session in self._by_id.values():
                session.operations.pop(operation_id, None)

    def all_operations(self) -> list[Operation]:
        with self._guard:
            return [operation for session in self._by_id.values() for operation in session.operations.values()]


def _shown(handle: bytes) -> str:
    return str(uuid.UUID(bytes=handle)) if len(handle) == 16 else handle.hex()
