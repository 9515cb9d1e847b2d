"""The Thrift calls the connector makes, each answered from sessions and operations.

The real service's habits that clients rely on: a statement's result comes with the reply to ExecuteStatement when
it is there in time; else the client asks GetOperationStatus in a loop without pauses, so that this call waits.
"""

import time
from collections.abc import Callable
from typing import Any

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.Thrift import TApplicationException, TMessageType
from thrift.transport.TTransport import TMemoryBuffer

from localwarehouse import wire
from localwarehouse.arrow_results import Pages, thrift_schema
from localwarehouse.engine import Parameter
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.faults import DropConnection, Faults, HttpStatus, Rule
from localwarehouse.operations import Executor, Operation, Request
from localwarehouse.sessions import Session, Sessions, open_session
from localwarehouse.types import parse_type_text

# How long ExecuteStatement waits for the result before it answers "still running".
_DIRECT_RESULT_WAIT_S = 2.0
_STATUS_WAIT_S = 1.0
_MAX_ROWS = 1_000_000
_MAX_BYTES = 100 * 1024 * 1024

_STATES = {
    "PENDING": wire.types.TOperationState.PENDING_STATE,
    "RUNNING": wire.types.TOperationState.RUNNING_STATE,
    "FINISHED": wire.types.TOperationState.FINISHED_STATE,
    "ERROR": wire.types.TOperationState.ERROR_STATE,
    "CANCELED": wire.types.TOperationState.CANCELED_STATE,
}
_OK = wire.types.TStatus(statusCode=wire.types.TStatusCode.SUCCESS_STATUS)


class InvalidMessage(Exception):
    """The body is no Thrift call."""


