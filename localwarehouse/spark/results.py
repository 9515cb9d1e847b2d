"""Spark's types as the warehouse names them, and what a bound parameter is in Python."""

import base64
import datetime
import decimal
from typing import Any

from pyspark.sql import types as spark

from localwarehouse.engine import Parameter
from localwarehouse.errors import Unsupported, WarehouseError
from localwarehouse.types import Array, DataType, Decimal, Field, Map, Simple, SimpleName, Struct

_SIMPLE: dict[type[spark.DataType], SimpleName] = {
    spark.NullType: "void",
    spark.BooleanType: "boolean",
    spark.ByteType: "tinyint",
    spark.ShortType: "smallint",
    spark.IntegerType: "int",
    spark.LongType: "bigint",
    spark.FloatType: "float",
    spark.DoubleType: "double",
    spark.StringType: "string",
    spark.DateType: "date",
    spark.TimestampType: "timestamp",
    spark.TimestampNTZType: "timestamp_ntz",
    spark.BinaryType: "binary",
}


def type_of(given: spark.DataType) -> DataType:
    match given:
        case spark.DecimalType():
            return Decimal(given.precision, given.scale)
        case spark.ArrayType():
            return Array(type_of(given.elementType))
        case spark.MapType():
            return Map(type_of(given.keyType), type_of(given.valueType))
        case spark.StructType():
            return Struct(tuple(Field(each.name, type_of(each.dataType), each.nullable) for each in given.fields))
        case _:
            found = next((name for kind, name in _SIMPLE.items() if isinstance(given, kind)), None)
            if found is None:
                raise Unsupported(f"the data type {given.simpleString()}")
            return Simple(found)


def value_of(parameter: Parameter) -> Any:
    """What `SparkSession.sql` takes for the parameter. Integers are INT or BIGINT by size, floats DOUBLE."""
    text = parameter.text
    if text is None:
        return None
    match parameter.type:
        case Simple("string" | "void"):
            return text
        case Simple("tinyint" | "smallint" | "int" | "bigint"):
            return int(text)
        case Simple("float" | "double"):
            return float(text)
        case Simple("boolean"):
            return text.lower() == "true"
        case Decimal():
            return decimal.Decimal(text)
        case Simple("date"):
            return datetime.date.fromisoformat(text)
        case Simple("timestamp" | "timestamp_ntz"):
            return datetime.datetime.fromisoformat(text)
        case Simple("binary"):
            return base64.b64decode(text)
        case _:
            raise WarehouseError("UNBOUND_SQL_PARAMETER", "A parameter of this type cannot be bound.", "42P02")
