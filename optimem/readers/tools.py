"""Tool schemas in the shape of each API, whichever API's shape they came in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from optimem.readers.profile import Format
from optimem.values import Json


def tools_for(format: Format, tools: Iterable[Mapping[str, Json]]) -> list[Any]:
    """The schemas for one API. Those that are no plain function go out as they came."""
    shaped = [_shaped(format, tool) for tool in tools]
    if format != "gemini":
        return shaped
    functions = [tool for tool in shaped if set(tool) == {"_function"}]
    rest = [tool for tool in shaped if set(tool) != {"_function"}]
    declared = [{"function_declarations": [tool["_function"] for tool in functions]}]
    return (declared if functions else []) + rest


def _shaped(format: Format, tool: Mapping[str, Json]) -> dict[str, Any]:
    function = _function(tool)
    if function is None or _is_of(format, tool):
        return dict(tool)
    schema = function.pop("parameters", {"type": "object", "properties": {}})
    if format == "openai":
        return {"type": "function", "function": {**function, "parameters": schema}}
    if format == "responses":
        return {"type": "function", **function, "parameters": schema}
    if format == "anthropic":
        return {**function, "input_schema": schema}
    return {"_function": {**function, "parameters_json_schema": schema}}


def _is_of(format: Format, tool: Mapping[str, Json]) -> bool:
    """Whether it already has an API's own shape."""
    if format == "openai":
        return "function" in tool
    if format == "responses":
        return tool.get("type") == "function" and "function" not in tool
    return format == "anthropic" and "input_schema" in tool


def _function(tool: Mapping[str, Json]) -> dict[str, Any] | None:
    """Name, description and parameters; None for what is no plain function."""
    inner = tool.get("function", tool)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        return None
    if inner is tool and not ({"parameters", "input_schema"} & set(tool)):
        return None
    found: dict[str, Any] = {"name": inner["name"]}
    if inner.get("description"):
        found["description"] = inner["description"]
    schema = inner.get("parameters", inner.get("input_schema"))
    if schema:
        found["parameters"] = schema
    return found