class ThriftService:
    def __init__(self, executor: Executor, faults: Faults) -> None:
        self.sessions = Sessions()
        self._executor = executor
        self._faults = faults
        self._calls: dict[str, Callable[[Any, Rule | None], Any]] = {
            "OpenSession": self._open_session,
            "CloseSession": self._close_session,
            "ExecuteStatement": self._execute_statement,
            "GetOperationStatus": self._get_operation_status,
            "GetResultSetMetadata": self._get_result_set_metadata,
            "FetchResults": self._fetch_results,
            "CancelOperation": self._cancel_operation,
            "CloseOperation": self._close_operation,
        }

    def handle(self, body: bytes) -> bytes:
        """One Thrift message in, one out. Raises DropConnection and HttpStatus where a fault says so."""
        protocol = TBinaryProtocolAccelerated(
            TMemoryBuffer(body), string_length_limit=None, container_length_limit=None
        )
        try:
            name, _, sequence = protocol.readMessageBegin()
            call = self._calls.get(name)
            arguments = getattr(wire.service, f"{name}_args")() if call is not None else None
            if arguments is not None:
                arguments.read(protocol)
                protocol.readMessageEnd()
        except Exception as exc:
            raise InvalidMessage(f"not a Thrift message: {type(exc).__name__}") from exc
        if call is None or arguments is None or arguments.req is None:
            unknown = TApplicationException(
                TApplicationException.UNKNOWN_METHOD, f"The local warehouse does not serve {name}"
            )
            return _message(name, TMessageType.EXCEPTION, sequence, unknown)
        request = arguments.req
        values = "\n".join(p.value.stringValue or "" for p in getattr(request, "parameters", None) or () if p.value)
        rule = self._faults.pick(name, getattr(request, "statement", None), values)
        self._before(name, request, rule)
        try:
            if rule is not None and (rule.action, name) != ("error", "ExecuteStatement"):
                _refuse(rule)
            response = call(request, rule)
        except WarehouseError as exc:
            response = _RESPONSES[name](status=_failed(exc))
        _after(rule)
        result = getattr(wire.service, f"{name}_result")(success=response)
        return _message(name, TMessageType.REPLY, sequence, result)

    def stop(self, within_s: float) -> None:
        """Cancel what runs and wait for it to end."""
        deadline = time.monotonic() + within_s
        operations = self.sessions.all_operations()
        for operation in operations:
            operation.cancel()
        for operation in operations:
            operation.done.wait(max(0.0, deadline - time.monotonic()))

    def _before(self, name: str, request: Any, rule: Rule | None) -> None:
        if rule is None:
            return
        if rule.action == "drop_before":
            raise DropConnection
        if rule.action == "status" and not rule.executed:
            raise HttpStatus(rule.status, rule.retry_after_s)
        if rule.action == "forget_session" and getattr(request, "sessionHandle", None) is not None:
            self.sessions.forget(request.sessionHandle.sessionId.guid)
        if rule.action in ("hold", "delay") and name != "ExecuteStatement":
            self._faults.wait(rule, None)

    def _open_session(self, request: Any, rule: Rule | None) -> Any:
        namespace = request.initialNamespace
        session = open_session(
            request.configuration or {},
            namespace.catalogName if namespace else None,
            namespace.schemaName if namespace else None,
        )
        self.sessions.add(session)
        return wire.types.TOpenSessionResp(
            status=_OK,
            serverProtocolVersion=wire.types.TProtocolVersion.SPARK_CLI_SERVICE_PROTOCOL_V7,
            sessionHandle=wire.types.TSessionHandle(
                sessionId=wire.types.THandleIdentifier(guid=session.id.bytes, secret=session.secret)
            ),
            configuration={},
            initialNamespace=wire.types.TNamespace(catalogName=session.catalog, schemaName=session.schema),
            canUseMultipleCatalogs=True,
        )

    def _close_session(self, request: Any, rule: Rule | None) -> Any:
        self.sessions.close(request.sessionHandle.sessionId.guid)
        return wire.types.TCloseSessionResp(status=_OK)

    def _execute_statement(self, request: Any, rule: Rule | None) -> Any:
        session = self.sessions.get(request.sessionHandle.sessionId.guid)
        operation = self._executor.start(self._request(session, request, rule))
        self.sessions.keep(session, operation)
        if rule is not None and (rule.action == "drop_after" or (rule.action == "status" and rule.executed)):
            operation.done.wait()
            _after(rule)
        response = wire.types.TExecuteStatementResp(status=_OK, operationHandle=_operation_handle(operation))
        direct = request.getDirectResults
        if direct is None:
            return response
        operation.done.wait(_DIRECT_RESULT_WAIT_S)
        response.directResults = wire.types.TSparkDirectResults(operationStatus=_operation_status(operation))
        if operation.state == "FINISHED":
            response.directResults.resultSetMetadata = _metadata(operation)
            response.directResults.resultSet = _page(operation, direct.maxRows, direct.maxBytes)
            if not _pages(operation).more:
                self.sessions.drop(operation.id.bytes)
                response.directResults.closeOperation = wire.types.TCloseOperationResp(status=_OK)
        return response

    def _request(self, session: Session, request: Any, rule: Rule | None) -> Request:
        refused: WarehouseError | None = None
        parameters: dict[str, Parameter] = {}
        try:
            parameters = _parameters(request.parameters or [])
        except WarehouseError as exc:
            refused = exc

        def queue(operation: Operation) -> None:
            if refused is not None:
                raise refused
            if rule is not None and rule.action in ("hold", "delay"):
                self._faults.wait(rule, operation)
            if rule is not None and rule.action == "error" and not rule.executed:
                raise rule.error

        return Request(
            text=request.statement,
            parameters=parameters,
            catalog=session.catalog,
            schema=session.schema,
            timeout_s=session.timeout_s,
            lz4=bool(request.canDecompressLZ4Result),
            queue=queue if rule is not None or refused is not None else None,
            ends_by=rule.error if rule is not None and rule.action == "error" and rule.executed else None,
        )

    def _get_operation_status(self, request: Any, rule: Rule | None) -> Any:
        operation = self._operation(request)
        operation.done.wait(_STATUS_WAIT_S)
        return _operation_status(operation)

    def _get_result_set_metadata(self, request: Any, rule: Rule | None) -> Any:
        return _metadata(self._operation(request))

    def _fetch_results(self, request: Any, rule: Rule | None) -> Any:
        operation = self._operation(request)
        response = _page(operation, request.maxRows, request.maxBytes)
        if request.includeResultSetMetadata:
            response.resultSetMetadata = _metadata(operation)
        return response

    def _cancel_operation(self, request: Any, rule: Rule | None) -> Any:
        self._operation(request).cancel()
        return wire.types.TCancelOperationResp(status=_OK)

    def _close_operation(self, request: Any, rule: Rule | None) -> Any:
        operation = self._operation(request)
        operation.cancel()
        self.sessions.drop(operation.id.bytes)
        return wire.types.TCloseOperationResp(status=_OK)

    def _operation(self, request: Any) -> Operation:
        return self.sessions.operation(request.operationHandle.operationId.guid)


