"""Results as the connector reads them: Arrow IPC pieces, LZ4 when asked, pages of rows and bytes."""

from dataclasses import dataclass
from typing import Any, assert_never

import lz4.frame
import pyarrow as pa

from localwarehouse import wire
from localwarehouse.plans import Output
from localwarehouse.types import Array, DataType, Decimal, Map, Simple, SimpleName, Struct, Text

# Rows of one Arrow batch: the real service also sends several per page.
_BATCH_ROWS = 16_384

_THRIFT_TYPES = {
    "void": wire.types.TTypeId.NULL_TYPE,
    "boolean": wire.types.TTypeId.BOOLEAN_TYPE,
    "tinyint": wire.types.TTypeId.TINYINT_TYPE,
    "smallint": wire.types.TTypeId.SMALLINT_TYPE,
    "int": wire.types.TTypeId.INT_TYPE,
    "bigint": wire.types.TTypeId.BIGINT_TYPE,
    "float": wire.types.TTypeId.FLOAT_TYPE,
    "double": wire.types.TTypeId.DOUBLE_TYPE,
    "string": wire.types.TTypeId.STRING_TYPE,
    "date": wire.types.TTypeId.DATE_TYPE,
    # The protocol has one id for both; the zone is in the Arrow schema.
    "timestamp": wire.types.TTypeId.TIMESTAMP_TYPE,
    "timestamp_ntz": wire.types.TTypeId.TIMESTAMP_TYPE,
    "binary": wire.types.TTypeId.BINARY_TYPE,
}


_ARROW: dict[SimpleName, pa.DataType] = {
    "void": pa.null(),
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
}


def arrow_type(data_type: DataType) -> pa.DataType:
    match data_type:
        case Simple(name):
            return _ARROW[name]
        case Decimal(precision, scale):
            return pa.decimal128(precision, scale)
        case Text():
            return pa.string()
        case Array(element):
            return pa.list_(arrow_type(element))
        case Map(key, value):
            return pa.map_(arrow_type(key), arrow_type(value))
        case Struct(fields):
            return pa.struct([pa.field(field.name, arrow_type(field.type)) for field in fields])
        case _:
            assert_never(data_type)


def arrow_table(found: pa.Table, outputs: tuple[Output, ...]) -> pa.Table:
    """The engine's table under the statement's names (which may repeat) and in its types."""
    fields = [pa.field(output.name, arrow_type(output.type)) for output in outputs]
    columns = [
        pa.chunked_array([pa.nulls(found.num_rows)]) if pa.types.is_null(field.type) else _as_type(column, field.type)
        for column, field in zip(found.columns, fields, strict=True)
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _as_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    return column if column.type == wanted else column.cast(wanted)


def thrift_schema(outputs: tuple[Output, ...]) -> Any:
    return wire.types.TTableSchema(
        columns=[
            wire.types.TColumnDesc(
                columnName=output.name,
                typeDesc=wire.types.TTypeDesc(types=[wire.types.TTypeEntry(primitiveEntry=_thrift_type(output.type))]),
                position=position,
            )
            for position, output in enumerate(outputs, 1)
        ]
    )


def _thrift_type(data_type: DataType) -> Any:
    match data_type:
        case Simple(name):
            return wire.types.TPrimitiveTypeEntry(type=_THRIFT_TYPES[name])
        case Decimal(precision, scale):
            return wire.types.TPrimitiveTypeEntry(
                type=wire.types.TTypeId.DECIMAL_TYPE,
                typeQualifiers=wire.types.TTypeQualifiers(
                    qualifiers={
                        "precision": wire.types.TTypeQualifierValue(i32Value=precision),
                        "scale": wire.types.TTypeQualifierValue(i32Value=scale),
                    }
                ),
            )
        case Array():
            return wire.types.TPrimitiveTypeEntry(type=wire.types.TTypeId.ARRAY_TYPE)
        case Map():
            return wire.types.TPrimitiveTypeEntry(type=wire.types.TTypeId.MAP_TYPE)
        case Struct():
            return wire.types.TPrimitiveTypeEntry(type=wire.types.TTypeId.STRUCT_TYPE)
        case Text():
            return wire.types.TPrimitiveTypeEntry(type=wire.types.TTypeId.STRING_TYPE)


@dataclass
class Pages:
    """A finished result and how far its reader has come."""

    table: pa.Table
    lz4: bool
    position: int = 0

    def schema_bytes(self) -> bytes:
        return bytes(self.table.schema.serialize().to_pybytes())

    def next(self, max_rows: int, max_bytes: int) -> Any:
        """The next page, of at least one row while there are any."""
        start = self.position
        rows = min(max_rows, self.table.num_rows - start)
        if self.table.num_rows and self.table.nbytes > max_bytes:
            rows = min(rows, max(1, int(max_bytes / (self.table.nbytes / self.table.num_rows))))
        piece = self.table.slice(start, rows)
        self.position = start + rows
        batches = [
            wire.types.TSparkArrowBatch(batch=self._packed(batch), rowCount=batch.num_rows)
            for batch in piece.combine_chunks().to_batches(max_chunksize=_BATCH_ROWS)
        ]
        return wire.types.TRowSet(startRowOffset=start, rows=[], arrowBatches=batches)

    @property
    def more(self) -> bool:
        return bool(self.position < self.table.num_rows)

    def _packed(self, batch: pa.RecordBatch) -> bytes:
        data = batch.serialize().to_pybytes()
        return bytes(lz4.frame.compress(data)) if self.lz4 else bytes(data)
