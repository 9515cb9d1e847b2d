"""The engine that is Apache Spark with Delta Lake: real SQL behind the same front, for conformance."""
