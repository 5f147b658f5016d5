"""Generates requests and answers from a service's model: every member at every depth, and the exceptions."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any, cast
from xml.sax.saxutils import escape

from botocore.model import OperationModel, ServiceModel, Shape
from botocore.serialize import create_serializer

_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_SCALARS: Mapping[str, Any] = {
    "blob": b"\0\1",
    "boolean": True,
    "double": 1.5,
    "float": 2.5,
    "integer": 7,
    "long": 2**40,
    "timestamp": _TIME,
}
_WRONG = object()  # no shape takes this type
Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """Holds an answer of a service as HTTP transports it."""

    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def requests_of(operation: OperationModel) -> Iterator[tuple[str, Parameters]]:
    """Yield valid parameters and ones that botocore must refuse, each with a description."""
    shape: Any = operation.input_shape
    whole, *others = values_of(shape)
    yield "whole", whole
    yield from (("whole, another of a union", other) for other in others)
    made_up = operation.idempotent_members  # if they are missing, botocore makes new ones each time
    yield "least", {name: value for name, value in whole.items() if name in [*shape.required_members, *made_up]}
    yield "unknown member", {**whole, "NoSuchMember": 1}
    for name, member in shape.members.items():
        yield f"{name} of a wrong type", {**whole, name: _WRONG}
        if name not in made_up:
            yield f"without {name}", {key: value for key, value in whole.items() if key != name}
        if member.type_name in ("list", "string"):
            yield f"{name} empty", {**whole, name: type(whole[name])()}
        yield from ((f"{name}, {what}", {**whole, name: value}) for what, value in _spoiled(member, whole[name]))


def values_of(shape: Shape | None) -> Iterator[Any]:
    """Yield values with all members, until each member of each union was in one of them."""
    seen: list[Any] = []
    for pick in count():
        value = _value(shape, pick, ()) if shape else {}
        if value in seen:
            return
        seen.append(value)
        yield value


def _value(shape: Any, pick: int, above: tuple[str, ...]) -> Any:
    """Make a value. A recursive shape is entered once."""
    if shape.type_name == "structure":
        names = list(shape.members)
        names = [names[pick % len(names)]] if shape.is_tagged_union else names
        inside = (*above, shape.name)
        return {
            name: _value(shape.members[name], pick, inside) for name in names if shape.members[name].name not in above
        }
    if shape.type_name == "list":
        least = int(shape.metadata.get("min", 1))
        return [_value(shape.member, pick, (*above, shape.name))] * max(1, least)
    if shape.type_name == "map":
        return {"key": _value(shape.value, pick, (*above, shape.name))}
    if shape.type_name == "string":
        enum = getattr(shape, "enum", None)
        return enum[0] if enum else "é" * max(1, int(shape.metadata.get("min", 1)))
    return _SCALARS[shape.type_name]


def answers_of(service: ServiceModel, operation: OperationModel) -> Iterator[Answer]:
    """Yield the full answer, each exception in the operation's model, and one that is not in it."""
    for value in values_of(operation.output_shape):
        yield Answer("answer", 200, *_encoded(service, operation.output_shape, value))
    for error in operation.error_shapes:
        for value in values_of(error):
            yield Answer(error.name, 400, *_encoded(service, error, value))
    yield Answer("no model", 400, *_encoded(service, None, {}, code="NoSuchModelException"))


def _spoiled(shape: Any, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the value with one error inside it."""
    if shape.type_name == "structure" and value:
        yield "unknown member", {**value, "NoSuchMember": 1}
        for name in value:
            yield f"without {name}", {key: each for key, each in value.items() if key != name}
            yield f"{name} of a wrong type", {**value, name: _WRONG}
    if shape.type_name == "list":
        yield from ((what, [each]) for what, each in _spoiled(shape.member, value[0]))
    if shape.type_name == "map":
        yield from ((what, {"key": each}) for what, each in _spoiled(shape.value, value["key"]))


def _encoded(
    service: ServiceModel, shape: Shape | None, value: Parameters, code: str | None = None
) -> tuple[dict[str, str], bytes]:
    """Encode an answer as the service's protocol does: with botocore's own serializers, except for XML."""
    kind = code or (shape.name if shape and shape.metadata.get("exception") else None)
    # The exception's name in the query protocol, which the service used before.
    older = (shape and shape.metadata.get("error", {}).get("code")) or kind
    protocol = service.resolved_protocol
    headers = {"x-amzn-requestid": "request-1"}
    if protocol == "query":
        return {**headers, "content-type": "text/xml"}, _xml_document(shape, value, older)
    if kind:
        value = {**value, "__type": f"com.amazonaws#{kind}"}
    if kind and service.is_query_compatible:
        headers["x-amzn-query-error"] = f"{older};Sender"
    written = create_serializer(protocol, include_validation=False).serialize_to_request(
        value, _as_input(service, shape)
    )
    headers |= {
        key.lower(): each
        for key, each in written["headers"].items()
        if key.lower() in ("content-type", "smithy-protocol")
    }
    body = written["body"]
    return headers, body if isinstance(body, bytes) else body.encode()


def _as_input(service: ServiceModel, shape: Shape | None) -> OperationModel:
    """Make an operation whose input is the answer, with `__type`, which no model has."""
    description = cast("Any", service)._service_description
    name = shape.name if shape else "NoModel"
    known: Any = description["shapes"].get(name, {"type": "structure", "members": {}})
    typed = {**known, "members": {**known["members"], "__type": {"shape": "TypeName"}}}
    shapes = {**description["shapes"], name: typed, "TypeName": {"type": "string"}}
    model = ServiceModel({**description, "shapes": shapes}, service.service_name)
    return OperationModel(
        {"name": "Answer", "http": {"method": "POST", "requestUri": "/"}, "input": {"shape": name}}, model
    )


def _xml_document(shape: Any, value: Parameters, error: str | None) -> bytes:
    inner = _xml(shape, value) if shape else ""
    if error:
        return f"<ErrorResponse><Error><Type>Sender</Type><Code>{error}</Code>{inner}</Error></ErrorResponse>".encode()
    wrapper = shape.serialization.get("resultWrapper", "Result")
    return f"<Response><{wrapper}>{inner}</{wrapper}></Response>".encode()


def _xml(shape: Any, value: Any) -> str:
    if shape.type_name == "structure":
        return "".join(f"<{name}>{_xml(shape.members[name], each)}</{name}>" for name, each in value.items())
    if shape.type_name == "list":
        return "".join(f"<member>{_xml(shape.member, each)}</member>" for each in value)
    if shape.type_name == "boolean":
        return str(value).lower()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else escape(str(value))
