"""The bench's own tools work, without a runtime and without AWS."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.endpoint import call_name
from bench.reports import batch, report, sweep
from bench.rie import on_lambda
from bench.tools import NAIVE_REQUIREMENTS, ROOT, RUNTIME_REQUIREMENTS, BenchError, check_machine
from local.aws import ACCOUNT
from node_remediation import events
from node_remediation.events import is_batch, messages_of_batch
from node_remediation.events.fields import Home
from node_remediation.events.own import read_sweep
from node_remediation.model import Report


def test_batch_is_what_the_function_takes() -> None:
    """A report that the function did not understand would make it look fast."""
    asked = report("ml-training", "i-0123456789abcdef0")
    event = batch([asked])
    assert is_batch(event)
    [message] = messages_of_batch(event)
    [reading] = events.read(message.body, message_id=message.id, sent=message.sent, home=Home(ACCOUNT, "us-east-1"))
    assert isinstance(reading, Report)
    assert (reading.cluster, reading.node.id, reading.trigger.event_id) == (asked.cluster, asked.node, asked.event_id)


@pytest.mark.parametrize(
    ("target", "path", "body", "name"),
    [
        ("SageMaker.BatchRebootClusterNodes", "/", b"{}", "sagemaker:BatchRebootClusterNodes"),
        ("DynamoDB_20120810.TransactWriteItems", "/", b"{}", "dynamodb:TransactWriteItems"),
        ("AmazonSQS.SendMessageBatch", "/", b"{}", "sqs:SendMessageBatch"),
        (None, "/service/GraniteServiceVersion20100801/operation/DescribeAlarms", b"", "cloudwatch:DescribeAlarms"),
        (None, "/", b"Action=PublishBatch&Version=2010-03-31", "sns:PublishBatch"),
    ],
)
def test_call_is_named_by_service_and_operation(target: str | None, path: str, body: bytes, name: str) -> None:
    """In JSON by its header, in RPC v2 by its path, in the query protocol by its body."""
    assert call_name(target, path, body) == name


def test_sweep_is_what_the_function_takes() -> None:
    """A sweep that the function did not understand would find nothing in no time."""
    assert read_sweep(sweep(), now=datetime.now(UTC)) is not None


def test_time_on_lambda_is_longer_by_its_share_of_a_core() -> None:
    """Of 100 ms, 10 were work."""
    assert on_lambda(100, 10) == pytest.approx(90 + 10 / (1024 / 1769))


def test_other_machine_is_an_error_that_names_it() -> None:
    """The emulator of the pinned wheel is for one platform."""
    check_machine("Linux", "x86_64")
    with pytest.raises(BenchError, match="not for Darwin on arm64"):
        check_machine("Darwin", "arm64")


@pytest.mark.parametrize("requirements", [RUNTIME_REQUIREMENTS, NAIVE_REQUIREMENTS])
def test_requirements_are_pinned_with_hashes_and_no_addresses(requirements: Path) -> None:
    """All machines measure the same, from whatever index."""
    text = requirements.read_text()
    pins = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert all("==" in pin for pin in pins)
    assert text.count("--hash=sha256:") >= len(pins)
    assert "://" not in text


def test_shipped_code_never_imports_the_bench() -> None:
    """It may import the stack's and the local AWS's code, not the other way round."""
    shipped = [path for folder in ("lambda", "infra", "local") for path in (ROOT / folder).rglob("*.py")]
    assert shipped
    assert [path for path in shipped if re.search(r"^\s*(from|import) bench\b", path.read_text(), re.MULTILINE)] == []
