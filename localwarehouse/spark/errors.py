"""What Spark and Delta Lake raise, as the warehouse says it."""

from typing import Any

from py4j.java_gateway import is_instance_of
from py4j.protocol import Py4JError, Py4JJavaError
from pyspark import SparkContext
from pyspark.errors import PySparkException

from localwarehouse.errors import WarehouseError

# What says only where it went wrong: the cause says what.
_WRAPPERS = frozenset({"TASK_WRITE_FAILED", "WRITING_JOB_ABORTED", "FAILED_EXECUTE_UDF", "JOB_ABORTED"})


def from_spark(exc: PySparkException | Py4JError) -> WarehouseError:
    """The first cause that has an error class and is no mere wrapper."""
    origin: Any = exc.java_exception if isinstance(exc, Py4JJavaError) else getattr(exc, "_origin", None)
    gateway = SparkContext._gateway
    seen = 0
    while origin is not None and gateway is not None and seen < 20:
        if is_instance_of(gateway, origin, "org.apache.spark.SparkThrowable"):
            error_class = origin.getCondition()
            if error_class and not error_class.startswith("_LEGACY") and error_class not in _WRAPPERS:
                return WarehouseError(error_class, _bare(origin.getMessage() or ""), origin.getSqlState() or "XX000")
        origin = origin.getCause()
        seen += 1
    first = (str(exc).splitlines() or ["no text"])[0]
    return WarehouseError("INTERNAL_ERROR", f"{type(exc).__name__}: {first}", "XX000")


def _bare(text: str) -> str:
    """The sentence without class, SQLSTATE and plan."""
    while text.lstrip().startswith("["):
        text = text.partition("] ")[2]
    return text.partition(" SQLSTATE: ")[0].strip()
