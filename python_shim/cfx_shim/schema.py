"""Check plain data against a JSON schema of the generated contract: the subset of draft 7 that the contract uses."""

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
}


def problem(value, schema, root=None, path="") -> str | None:
    """Why ``value`` does not fit ``schema``, in a few words, or None if it does."""
    root = schema if root is None else root
    here = path or "message"
    if "$ref" in schema:
        return problem(value, root["definitions"][schema["$ref"].rsplit("/", 1)[1]], root, path)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            found = [problem(value, option, root, path) for option in schema[key]]
            return None if None in found else found[0]
    if "const" in schema and value != schema["const"]:
        return f"{here}: expected {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{here}: {value!r} is not one of {schema['enum']}"
    kind = schema.get("type")
    if isinstance(kind, (list, tuple)):
        found = [problem(value, {**schema, "type": one}, root, path) for one in kind]
        # "null" comes first: what the other type says tells more
        return None if None in found else found[-1]
    if kind is not None and not _is(value, kind):
        return f"{here}: expected {kind}, found {type(value).__name__}"
    if kind in ("integer", "number"):
        if "minimum" in schema and value < schema["minimum"]:
            return f"{here}: {value} is below {schema['minimum']}"
        if "maximum" in schema and value > schema["maximum"]:
            return f"{here}: {value} is above {schema['maximum']}"
    if kind == "object":
        return _object_problem(value, schema, root, path)
    if kind == "array":
        return _array_problem(value, schema, root, path)
    return None


def _object_problem(value, schema, root, path):
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            return f"{path}.{name}: missing"
    extra = schema.get("additionalProperties", True)
    for name, item in value.items():
        if not isinstance(name, str):
            return f"{path or 'message'}: keys must be strings"
        expected = properties.get(name, extra)
        if expected is False:
            return f"{path}.{name}: unknown field"
        found = problem(item, expected, root, f"{path}.{name}") if isinstance(expected, dict) else None
        if found:
            return found
    return None


def _array_problem(value, schema, root, path):
    if len(value) < schema.get("minItems", 0) or len(value) > schema.get("maxItems", len(value)):
        return f"{path or 'message'}: {len(value)} items"
    items = schema.get("items")
    if isinstance(items, (list, tuple)):
        pairs = zip(value, items)
    else:
        pairs = ((item, items) for item in value) if isinstance(items, dict) else ()
    for index, (item, expected) in enumerate(pairs):
        found = problem(item, expected, root, f"{path}[{index}]")
        if found:
            return found
    return None


def _is(value, kind):
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, _TYPES[kind])
