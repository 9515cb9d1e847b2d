"""The connector's own generated Thrift code, which has no types to check."""

from typing import Any

from databricks.sql.thrift_api.TCLIService import TCLIService, ttypes

types: Any = ttypes
service: Any = TCLIService
