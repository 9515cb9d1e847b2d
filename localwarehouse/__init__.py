"""A stand-in for a Databricks SQL warehouse: the real connector talks Thrift over HTTP to it, DuckDB executes."""
