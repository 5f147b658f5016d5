"""The bench's own tools, without a runtime and without AWS."""

import json
import re
from pathlib import Path

import pytest

from bench.builds import short_roots, zipped_bytes
from bench.endpoint import call_name
from bench.reports import batch, event_bytes, report
from bench.tools import NAIVE_REQUIREMENTS, ROOT, RUNTIME_REQUIREMENTS, BenchError, check_machine
from node_remediation import events
from node_remediation.inbox import is_batch, messages_of_batch
from node_remediation.model import Report

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def test_a_batch_is_what_the_function_takes() -> None:
    """A report that the function did not understand would make it look fast."""
    asked = report("ml-training", "i-0123456789abcdef0")
    event = batch([asked])
    assert is_batch(event)
    [message] = messages_of_batch(event)
    [reading] = events.read(message.body, message_id=message.id, sent=message.sent)
    assert isinstance(reading, Report)
    assert (reading.cluster, reading.node.id, reading.trigger.event_id) == (asked.cluster, asked.node, asked.event_id)


def test_an_events_size_is_that_of_its_json() -> None:
    """As small as JSON gets."""
    reports = [report("ml-training", "i-0123456789abcdef0")] * 3
    assert event_bytes(reports) == len(json.dumps(batch(reports), separators=(",", ":")))


@pytest.mark.parametrize(
    ("target", "body", "name"),
    [
        ("SageMaker.BatchRebootClusterNodes", b"{}", "sagemaker:BatchRebootClusterNodes"),
        ("DynamoDB_20120810.TransactWriteItems", b"{}", "dynamodb:TransactWriteItems"),
        ("AmazonSQS.SendMessageBatch", b"{}", "sqs:SendMessageBatch"),
        (None, b"Action=PublishBatch&Version=2010-03-31", "sns:PublishBatch"),
    ],
)
def test_a_call_is_named_by_service_and_operation(target: str | None, body: bytes, name: str) -> None:
    """In JSON by its header, in the query protocol by its body."""
    assert call_name(target, body) == name


def test_the_shortest_file_of_roots_is_the_one_that_is_used(tmp_path: Path) -> None:
    """The asset carries all roots too, for when the few do not do; other files are no roots."""
    (tmp_path / "all.pem").write_text(CERTIFICATE * 9)
    (tmp_path / "few.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text("no certificate")
    assert short_roots(tmp_path).name == "few.pem"


def test_an_asset_without_roots_is_an_error(tmp_path: Path) -> None:
    """Nothing could be measured with it."""
    with pytest.raises(BenchError, match="no file of CA roots"):
        short_roots(tmp_path)


def test_a_zips_size_is_the_files_compressed(tmp_path: Path) -> None:
    """Ten thousand equal bytes are few."""
    (tmp_path / "asset").mkdir()
    (tmp_path / "asset" / "data").write_bytes(b"a" * 10_000)
    assert zipped_bytes(tmp_path / "asset", tmp_path / "asset.zip") < 500


def test_another_machine_is_an_error_that_says_so() -> None:
    """The emulator of the pinned wheel is for one platform."""
    check_machine("Linux", "x86_64")
    with pytest.raises(BenchError, match="not for Darwin on arm64"):
        check_machine("Darwin", "arm64")


@pytest.mark.parametrize("requirements", [RUNTIME_REQUIREMENTS, NAIVE_REQUIREMENTS])
def test_requirements_are_pinned_with_hashes_and_no_addresses(requirements: Path) -> None:
    """Whoever runs the bench measures the same, from whatever index."""
    text = requirements.read_text()
    pins = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert all("==" in pin for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


def test_what_is_shipped_never_imports_the_bench() -> None:
    """It may import the stack's and the local AWS's code, not the other way round."""
    shipped = [path for folder in ("lambda", "infra", "local") for path in (ROOT / folder).rglob("*.py")]
    assert shipped
    assert [path for path in shipped if re.search(r"^\s*(from|import) bench\b", path.read_text(), re.MULTILINE)] == []
