"""Plays the same exchanges with two sets of botocore data and lists where they differ."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.loaders import Loader
from botocore.model import ServiceModel

from tests.infra.exchanges import Answer, Parameters, answers_of, requests_of

REGIONS = (
    "us-east-1",
    "eu-central-1",
    "cn-north-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eu-isoe-west-1",
    "us-isof-south-1",
    "eusc-de-east-1",
    "us-mars-9",  # a region that is not known yet
)
_ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1})
# Headers that botocore makes anew for each request.
_PASSING = ("authorization", "user-agent", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request")


@dataclass(frozen=True, slots=True)
class Exchange:
    service: str
    operation: str
    method: str
    what: str
    parameters: Parameters
    answer: Answer


class _Raw(io.BytesIO):
    def stream(self, **_: object) -> Iterator[bytes]:
        yield self.read()


class Side:
    """Makes clients from one directory of botocore data."""

    def __init__(self, data: Path) -> None:
        self._core = botocore.session.Session()
        self._core.set_credentials("key", "secret", "token")
        self.loader = Loader(extra_search_paths=[str(data)], include_default_search_paths=False)
        self._core.register_component("data_loader", self.loader)
        self._clients: dict[tuple[str, str], Any] = {}

    def client(self, service: str, region: str = "us-east-1") -> Any:
        key = (service, region)
        if key not in self._clients:
            self._clients[key] = self._core.create_client(service, region_name=region, config=_ONCE)
        return self._clients[key]

    def model(self, service: str) -> ServiceModel:
        return ServiceModel(self.loader.load_service_model(service, "service-2"), service)

    def regions(self, service: str) -> list[list[str]]:
        return [self._core.get_available_regions(service, each) for each in self._core.get_available_partitions()]

    def play(self, exchange: Exchange, region: str = "us-east-1") -> dict[str, Any]:
        """Return the request as botocore would send it, and the result or the exception that the caller gets."""
        client = self.client(exchange.service, region)
        seen: dict[str, Any] = {}

        def send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
            headers = {key.lower(): value for key, value in request.headers.items()}
            kept = {key: value for key, value in headers.items() if key not in _PASSING}
            seen["request"] = (request.method, request.url, request.body, kept)
            of = HTTPHeaders.from_pairs(exchange.answer.headers.items())
            return AWSResponse(request.url, exchange.answer.status, of, _Raw(exchange.answer.body))

        client.meta.events.register("before-send", send)
        try:
            seen["result"] = getattr(client, exchange.method)(**exchange.parameters)
        except Exception as error:  # noqa: BLE001  both sides must raise the same
            kinds = [kind.__name__ for kind in type(error).__mro__]
            seen["raised"] = (kinds, str(error), getattr(error, "response", None))
        finally:
            client.meta.events.unregister("before-send", send)
        return seen


def exchanges(full: Side, operations: Mapping[str, Sequence[str]]) -> Iterator[Exchange]:
    """Yield, for each operation, each request with the full answer, and the full request with each answer."""
    for service, names in operations.items():
        model = full.model(service)
        methods = {operation: method for method, operation in full.client(service).meta.method_to_api_mapping.items()}
        for name in names:
            operation = model.operation_model(name)
            requests, answers = list(requests_of(operation)), list(answers_of(model, operation))
            for what, parameters in requests:
                yield Exchange(service, name, methods[name], what, parameters, answers[0])
            for answer in answers:
                yield Exchange(service, name, methods[name], answer.what, requests[0][1], answer)


def differences(full: Side, trimmed: Side, operations: Mapping[str, Sequence[str]]) -> list[str]:
    """Return one line for each exchange with different results."""
    found = [
        f"{each.service} {each.operation}: {each.what}"
        for each in exchanges(full, operations)
        if full.play(each) != trimmed.play(each)
    ]
    for service in operations:
        if full.regions(service) != trimmed.regions(service):
            found.append(f"{service}: regions")
    return found
