"""Tests that the asset's trimmed botocore data says of the listed operations what the full data says.

botocore's code is the same in both assets and knows a service by this data alone.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import Loader

from infra import function_asset as packaging
from infra.errors import PackagingError
from infra.sdk_data import cut_model, trim_data
from node_remediation.aws import OPERATIONS

SHARED = ("_retry", "endpoints", "partitions", "sdk-default-configuration")
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Extract the data of the services in use from the pinned wheel."""
    target = tmp_path_factory.mktemp("whole")
    (wheel,) = packaging.downloaded_wheels().glob("botocore-*.whl")
    wanted = tuple(f"botocore/data/{service}/" for service in OPERATIONS)
    with zipfile.ZipFile(wheel) as archive:
        names = [each for each in archive.namelist() if each.startswith(wanted) or Path(each).stem in SHARED]
        archive.extractall(target, names)
    return target / "botocore" / "data"


@pytest.fixture(scope="module")
def trimmed() -> Path:
    return packaging.function_asset() / "botocore" / "data"


def _said(data: Path, service: str) -> str:
    """Return all that botocore reads about the service and its listed operations, each shape where it is used."""
    loader = _loader(data)
    model, pages, rules = (
        loader.load_service_model(service, kind) for kind in ("service-2", "paginators-1", "endpoint-rule-set-1")
    )
    names = OPERATIONS[service]
    operations = {name: list(_spread(model["operations"][name], model["shapes"], ())) for name in names}
    paginators = {name: each for name, each in pages["pagination"].items() if name in names}
    others = [list(_spread(each, {}, ())) for each in (model["metadata"], paginators, rules)]
    return json.dumps([operations, others, loader.determine_latest_version(service, "service-2")])


def _loader(data: Path) -> Loader:
    return Loader(extra_search_paths=[str(data)], include_default_search_paths=False)


def _spread(node: Any, shapes: Any, above: tuple[str, ...]) -> Iterator[Any]:
    """Yield every trait at any depth with the shapes it refers to, in the model's order; a recursive shape once."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == "shape" and isinstance(value, str):
            yield key, value
            if value not in above:
                yield from _spread(shapes[value], shapes, (*above, value))
        elif isinstance(value, dict | list):
            yield key
            yield from _spread(value, shapes, above)
        elif key != "documentation":
            yield key, value


@pytest.mark.parametrize("service", OPERATIONS)
def test_trimmed_data_says_the_same_of_every_listed_operation(whole: Path, trimmed: Path, service: str) -> None:
    """The comparison covers requests, answers, exceptions, pages and the rules of endpoints."""
    assert _said(trimmed, service) == _said(whole, service)


@pytest.mark.parametrize("cut", ["member", "exception", "trait", "order"])
def test_anything_that_is_cut_out_is_noticed(trimmed: Path, tmp_path: Path, cut: str) -> None:
    """This shows that the comparison can fail."""
    shutil.copytree(trimmed, tmp_path / "data")
    (path,) = (tmp_path / "data" / "dynamodb").glob("*/service-2.json")
    model = json.loads(path.read_text())
    if cut == "member":
        del model["shapes"]["CancellationReason"]["members"]["Code"]
    elif cut == "exception":
        model["operations"]["TransactWriteItems"]["errors"].pop()
    elif cut == "trait":
        del model["shapes"]["Put"]["required"]
    else:
        model["shapes"]["Put"]["members"] = dict(reversed(model["shapes"]["Put"]["members"].items()))
    path.write_text(json.dumps(model))
    assert _said(tmp_path / "data", "dynamodb") != _said(trimmed, "dynamodb")


def test_shared_data_is_the_same_but_for_the_endpoints_of_other_services(whole: Path, trimmed: Path) -> None:
    """The endpoints are compared by the next test."""
    for name in set(SHARED) - {"endpoints"}:
        assert _loader(trimmed).load_data(name) == _loader(whole).load_data(name)


@pytest.mark.parametrize("service", OPERATIONS)
def test_endpoints_are_the_same_in_every_partition(whole: Path, trimmed: Path, service: str) -> None:
    """The comparison covers address and signature, also in a region that the SDK does not know yet."""
    assert _endpoints(trimmed, service) == _endpoints(whole, service)


def _endpoints(data: Path, service: str) -> list[Any]:
    session = botocore.session.Session()
    session.set_credentials("key", "secret")
    session.register_component("data_loader", _loader(data))
    found: list[Any] = [session.get_available_regions(service, each) for each in session.get_available_partitions()]
    for region in REGIONS:
        client: Any = session.create_client(service, region_name=region, config=Config(retries={"mode": "standard"}))
        signer = client._request_signer
        found.append((client.meta.endpoint_url, client.meta.partition))
        found.append((signer.signing_name, signer.signature_version, signer.region_name))
    return found


def test_data_holds_the_listed_operations_and_no_documentation(trimmed: Path) -> None:
    """It has no other service, no examples, no waiters, and no compressed files."""
    names = {path.name for path in trimmed.rglob("*") if path.is_file()}
    kinds = ("service-2", "paginators-1", "endpoint-rule-set-1")
    assert names == {f"{name}.json" for name in (*kinds, *SHARED)}
    assert {path.name for path in trimmed.iterdir() if path.is_dir()} == set(OPERATIONS)
    for service, listed in OPERATIONS.items():
        (path,) = (trimmed / service).glob("*/service-2.json")
        assert set(json.loads(path.read_text())["operations"]) == set(listed)
    assert not [path for path in trimmed.rglob("*.json") if '"documentation":"' in path.read_text()]


def test_shapes_that_are_reached_are_kept_and_no_others() -> None:
    """The shapes are recursive, have members called `shape`, and include exceptions."""
    members = {"shape": {"shape": "B"}, "documentation": {"shape": "S"}}
    shapes: dict[str, Any] = {
        "A": {"type": "structure", "members": members, "required": ["shape"]},
        "B": {"type": "list", "member": {"shape": "A"}},
        "D": {"type": "structure", "members": {"x": {"shape": "S2"}}},
        "E": {"type": "structure", "exception": True, "members": {}},
        "S": {"type": "string"},
        "S2": {"type": "string"},
    }
    operations = {"Keep": {"input": {"shape": "A"}, "errors": [{"shape": "E"}]}, "Drop": {"input": {"shape": "D"}}}
    cut = cut_model("x", {"metadata": {"endpointPrefix": "x"}, "operations": operations, "shapes": shapes}, ["Keep"])
    assert (set(cut["operations"]), set(cut["shapes"])) == ({"Keep"}, {"A", "B", "E", "S"})
    assert cut["shapes"]["A"] == shapes["A"]


@pytest.mark.parametrize(
    ("operations", "line"),
    [
        ({"sqs": ["SendMessageBatch", "SendMessages"]}, r"botocore's model of sqs has no operation SendMessages"),
        ({"sqss": ["SendMessageBatch"]}, r"botocore's data: [^\n]*sqss[^\n]*"),
    ],
    ids=["operation", "service"],
)
def test_name_that_is_gone_fails_the_build_in_one_line(
    whole: Path, tmp_path: Path, operations: dict[str, list[str]], line: str
) -> None:
    """In the deployed function it would be an AttributeError."""
    shutil.copytree(whole, tmp_path / "data")
    with pytest.raises(PackagingError, match=rf"^function asset: {line}$"):
        trim_data(tmp_path / "data", operations)
