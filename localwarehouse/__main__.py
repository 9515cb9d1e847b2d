"""`python -m localwarehouse`: reads the arguments, builds the server, says where it listens."""

import argparse
import datetime
import signal
import socket
import sys
import threading
from pathlib import Path

from localwarehouse.deadlines import Deadlines
from localwarehouse.engine import Engine
from localwarehouse.errors import CannotStart
from localwarehouse.faults import Faults
from localwarehouse.identity import Identity
from localwarehouse.operations import Executor
from localwarehouse.server import SQL_PATH, Parts, Server
from localwarehouse.statement_log import StatementLog
from localwarehouse.thrift_service import ThriftService
from localwarehouse.workspace import Workspace

# sqlglot takes some twenty frames for a pair of brackets.
_RECURSION_LIMIT = 6_000
_STOPS_IT = (signal.SIGTERM, signal.SIGINT)
# How long a stop waits for statements that are past cancelling.
_STOP_S = 10.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="localwarehouse", description=__doc__)
    parser.add_argument("--engine", choices=("duckdb", "spark"), default="duckdb", help="what runs the statements")
    parser.add_argument("--data", type=Path, required=True, help="directory that keeps the tables")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--token", default="local", help="the bearer token clients must send")
    parser.add_argument("--client-id", default="local", help="OAuth client id")
    parser.add_argument("--client-secret", default="local", help="OAuth client secret")
    parser.add_argument("--commit-ms", type=int, default=0, help="what every commit takes longer")
    parser.add_argument("--clock-ahead-s", type=float, default=0, help="how far its clock is ahead of this machine's")
    parser.add_argument(
        "--jars", type=Path, default=Path(".conformance"), help="where `python -m localwarehouse.spark` put Delta Lake"
    )
    parser.add_argument("--faults", action="store_true", help="serve the control paths that script faults")
    return parser.parse_args()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _engine(arguments: argparse.Namespace) -> Engine:
    # Only the engine that is asked for is imported: Spark is no part of an ordinary installation.
    if arguments.engine == "spark":
        try:
            from localwarehouse.spark.engine import SparkEngine
        except ModuleNotFoundError as exc:
            raise CannotStart("pyspark is not installed: run `make conformance`, which installs it") from exc
        return SparkEngine(arguments.data, arguments.jars, arguments.commit_ms / 1000)
    from localwarehouse.duck import DuckEngine

    ahead = datetime.timedelta(seconds=arguments.clock_ahead_s)
    return DuckEngine(arguments.data, arguments.commit_ms / 1000, lambda: _now() + ahead)


def main() -> int:
    arguments = _arguments()
    sys.setrecursionlimit(_RECURSION_LIMIT)
    # A handler in Python may never run: it needs this thread awake, and the signal may meet another thread, or this one
    # just before it begins to wait. What is written to a socket is there whoever was met.
    asked_to_stop, asks = socket.socketpair()
    asks.setblocking(False)
    signal.set_wakeup_fd(asks.fileno(), warn_on_full_buffer=False)
    for number in _STOPS_IT:
        signal.signal(number, lambda *_: None)
    try:
        engine = _engine(arguments)
    except CannotStart as exc:
        print(exc, file=sys.stderr)
        return 1
    log, faults = StatementLog(arguments.faults), Faults()
    service = ThriftService(Executor(engine, log, Deadlines(), _now), faults)
    identity = Identity(arguments.token, arguments.client_id, arguments.client_secret)
    parts = Parts(service, identity, faults, log, Workspace(engine), arguments.faults)
    try:
        server = Server(arguments.port, parts)
    except OSError as exc:
        print(f"cannot listen on port {arguments.port}: {exc}", file=sys.stderr)
        return 1
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(f"listening on {server.url}{SQL_PATH}", flush=True)
    asked_to_stop.recv(1)
    server.shutdown()
    server.server_close()
    service.stop(_STOP_S)
    server.hang_up(_STOP_S)
    engine.close()
    # The interpreter takes handlers away as it ends: one more signal would be its exit code.
    for number in _STOPS_IT:
        signal.signal(number, signal.SIG_IGN)
    return 0


if __name__ == "__main__":
    sys.exit(main())
