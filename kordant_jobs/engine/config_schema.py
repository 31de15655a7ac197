"""A payload's model as a Dagster config schema: the launchpad shows its fields, types, defaults, descriptions and
choices.

Dagster checks the shape when a run is launched. The model checks the values when the run begins.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import dagster as dg

from kordant_jobs.engine.payload import Payload

_SCALARS = {"string": dg.String, "integer": dg.Int, "number": dg.Float, "boolean": dg.Bool}
_HINTS = {
    "uuid": "Ids (UUIDs).",
    "date": "A day, as 2026-11-01.",
    "date-time": "A moment with its zone, as 2026-11-01T00:00:00+00:00.",
}


@cache
def config_schema(payload: type[Payload]) -> Mapping[str, dg.Field]:
    """The config fields of the op that reads `payload`."""
    schema = payload.model_json_schema()
    required = schema.get("required", ())
    types = _Types(payload.job, schema.get("$defs", {}))
    return {
        name: types.field(name, one, required=name in required) for name, one in schema.get("properties", {}).items()
    }


class _Types:
    """Turns parts of one JSON schema into Dagster's types. Enums are named after the job, since names are global."""

    def __init__(self, job: str, definitions: Mapping[str, Any]) -> None:
        self._job = job
        self._definitions = definitions

    def field(self, name: str, schema: Mapping[str, Any], *, required: bool) -> dg.Field:
        words = " ".join(part for part in (schema.get("description"), self._hint(schema)) if part)
        default = {} if required or "default" not in schema else {"default_value": schema["default"]}
        return dg.Field(self.type_of(name, schema), is_required=required, description=words or None, **default)

    def type_of(self, name: str, schema: Mapping[str, Any]) -> Any:
        schema = self._resolved(schema)
        if "anyOf" in schema:
            some = [one for one in schema["anyOf"] if one.get("type") != "null"]
            return dg.Noneable(self.type_of(name, some[0])) if len(some) == 1 else dg.Any
        if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else None):
            return dg.Enum(f"{self._job}_{name}", [dg.EnumValue(one) for one in choices])
        match schema["type"]:
            case "array":
                return dg.Array(self.type_of(name, schema["items"]) if "items" in schema else dg.Any)
            case "object" if "properties" in schema:
                needed = schema.get("required", ())
                inner = schema["properties"].items()
                return {one: self.field(f"{name}_{one}", own, required=one in needed) for one, own in inner}
            case "object":
                return dict
            case scalar:
                return _SCALARS[scalar]

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" in schema:
            found: Mapping[str, Any] = self._definitions[schema["$ref"].rpartition("/")[2]]
            return found
        return schema

    def _hint(self, schema: Mapping[str, Any]) -> str | None:
        """The JSON format of a value that JSON holds as a string; None for other types."""
        schema = self._resolved(schema)
        inner = (*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else []))
        return _HINTS.get(schema.get("format", "")) or next(filter(None, map(self._hint, inner)), None)
