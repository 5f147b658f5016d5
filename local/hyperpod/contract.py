"""Checks requests and answers against botocore's service model, which alone decides what is right."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

_JSON_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "timestamp": (int, float),
}
_NUMBERS = ("integer", "long")


class ApiError(Exception):
    """Reports an error of the AWS API, in the words that a client sees."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def validation(message: str) -> ApiError:
    return ApiError("ValidationException", message)


def not_found(message: str) -> ApiError:
    return ApiError("ResourceNotFound", message)


@lru_cache
def _service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


@lru_cache
def operation(name: str) -> OperationModel:
    """Return the model of an operation. Raises ApiError for a name that SageMaker does not know."""
    if name not in _service().operation_names:
        raise ApiError("UnknownOperationException", f"The requested operation {name!r} is not known")
    return _service().operation_model(name)


def shape(name: str) -> Shape:
    """Return a shape of the model, such as ClusterName."""
    return _service().shape_for(name)


def values_of(name: str) -> tuple[str, ...]:
    """Return the values of an enumeration, such as ClusterInstanceStatus."""
    return tuple(shape(name).metadata["enum"])


def check_request(name: str, request: Mapping[str, Any]) -> None:
    """Raise the ValidationException that SageMaker would answer, with every violation in it."""
    found = list(violations(_given(operation(name).input_shape), request))
    if found:
        noun = "error" if len(found) == 1 else "errors"
        raise validation(f"{len(found)} validation {noun} detected: {'; '.join(found)}")


def check_answer(name: str, answer: Mapping[str, Any]) -> None:
    """Raise AssertionError for an answer that the model does not allow: a fault of the simulator."""
    found = list(violations(_given(operation(name).output_shape), answer))
    if found:
        raise AssertionError(f"the simulated {name} broke the service model: {'; '.join(found)}")


def violations(shape: Shape, value: object, path: str = "") -> Iterator[str]:
    """Yield every violation of a JSON value's shape, in the words of AWS's "validation error detected"."""
    types = _JSON_TYPES[shape.type_name]
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        yield _violation(value, path, f"Member must be of type {shape.type_name}")
        return
    yield from (_violation(value, path, text) for text, holds in _constraints(shape) if not holds(value))
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        yield from _structure_violations(shape, value, path)
    elif isinstance(shape, ListShape) and isinstance(value, list):
        yield from _list_violations(shape, value, path)
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for key, item in value.items():
            yield from violations(shape.key, key, path)
            yield from violations(shape.value, item, f"{path}.{key}")


def _structure_violations(shape: StructureShape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _violation(None, _join(path, name), "Member must not be null")
    for name, item in value.items():
        if name not in shape.members:
            yield _violation(item, _join(path, name), f"Member is not known to {shape.name}")
        elif item is not None or name not in shape.required_members:
            yield from violations(shape.members[name], item, _join(path, name))


def _list_violations(shape: ListShape, items: list[Any], path: str) -> Iterator[str]:
    """Quote a list of scalars as a whole, with all that its members must satisfy; number structures from 1."""
    if isinstance(shape.member, StructureShape | ListShape | MapShape):
        for number, item in enumerate(items, start=1):
            yield from violations(shape.member, item, f"{path}.{number}.member")
    elif any(True for item in items for _ in violations(shape.member, item)):
        texts = ", ".join([*(text for text, _ in _constraints(shape.member)), "Member must not be null"])
        yield _violation(items, path, f"Member must satisfy constraint: [{texts}]")


def _constraints(shape: Shape) -> Iterator[tuple[str, Callable[[Any], bool]]]:
    limits, number = shape.metadata, shape.type_name in _NUMBERS
    measure: Callable[[Any], int] = int if number else len
    noun = "value" if number else "length"
    if "max" in limits:
        yield f"Member must have {noun} less than or equal to {limits['max']}", lambda v: measure(v) <= limits["max"]
    if "min" in limits:
        yield f"Member must have {noun} greater than or equal to {limits['min']}", lambda v: measure(v) >= limits["min"]
    if "pattern" in limits:
        pattern = re.compile(limits["pattern"], re.ASCII)
        yield f"Member must satisfy regular expression pattern: {pattern.pattern}", lambda v: bool(pattern.fullmatch(v))
    if "enum" in limits:
        yield f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]", lambda v: v in limits["enum"]


def _violation(value: object, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{_shown(value)}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return "null" if value is None else str(value)


def _join(path: str, member: str) -> str:
    name = member[:1].lower() + member[1:]
    return f"{path}.{name}" if path else name


def _given(shape: Shape | None) -> Shape:
    if shape is None:
        raise AssertionError("every simulated operation has an input and an output")
    return shape
