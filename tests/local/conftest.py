"""One local AWS for all tests here; each test makes its own resources, under names of its own."""

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws import LocalAws
from tests.local.hyperpod_support import SimulatedHyperPod
from tests.local.support import Queue, RecordingFunction

_RECORDER = """
import json, os, pathlib, sys, time

def handler(event, context):
    out = pathlib.Path(os.environ["OUT"])
    started = time.time()
    seen = {"event": event, "env": dict(os.environ), "path": sys.path, "version": sys.version_info[:2], "at": started}
    with out.open("a") as file:
        file.write(json.dumps(seen) + "\\n")
    while out.with_suffix(".hold").exists():
        time.sleep(0.01)
    return eval(os.environ["ANSWER"], {"event": event})
"""


@pytest.fixture(scope="session")
def aws() -> Iterator[LocalAws]:
    with LocalAws(retry_delay=0.05) as running:
        yield running


@pytest.fixture
def hyperpod() -> SimulatedHyperPod:
    """A simulation in this process, whose clock the test moves."""
    return SimulatedHyperPod()


@pytest.fixture
def unique() -> str:
    """A name that nothing else has."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make_queue(aws: LocalAws, unique: str) -> Callable[..., Queue]:
    """Makes queues: `make_queue("suffix", VisibilityTimeout="5")`."""
    client = aws.client("sqs")

    def make(suffix: str = "queue", **attributes: str) -> Queue:
        name = f"{unique}-{suffix}"
        url = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return Queue(client, url, f"arn:aws:sqs:{aws.region}:{aws.account}:{name}")

    return make


@pytest.fixture
def make_function(aws: LocalAws, unique: str, tmp_path: Path) -> Callable[..., RecordingFunction]:
    """Makes a function: `make_function("{'batchItemFailures': []}", Timeout=5)`."""
    client = aws.client("lambda")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", _RECORDER)
    role = aws.client("iam").create_role(
        RoleName=unique, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17"})
    )

    def make(answer: str = "None", **options: Any) -> RecordingFunction:
        record = tmp_path / "invocations.jsonl"
        made = client.create_function(
            FunctionName=unique,
            Runtime=options.pop("Runtime", "python3.13"),
            Handler="index.handler",
            Role=role["Role"]["Arn"],
            Code={"ZipFile": archive.getvalue()},
            Timeout=options.pop("Timeout", 30),
            Environment={"Variables": {"OUT": str(record), "ANSWER": answer}},
            **options,
        )
        return RecordingFunction(unique, made["FunctionArn"], record)

    return make


@pytest.fixture
def make_user(aws: LocalAws, unique: str) -> Callable[..., dict[str, str]]:
    """Makes a user who may do what the statements say; returns `key` and `secret` for `LocalAws.client`."""
    iam = aws.client("iam")

    def make(*statements: dict[str, Any]) -> dict[str, str]:
        iam.create_user(UserName=unique)
        policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        iam.put_user_policy(UserName=unique, PolicyName="only", PolicyDocument=policy)
        key = iam.create_access_key(UserName=unique)["AccessKey"]
        return {"key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}

    return make
