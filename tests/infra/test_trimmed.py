"""Tests that the asset's trimmed botocore data behaves like the full data."""

import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra import function_asset as packaging
from infra.errors import PackagingError
from infra.sdk_data import cut_model, trim_data
from node_remediation.aws import OPERATIONS
from tests.infra.comparison import REGIONS, Exchange, Side, differences, exchanges

SHARED = {"_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Extract the data of the services in use from the pinned wheel."""
    target = tmp_path_factory.mktemp("whole")
    (wheel,) = packaging.downloaded_wheels().glob("botocore-*.whl")
    wanted = tuple(f"botocore/data/{service}/" for service in OPERATIONS)
    with zipfile.ZipFile(wheel) as archive:
        names = [each for each in archive.namelist() if each.startswith(wanted) or Path(each).name in SHARED]
        archive.extractall(target, names)
    return target / "botocore" / "data"


@pytest.fixture(scope="module")
def trimmed() -> Path:
    return packaging.function_asset() / "botocore" / "data"


@pytest.fixture(scope="module")
def full_side(whole: Path) -> Side:
    return Side(whole)


def test_every_exchange_comes_out_the_same(full_side: Side, trimmed: Path) -> None:
    """The comparison covers requests to the byte, answers, refused parameters, exceptions and regions."""
    assert differences(full_side, Side(trimmed), OPERATIONS) == []


def _is_modelled(kinds: list[str], _: str, answer: object) -> bool:
    return answer is not None and kinds[0] != "ClientError"


def test_exchanges_have_requests_refusals_and_exceptions_of_every_operation(full_side: Side) -> None:
    """Otherwise the comparison would prove nothing."""
    kinds: dict[str, Counter[str]] = {}
    for each in exchanges(full_side, OPERATIONS):
        played = full_side.play(each)
        of = kinds.setdefault(each.operation, Counter())
        of["requests" if "request" in played else "refused"] += 1
        of["answers"] += bool(played.get("result", {}).keys() - {"ResponseMetadata"})
        of["exceptions"] += "raised" in played and _is_modelled(*played["raised"])
    assert set(kinds) == {name for names in OPERATIONS.values() for name in names}
    modelled = {
        name
        for service, names in OPERATIONS.items()
        for name in names
        if full_side.model(service).operation_model(name).error_shapes
    }
    assert {name for name, of in kinds.items() if of["exceptions"]} == modelled
    assert all(of["requests"] and of["refused"] for of in kinds.values())
    assert {name for name, of in kinds.items() if not of["answers"]} == set()


@pytest.mark.parametrize("region", REGIONS)
def test_endpoints_are_the_same_in_every_partition(full_side: Side, trimmed: Path, region: str) -> None:
    """The comparison covers address and signature, also in a region that the SDK does not know yet."""
    other = Side(trimmed)
    for service, names in OPERATIONS.items():
        whole_request = next(each for each in exchanges(full_side, {service: names[:1]}) if each.what == "whole")
        played = full_side.play(whole_request, region)
        assert other.play(whole_request, region) == played
        assert _signed_for(other, whole_request, region) == _signed_for(full_side, whole_request, region)
        assert region in played["request"][1]


def _signed_for(side: Side, exchange: Exchange, region: str) -> Any:
    meta = side.client(exchange.service, region).meta
    signer = side.client(exchange.service, region)._request_signer
    return meta.endpoint_url, meta.partition, signer.signing_name, signer.signature_version, signer.region_name


def _members(service: str, model: Path) -> list[tuple[str, str]]:
    shapes = json.loads(model.read_text())["shapes"]
    return [(name, member) for name, shape in shapes.items() for member in shape.get("members", ())]


@pytest.mark.parametrize("service", OPERATIONS)
def test_member_that_is_cut_out_is_noticed(full_side: Side, trimmed: Path, tmp_path: Path, service: str) -> None:
    """This shows that the comparison can fail, for requests, answers and exceptions."""
    shutil.copytree(trimmed, tmp_path / "data")
    (path,) = (tmp_path / "data" / service).glob("*/service-2.json")
    content = path.read_text()
    members = _members(service, path)
    step = max(1, len(members) // 12)  # a dozen of each service
    unnoticed = []
    for shape, member in members[::step]:
        model = json.loads(content)
        del model["shapes"][shape]["members"][member]
        path.write_text(json.dumps(model))
        if not differences(full_side, Side(tmp_path / "data"), {service: OPERATIONS[service]}):
            unnoticed.append(f"{shape}.{member}")
    assert unnoticed == []


def test_exception_that_is_cut_out_is_noticed(full_side: Side, trimmed: Path, tmp_path: Path) -> None:
    """The caller would get a plain ClientError without the exception's fields."""
    shutil.copytree(trimmed, tmp_path / "data")
    (path,) = (tmp_path / "data" / "dynamodb").glob("*/service-2.json")
    model = json.loads(path.read_text())
    operation = model["operations"]["TransactWriteItems"]
    operation["errors"] = [each for each in operation["errors"] if each["shape"] != "TransactionCanceledException"]
    del model["shapes"]["TransactionCanceledException"]
    path.write_text(json.dumps(model))
    assert differences(full_side, Side(tmp_path / "data"), {"dynamodb": OPERATIONS["dynamodb"]}) == [
        "dynamodb TransactWriteItems: TransactionCanceledException"
    ]


def test_paginators_page_through_all_answers(trimmed: Path) -> None:
    """Only the paginators of listed operations are left."""
    clients = {service: Side(trimmed).client(service) for service in ("sagemaker", "dynamodb")}
    pages = [("sagemaker", "list_clusters"), ("sagemaker", "list_cluster_nodes"), ("dynamodb", "query")]
    assert [each for each in pages if not clients[each[0]].can_paginate(each[1])] == []
    kept = {
        service: json.loads(next((trimmed / service).glob("*/paginators-1.json")).read_text()) for service in OPERATIONS
    }
    left = {service: set(each["pagination"]) for service, each in kept.items()}
    assert all(left[service] <= set(OPERATIONS[service]) for service in OPERATIONS)


def test_data_holds_the_listed_operations_and_no_documentation(trimmed: Path) -> None:
    """It has no other service, no examples, no waiters, and no compressed files."""
    names = {path.name for path in trimmed.rglob("*") if path.is_file()}
    assert names == {"service-2.json", "paginators-1.json", "endpoint-rule-set-1.json", *SHARED}
    assert {path.name for path in trimmed.iterdir() if path.is_dir()} == set(OPERATIONS)
    for service, listed in OPERATIONS.items():
        (path,) = (trimmed / service).glob("*/service-2.json")
        assert set(json.loads(path.read_text())["operations"]) == set(listed)
    assert not [path for path in trimmed.rglob("*.json") if '"documentation":"' in path.read_text()]


def _model() -> dict[str, Any]:
    structure = {"type": "structure"}
    return {
        "metadata": {"endpointPrefix": "x"},
        "operations": {
            "Keep": {"input": {"shape": "A"}, "errors": [{"shape": "E"}]},
            "Drop": {"input": {"shape": "D"}},
        },
        "shapes": {
            "A": {
                **structure,
                "members": {"shape": {"shape": "B"}, "documentation": {"shape": "S"}},
                "required": ["shape"],
            },
            "B": {"type": "list", "member": {"shape": "A"}},
            "D": {**structure, "members": {"x": {"shape": "S2"}}},
            "E": {**structure, "exception": True, "members": {}},
            "S": {"type": "string"},
            "S2": {"type": "string"},
        },
    }


def test_shapes_that_are_reached_are_kept_and_no_others() -> None:
    """The shapes are recursive, have members called `shape`, and include exceptions."""
    cut = cut_model("x", _model(), ["Keep"])
    assert (set(cut["operations"]), set(cut["shapes"])) == ({"Keep"}, {"A", "B", "E", "S"})
    assert cut["shapes"]["A"] == _model()["shapes"]["A"]


def test_operation_that_is_gone_fails_the_build_in_one_line(whole: Path, tmp_path: Path) -> None:
    """In the deployed function it would be an AttributeError."""
    shutil.copytree(whole, tmp_path / "data")
    with pytest.raises(
        PackagingError, match=r"^function asset: botocore's model of sqs has no operation SendMessages$"
    ):
        trim_data(tmp_path / "data", {"sqs": ["SendMessageBatch", "SendMessages"]})


def test_service_that_is_gone_fails_the_build_in_one_line(whole: Path, tmp_path: Path) -> None:
    """A misspelt name has the same effect."""
    shutil.copytree(whole, tmp_path / "data")
    with pytest.raises(PackagingError, match=r"^function asset: botocore's data: [^\n]*sqss[^\n]*$"):
        trim_data(tmp_path / "data", {"sqss": ["SendMessageBatch"]})
