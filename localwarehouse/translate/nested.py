"""Arrays, maps and structs: built, read from JSON, taken apart, mapped over."""

from sqlglot import exp

from localwarehouse import errors
from localwarehouse.errors import Unsupported
from localwarehouse.translate import casts
from localwarehouse.translate.context import Visible, only, struct_field
from localwarehouse.translate.expressions import Expressions, handles, of_rows, shown, unify
from localwarehouse.translate.values import Value, failure, string
from localwarehouse.types import (
    INT,
    INTEGRALS,
    STRING,
    Array,
    DataType,
    Field,
    Map,
    Struct,
    duckdb_name,
    identifier,
    parse_type_text,
    sql_name,
)


@handles(exp.FromJson)
def _from_json(expressions: Expressions, node: exp.Expression) -> Value:
    """`from_json` in FAILFAST mode, of arrays and structs whose scalars are all STRING.

    Its other modes turn what they cannot read into NULL, or a truncated document into no rows at all; typed
    scalars would be rounded by DuckDB. A STRING is what both read alike, and a CAST is strict here.
    """
    only(node, "this", "expression", "options")
    schema = node.expression
    if not isinstance(schema, exp.Literal) or not schema.is_string:
        raise Unsupported("from_json with a schema that is no string literal")
    if _options(node.args.get("options")) != {"mode": "FAILFAST"}:
        raise Unsupported("from_json without map('mode', 'FAILFAST')")
    data_type = parse_type_text(schema.name)
    if not isinstance(data_type, Array | Struct):
        raise Unsupported(f"from_json with the schema {schema.name}")
    text = expressions.cast(node.this, STRING)
    form = _json_form(data_type)
    wrong = failure(
        "MALFORMED_RECORD_IN_PARSING.WITHOUT_SUGGESTION", "Malformed records are detected in record parsing.", "22023"
    )
    given = (
        f"CASE WHEN trim({text.sql}) = 'null' THEN {wrong} WHEN trim({text.repeated}) <> '' THEN {text.repeated} END"
    )
    return text.become(f"json_transform_strict({given}, {string(form)})", data_type)


def _options(node: exp.Expression | None) -> dict[str, str]:
    if not isinstance(node, exp.VarMap):
        return {}
    keys, values = node.args["keys"].expressions, node.args["values"].expressions
    return {key.name.lower(): value.name.upper() for key, value in zip(keys, values, strict=True)}


def _json_form(data_type: DataType) -> str:
    match data_type:
        case Array(element):
            return f"[{_json_form(element)}]"
        case Struct(fields):
            inner = ",".join(f"{_json_string(field.name)}:{_json_form(field.type)}" for field in fields)
            return "{" + inner + "}"
        case _ if data_type == STRING:
            return '"VARCHAR"'
        case _:
            raise Unsupported(f"from_json with a {sql_name(data_type)} inside; use STRING and CAST")


def _json_string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@handles(exp.Transform)
def _transform(expressions: Expressions, node: exp.Expression) -> Value:
    """`transform(array, e -> …)` and `transform(array, (e, i) -> …)`, where i counts from 0."""
    only(node, "this", "expression")
    source = expressions.value(node.this)
    function = node.expression
    if not isinstance(source.type, Array):
        raise errors.type_mismatch(shown(node), "an ARRAY is required")
    if not isinstance(function, exp.Lambda) or not 1 <= len(function.expressions) <= 2:
        raise Unsupported(f"the expression {shown(node)}")
    # Names of their own: DuckDB would take a column of the same name for a parameter's.
    names = [f"e{expressions.gathered.relation()}" for _ in function.expressions]
    types = (source.type.element, INT)
    # DuckDB counts from 1.
    reads = (names[0], f"CAST({names[-1]} - 1 AS INTEGER)")
    variables = tuple(
        Visible(parameter.name, read, data_type)
        for parameter, read, data_type in zip(function.expressions, reads, types, strict=False)
    )
    body = expressions.within(expressions.scope.with_variables(variables)).value(function.this)
    return source.become(f"list_transform({source.sql}, lambda {', '.join(names)}: {body.sql})", Array(body.type))


@handles(exp.MapFromEntries)
def _map_from_entries(expressions: Expressions, node: exp.Expression) -> Value:
    entries = expressions.value(node.this)
    match entries.type:
        case Array(Struct((key, item))):
            # DuckDB wants the fields by its own names, Spark goes by their order.
            pairs = (
                f"list_transform({entries.sql}, lambda pair: {{'key': struct_extract(pair, {string(key.name)}), "
                f"'value': struct_extract(pair, {string(item.name)})}})"
            )
            return entries.become(f"map_from_entries({pairs})", Map(key.type, item.type))
        case _:
            raise errors.type_mismatch(shown(node), "an ARRAY of STRUCTs with two fields is required")


