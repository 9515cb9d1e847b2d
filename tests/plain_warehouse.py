"""The connector as a plain application uses it, with its own defaults; for the peers that we are measured against."""

from __future__ import annotations

import os
from typing import Any

from databricks import sql


def connect() -> Any:
    """A connection to the local warehouse at `PLAIN_HOST`, by `PLAIN_TOKEN`."""
    host = os.environ["PLAIN_HOST"]
    return sql.connect(
        server_hostname=host,
        http_path="/sql/1.0/warehouses/local",
        _connection_uri=host + "/sql/1.0/warehouses/local",
        access_token=os.environ["PLAIN_TOKEN"],
        enable_telemetry=False,
        session_configuration={"ANSI_MODE": "true", "TIMEZONE": "UTC"},
    )
