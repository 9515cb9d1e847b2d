"""From Databricks SQL to DuckDB: one module per kind of statement, expressions and casts shared."""
