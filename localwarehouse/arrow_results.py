"""Results as the connector reads them: Arrow IPC pieces, LZ4 when asked, pages of rows and bytes."""

from dataclasses import dataclass

import lz4.frame
import pyarrow as pa
from databricks.sql.thrift_api.TCLIService import ttypes

from localwarehouse.plans import Output
from localwarehouse.types import Array, DataType, Decimal, Map, Simple, Struct, Text, arrow_type

# Rows of one Arrow batch: the real service also sends several per page.
_BATCH_ROWS = 16_384

_THRIFT_TYPES = {
    "void": ttypes.TTypeId.NULL_TYPE,
    "boolean": ttypes.TTypeId.BOOLEAN_TYPE,
    "tinyint": ttypes.TTypeId.TINYINT_TYPE,
    "smallint": ttypes.TTypeId.SMALLINT_TYPE,
    "int": ttypes.TTypeId.INT_TYPE,
    "bigint": ttypes.TTypeId.BIGINT_TYPE,
    "float": ttypes.TTypeId.FLOAT_TYPE,
    "double": ttypes.TTypeId.DOUBLE_TYPE,
    "string": ttypes.TTypeId.STRING_TYPE,
    "date": ttypes.TTypeId.DATE_TYPE,
    # The protocol has one id for both; the zone is in the Arrow schema.
    "timestamp": ttypes.TTypeId.TIMESTAMP_TYPE,
    "timestamp_ntz": ttypes.TTypeId.TIMESTAMP_TYPE,
    "binary": ttypes.TTypeId.BINARY_TYPE,
}


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


def thrift_schema(outputs: tuple[Output, ...]) -> ttypes.TTableSchema:
    return ttypes.TTableSchema(
        columns=[
            ttypes.TColumnDesc(
                columnName=output.name,
                typeDesc=ttypes.TTypeDesc(types=[ttypes.TTypeEntry(primitiveEntry=_thrift_type(output.type))]),
                position=position,
            )
            for position, output in enumerate(outputs, 1)
        ]
    )


def _thrift_type(data_type: DataType) -> ttypes.TPrimitiveTypeEntry:
    match data_type:
        case Simple(name):
            return ttypes.TPrimitiveTypeEntry(type=_THRIFT_TYPES[name])
        case Decimal(precision, scale):
            return ttypes.TPrimitiveTypeEntry(
                type=ttypes.TTypeId.DECIMAL_TYPE,
                typeQualifiers=ttypes.TTypeQualifiers(
                    qualifiers={
                        "precision": ttypes.TTypeQualifierValue(i32Value=precision),
                        "scale": ttypes.TTypeQualifierValue(i32Value=scale),
                    }
                ),
            )
        case Array():
            return ttypes.TPrimitiveTypeEntry(type=ttypes.TTypeId.ARRAY_TYPE)
        case Map():
            return ttypes.TPrimitiveTypeEntry(type=ttypes.TTypeId.MAP_TYPE)
        case Struct():
            return ttypes.TPrimitiveTypeEntry(type=ttypes.TTypeId.STRUCT_TYPE)
        case Text():
            return ttypes.TPrimitiveTypeEntry(type=ttypes.TTypeId.STRING_TYPE)


@dataclass
class Pages:
    """A finished result and how far its reader has come."""

    table: pa.Table
    lz4: bool
    position: int = 0

    def schema_bytes(self) -> bytes:
        return bytes(self.table.schema.serialize().to_pybytes())

    def next(self, max_rows: int, max_bytes: int) -> ttypes.TRowSet:
        """The next page, of at least one row while there are any."""
        start = self.position
        rows = min(max_rows, self.table.num_rows - start)
        if self.table.num_rows and self.table.nbytes > max_bytes:
            rows = min(rows, max(1, int(max_bytes / (self.table.nbytes / self.table.num_rows))))
        piece = self.table.slice(start, rows)
        self.position = start + rows
        batches = [
            ttypes.TSparkArrowBatch(batch=self._packed(batch), rowCount=batch.num_rows)
            for batch in piece.combine_chunks().to_batches(max_chunksize=_BATCH_ROWS)
        ]
        return ttypes.TRowSet(startRowOffset=start, rows=[], arrowBatches=batches)

    @property
    def more(self) -> bool:
        return self.position < self.table.num_rows

    def _packed(self, batch: pa.RecordBatch) -> bytes:
        data = batch.serialize().to_pybytes()
        return bytes(lz4.frame.compress(data)) if self.lz4 else bytes(data)