_RESPONSES: dict[str, Callable[..., Any]] = {
    name: getattr(wire.types, f"T{name}Resp")
    for name in (
        "OpenSession",
        "CloseSession",
        "ExecuteStatement",
        "GetOperationStatus",
        "GetResultSetMetadata",
        "FetchResults",
        "CancelOperation",
        "CloseOperation",
    )
}


def _refuse(rule: Rule) -> None:
    """Answers the request itself by the rule's error; a statement's own `error` is its operation's."""
    if rule.action in ("error", "refuse"):
        raise rule.error


def _after(rule: Rule | None) -> None:
    if rule is None:
        return
    if rule.action == "drop_after":
        raise DropConnection
    if rule.action == "status":
        raise HttpStatus(rule.status, rule.retry_after_s)


def _message(name: str, kind: int, sequence: int, content: Any) -> bytes:
    buffer = TMemoryBuffer()
    protocol = TBinaryProtocolAccelerated(buffer)
    protocol.writeMessageBegin(name, kind, sequence)
    content.write(protocol)
    protocol.writeMessageEnd()
    return bytes(buffer.getvalue())


def _failed(exc: WarehouseError) -> Any:
    # Handles and sessions are told apart by their text alone, which has no class.
    text = exc.text if exc.error_class == "INVALID_HANDLE" else str(exc)
    return wire.types.TStatus(
        statusCode=wire.types.TStatusCode.ERROR_STATUS, errorMessage=text, displayMessage=text, sqlState=exc.sqlstate
    )


def _parameters(given: list[Any]) -> dict[str, Parameter]:
    parameters = {}
    for parameter in given:
        if parameter.name is None or parameter.arguments:
            raise Unsupported("positional, ARRAY and MAP parameters")
        data_type = parse_type_text(parameter.type or "STRING")
        value = parameter.value
        parameters[parameter.name] = Parameter(data_type, _parameter_text(value) if value is not None else None)
    return parameters


def _parameter_text(value: Any) -> str | None:
    if value.stringValue is not None:
        return str(value.stringValue)
    if value.doubleValue is not None:
        return repr(value.doubleValue)
    if value.booleanValue is not None:
        return "true" if value.booleanValue else "false"
    return None


def _operation_handle(operation: Operation) -> Any:
    return wire.types.TOperationHandle(
        operationId=wire.types.THandleIdentifier(guid=operation.id.bytes, secret=operation.secret),
        operationType=wire.types.TOperationType.EXECUTE_STATEMENT,
        hasResultSet=True,
    )


def _operation_status(operation: Operation) -> Any:
    status = wire.types.TGetOperationStatusResp(status=_OK, operationState=_STATES[operation.state])
    if operation.error is not None:
        status.sqlState = operation.error.sqlstate
        status.errorMessage = status.displayMessage = str(operation.error)
    if operation.finished is not None:
        status.numModifiedRows = operation.finished.modified_rows
    return status


def _pages(operation: Operation) -> Pages:
    if operation.error is not None:
        raise operation.error
    if operation.pages is None:
        raise WarehouseError("RESULT_NOT_READY", "The statement is still running.", "HY010")
    return operation.pages


def _metadata(operation: Operation) -> Any:
    pages = _pages(operation)
    assert operation.finished is not None
    return wire.types.TGetResultSetMetadataResp(
        status=_OK,
        schema=thrift_schema(operation.finished.outputs),
        resultFormat=wire.types.TSparkRowSetType.ARROW_BASED_SET,
        lz4Compressed=pages.lz4,
        arrowSchema=pages.schema_bytes(),
        isStagingOperation=False,
    )


def _page(operation: Operation, max_rows: int | None, max_bytes: int | None) -> Any:
    pages = _pages(operation)
    rows = pages.next(min(max_rows or _MAX_ROWS, _MAX_ROWS), min(max_bytes or _MAX_BYTES, _MAX_BYTES))
    return wire.types.TFetchResultsResp(status=_OK, hasMoreRows=pages.more, results=rows)