@handles(exp.Struct)
def _struct(expressions: Expressions, node: exp.Expression) -> Value:
    fields: list[tuple[str, Value]] = []
    for position, part in enumerate(node.expressions, 1):
        if isinstance(part, exp.PropertyEQ | exp.Alias):
            name = part.this.name if isinstance(part, exp.PropertyEQ) else part.alias
            inner = part.expression if isinstance(part, exp.PropertyEQ) else part.this
            fields.append((name, expressions.value(inner)))
        else:
            fields.append((part.name if isinstance(part, exp.Column) else f"col{position}", expressions.value(part)))
    if not fields:
        raise Unsupported("an empty struct")
    parts = ", ".join(f"{identifier(name)} := {_typed(value)}" for name, value in fields)
    return Value(
        f"struct_pack({parts})",
        Struct(tuple(Field(name, value.type) for name, value in fields)),
        of_rows(*(value for _, value in fields)),
    )


def _typed(value: Value) -> str:
    return f"CAST({value.sql} AS {duckdb_name(value.type)})" if value.sql == "NULL" else value.sql


@handles(exp.Array)
def _array(expressions: Expressions, node: exp.Expression) -> Value:
    values, common = unify(expressions.values(node.expressions), shown(node))
    listed = ", ".join(value.sql for value in values)
    return Value(f"CAST([{listed}] AS {duckdb_name(common)}[])", Array(common), of_rows(*values))


@handles(exp.VarMap, exp.Map)
def _map(expressions: Expressions, node: exp.Expression) -> Value:
    keys = expressions.value(node.args["keys"])
    values = expressions.value(node.args["values"])
    if not isinstance(keys.type, Array) or not isinstance(values.type, Array):
        raise Unsupported(f"the expression {shown(node)}")
    return Value(f"map({keys.sql}, {values.sql})", Map(keys.type.element, values.type.element), of_rows(keys, values))


@handles(exp.ArraySize)
def _size(expressions: Expressions, node: exp.Expression) -> Value:
    only(node, "this")
    return sized(expressions, node, node.this)


def sized(expressions: Expressions, node: exp.Expression, argument: exp.Expression | None) -> Value:
    value = expressions.value(argument)
    if isinstance(value.type, Array):
        return value.become(f"CAST(len({value.sql}) AS INTEGER)", INT)
    if isinstance(value.type, Map):
        return value.become(f"CAST(cardinality({value.sql}) AS INTEGER)", INT)
    raise errors.type_mismatch(shown(node), "an ARRAY or a MAP is required")


@handles(exp.Bracket)
def _element(expressions: Expressions, node: exp.Expression) -> Value:
    """`array[i]` counts from 0 and `element_at(array, i)` from 1; both fail outside the array."""
    only(node, "this", "expressions", "offset", "safe")
    container = expressions.value(node.this)
    if len(node.expressions) != 1:
        raise Unsupported(f"the expression {shown(node)}")
    key = expressions.value(node.expressions[0])
    match container.type:
        case Array(element):
            return _array_element(container, element, key, node)
        case Map(key_type, item):
            wanted = casts.cast(key, key_type)
            return Value(f"map_extract_value({container.sql}, {wanted.sql})", item, of_rows(container, key))
        case Struct() if isinstance(node.expressions[0], exp.Literal) and node.expressions[0].is_string:
            return struct_field(container, node.expressions[0].name)
        case _:
            raise errors.type_mismatch(shown(node), "only arrays, maps and structs have elements")


def _array_element(array: Value, element: DataType, key: Value, node: exp.Expression) -> Value:
    if key.type not in INTEGRALS:
        raise errors.type_mismatch(shown(node), "an array's index must be an integer")
    first = int(node.args.get("offset") or 0)
    wrong = failure(
        "INVALID_ARRAY_INDEX",
        "The index {value} is out of bounds. Use the SQL function `get()` to tolerate accessing element at invalid "
        "index and return NULL instead.",
        "22003",
        f"CAST({key.sql} AS VARCHAR)",
    )
    index = node.expressions[0]
    if isinstance(index, exp.Literal):
        # DuckDB counts from 1, and gives NULL outside.
        position = int(index.name) + 1 - first
        outside = f"len({array.sql}) < {position}" if position > 0 else f"len({array.sql}) >= 0"
    elif first:
        raise Unsupported("element_at with a computed or negative index")
    else:
        position_sql = f"({key.sql} + {1 - first})"
        outside = f"{position_sql} NOT BETWEEN 1 AND len({array.sql})"
        return Value(
            f"CASE WHEN {outside} THEN {wrong} ELSE {array.sql}[{position_sql}] END", element, of_rows(array, key)
        )
    bare = f"{array.sql}[{position}]"
    return Value(f"CASE WHEN {outside} THEN {wrong} ELSE {bare} END", element, array.of_row, bare)
