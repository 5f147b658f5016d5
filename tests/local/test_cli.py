"""`python -m local`: the commands against a running local AWS, and how they fail."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest

from local.__main__ import main
from local.aws import PROJECT, LocalAws, LocalAwsError
from local.cli.client import AdminClient, CommandError
from local.cli.up import SAMPLE_CLUSTER, SETTINGS, up
from local.deploy import DeployFailed
from tests.local.support import Queue, wait_for

_SAMPLE = PROJECT / "tests" / "samples" / "node-health.documented.json"
_NOWHERE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
Run = Callable[..., list[str]]


@pytest.fixture
def run(aws: LocalAws, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must succeed, and gives its lines."""

    def lines(*arguments: str) -> list[str]:
        status = main(arguments, aws.exports)
        out, err = capsys.readouterr()
        assert (status, err) == (0, "")
        return out.splitlines()

    return lines


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail with status 1, and gives its one line."""

    def line(*arguments: str, env: Mapping[str, str] = _NOWHERE) -> str:
        status = main(arguments, env)
        out, err = capsys.readouterr()
        assert (status, out, err.count("\n"), err[:7]) == (1, "", 1, "local: ")
        return err[7:-1]

    return line


@pytest.fixture
def cluster(run: Run, aws: LocalAws, unique: str) -> Iterator[dict[str, Any]]:
    run("cluster", "create", unique, "--nodes", "2", "--reboot-seconds", "0.05")
    yield aws.admin("GET", f"/_local/hyperpod/clusters/{unique}")
    assert run("cluster", "delete", unique) == [f"deleted {unique}"]


@pytest.fixture
def bus_queue(aws: LocalAws, unique: str, make_queue: Callable[..., Queue]) -> Iterator[Callable[..., Queue]]:
    """Makes a queue that gets what matches a pattern through a rule."""
    events = aws.client("events")

    def listen(**pattern: Any) -> Queue:
        queue = make_queue()
        queue.allow("events.amazonaws.com", events.put_rule(Name=unique, EventPattern=json.dumps(pattern))["RuleArn"])
        events.put_targets(Rule=unique, Targets=[{"Id": "queue", "Arn": queue.arn}])
        return queue

    yield listen
    events.remove_targets(Rule=unique, Ids=["queue"])
    events.delete_rule(Name=unique)


def _rows(run: Run, cluster: dict[str, Any]) -> dict[str, list[str]]:
    """The cells of the cluster's nodes in the table of clusters."""
    lines = run("clusters")
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{cluster['name']} (eks"))
    assert lines[start].endswith(cluster["arn"])
    assert lines[start + 1].split()[:6] == ["NODE", "LOGICAL", "ID", "GROUP", "STATUS", "HEALTH"]
    cells = [re.split(r"\s{2,}", line.strip()) for line in lines[start + 2 :] if line.startswith("  i-")]
    return {row[0]: row[1:] for row in cells}


def test_a_node_breaks_and_heals_with_events_and_is_shown_so(
    run: Run, cluster: dict[str, Any], bus_queue: Callable[..., Queue]
) -> None:
    queue = bus_queue(source=["aws.sagemaker"], detail={"ClusterName": [cluster["name"]]})
    sick, well = cluster["nodes"]
    name = f"{cluster['name']}/{sick['instance_id']}"
    lines = run("break", sick["logical_id"], "--reason", "NVLink errors", "--repair-action", "Replace")
    assert lines == [f"{name}: UNHEALTHY, Running"]
    rows = _rows(run, cluster)
    assert rows[sick["instance_id"]] == [sick["logical_id"], "workers", "Running", "UNHEALTHY"]
    assert rows[well["instance_id"]] == [well["logical_id"], "workers", "Running", "healthy"]
    assert run("heal", sick["instance_id"], "--cluster", cluster["name"]) == [f"{name}: healthy, Running"]
    broken, healed = (json.loads(message["Body"])["detail"]["HealthSummary"] for message in queue.take(2))
    assert (broken["HealthStatusReason"], broken["RepairAction"]) == ("NVLink errors", "Replace")
    assert healed["HealthStatus"] == "Healthy"


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ("", {}),
        ("--ends recovers", {"reboot": {}}),
        ("--ends silent", {"reboot": {"says_so": False}}),
        ("--ends slow", {"reboot": {"seconds": 60.0}}),
        ("--ends stays-sick", {"reboot": {"ends": "stays_sick"}}),
        ("--ends sick-again", {"reboot": {"ends": "stays_sick", "says_so": True}}),
        ("--ends stuck --reboot-seconds 3", {"reboot": {"ends": "stuck", "seconds": 3.0}}),
        ("--repairs-itself 9", {"repair_action": "Reboot", "repair": {"after_seconds": 9.0}}),
        (
            "--repairs-itself 9 --ends replaced",
            {"repair_action": "Replace", "repair": {"after_seconds": 9.0, "ends": "replaced"}},
        ),
    ],
)
def test_how_a_node_ends_is_asked_in_the_commands_words(
    monkeypatch: pytest.MonkeyPatch, options: str, asked: dict[str, Any]
) -> None:
    sent: list[object] = []
    answer = {"cluster": "ml", "instance_id": "i-1", "healthy": False, "gone": True}

    def call(_client: AdminClient, *request: object) -> Any:
        sent.append(request)
        return answer

    monkeypatch.setattr(AdminClient, "call", call)
    assert main(["break", "i-1", *options.split()], _NOWHERE) == 0
    assert sent == [("POST", "hyperpod/nodes/break", {"node": "i-1", **asked})]


def test_nodes_that_did_not_come_back_are_shown_with_the_reason(
    run: Run, aws: LocalAws, cluster: dict[str, Any]
) -> None:
    nodes = dict(zip(("replaced", "stuck"), cluster["nodes"], strict=True))
    for end, node in nodes.items():
        run("break", node["instance_id"], "--ends", end)
    ids = [node["instance_id"] for node in nodes.values()]
    aws.client("sagemaker").batch_reboot_cluster_nodes(ClusterName=cluster["name"], NodeIds=ids)
    wait_for("the replacement", lambda: len(_rows(run, cluster)) == 3)
    rows = _rows(run, cluster)
    stuck = ["stuck (Pending)", "UNHEALTHY", "The instance did not come back after the reboot"]
    assert rows[ids[1]][2:] == stuck
    assert (rows[ids[0]][2], rows[ids[0]][4][:14]) == ("gone", "replaced by i-")
    assert rows[rows[ids[0]][4].removeprefix("replaced by ")][2:] == ["Running", "healthy"]


def test_a_slurm_cluster_has_a_controller_and_need_not_be_continuous(run: Run, unique: str) -> None:
    lines = run("cluster", "create", unique, "--nodes", "1", "--slurm", "--not-continuous")
    run("cluster", "delete", unique)
    assert "slurm, recovery None, not continuous" in lines[0]
    assert ["-", "controller", "(Controller)", "Running", "healthy"] in [line.split()[1:] for line in lines]


def test_calls_shows_each_reboot_call_and_its_answer(run: Run, aws: LocalAws, cluster: dict[str, Any]) -> None:
    busy, free = (node["instance_id"] for node in cluster["nodes"])
    aws.admin("POST", "/_local/hyperpod/nodes/set", {"node": busy, "in_use": True})
    client, name = aws.client("sagemaker"), cluster["name"]
    client.batch_reboot_cluster_nodes(ClusterName=name, NodeIds=[busy, free])
    with pytest.raises(client.exceptions.ClientError):
        client.batch_reboot_cluster_nodes(ClusterName=name, NodeIds=["i-bad"])
    lines = [line.strip() for line in run("calls")]
    start = next(number for number, line in enumerate(lines) if f"BatchRebootClusterNodes {name} {busy}" in line)
    assert lines[start + 1] == f"{free}: reboot started"
    assert lines[start + 2].startswith(f"{busy}: InstanceIdInUse: Another operation")
    assert lines[start + 3].endswith(f"BatchRebootClusterNodes {name} i-bad")
    assert lines[start + 4].startswith("ValidationException: 1 validation error detected")
    assert lines[-1].startswith("calls: BatchRebootClusterNodes ")


def test_mail_shows_what_a_subscriber_got(run: Run, aws: LocalAws, unique: str) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name=unique)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=f"{unique}@example.com")
    sns.publish(TopicArn=topic, Subject="One node failed", Message="first line\nsecond line")
    lines = run("mail")
    start = lines.index(f"To: {unique}@example.com")
    assert lines[start + 1 : start + 5] == ["Subject: One node failed", "", "first line", "second line"]


def test_event_plays_a_captured_one_as_if_it_happened_now(run: Run, bus_queue: Callable[..., Queue]) -> None:
    captured = json.loads(_SAMPLE.read_text())
    queue = bus_queue(source=["aws.sagemaker"], resources=captured["resources"])
    assert run("event", str(_SAMPLE)) == ["aws.sagemaker / SageMaker HyperPod Cluster Node Health Event: on the bus"]
    event = json.loads(queue.take()[0]["Body"])
    assert event["detail"] == captured["detail"]
    assert event["time"] > captured["time"]


def test_what_the_local_aws_refuses_is_one_line(aws: LocalAws, fails: Callable[..., str]) -> None:
    assert fails("break", "i-nobody", env=aws.exports) == "no node 'i-nobody'"


@pytest.mark.parametrize(
    ("env", "line"),
    [
        ({}, "AWS_ENDPOINT_URL is not set: run `make local`, and here the `source` line that it prints"),
        (_NOWHERE, "no local AWS answers at http://127.0.0.1:1: "),
        *(
            ({"AWS_ENDPOINT_URL": url}, f"AWS_ENDPOINT_URL: {url!r} is not an address such as")
            for url in ("127.0.0.1:4566", "http://", "http://127.0.0.1:port", "https://example.com")
        ),
    ],
)
def test_an_endpoint_that_is_none_of_ours_is_one_line(
    env: dict[str, str], line: str, fails: Callable[..., str]
) -> None:
    """Nothing is sent anywhere: least of all to AWS itself."""
    assert fails("calls", env=env).startswith(line)


class _Stranger(BaseHTTPRequestHandler):
    """Refuses everything in HTML."""

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002  # the base class's name


def test_a_stranger_at_the_endpoint_is_one_line(fails: Callable[..., str]) -> None:
    with HTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        line = fails("calls", env={"AWS_ENDPOINT_URL": endpoint})
        thread.join()
    assert line == f"what answers at {endpoint} is not a local AWS of this project"


@pytest.mark.parametrize("end", ["stays-sick", "sick-again"])
def test_a_repair_that_leaves_a_node_sick_is_one_line(end: str, fails: Callable[..., str]) -> None:
    line = fails("break", "i-1", "--repairs-itself", "1", "--ends", end)
    assert line == "--repairs-itself: HyperPod leaves no node sick, it takes another --ends"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ("[]", "is not an EventBridge event"),
        ('{"source": "s", "detail": {}}', "it takes source, detail-type and detail"),
    ],
)
def test_a_file_without_an_event_is_one_line_that_names_it(
    tmp_path: Path, content: str | None, text: str, fails: Callable[..., str]
) -> None:
    file = tmp_path / "event.json"
    if content is not None:
        file.write_text(content)
    line = fails("event", str(file))
    assert line.startswith(str(file))
    assert text in line


@pytest.mark.parametrize("arguments", ["", "mend", "break", "cluster create x", "up -c mode", "break i-1 --ends x"])
def test_wrong_usage_is_status_2(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments.split(), {})
    assert ended.value.code == 2
    assert "usage: python -m local" in capsys.readouterr().err


def test_help_says_what_each_end_means() -> None:
    command = [sys.executable, "-m", "local", "break", "--help"]
    told = " ".join(subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split())
    assert "replaced: is gone; a new instance has its logical ID; stuck: never comes back" in told


def test_ctrl_c_ends_a_command_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AdminClient, "call", interrupted)
    assert main(["calls"], _NOWHERE) == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_goes_away_ends_a_command_without_a_word(aws: LocalAws) -> None:
    """Such as `head`."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "local", "calls"]
    ended = subprocess.run(command, cwd=PROJECT, env=aws.env, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


class StandInAws:
    """What `up` starts, and whether it still runs."""

    exports: Mapping[str, str] = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "PATH_WITH": "a blank"}

    def __init__(self) -> None:
        self.running = False
        self.asked: list[tuple[str, str, object]] = []

    def admin(self, method: str, path: str, body: object = None) -> Any:
        self.asked.append((method, path, body))
        return {"nodes": [{"instance_id": f"i-{n}"} for n in range(3)]}

    def client(self, _service: str) -> Any:
        return self

    def get_function_configuration(self, **_: str) -> Any:
        return {"LoggingConfig": {"LogGroup": "/the/log"}}

    def __enter__(self) -> Self:
        self.running = True
        return self

    def __exit__(self, *_: object) -> None:
        self.running = False


def _deploys(_aws: object, *, context: Mapping[str, str]) -> Mapping[str, str]:
    assert context == {**SETTINGS, "remediation.mode": "observe"}
    return {"FunctionName": "f", "IntakeQueueArn": "arn:intake", "DeadLetterQueueArn": "arn:dead"}


_CONTEXT = {"remediation.mode": "observe"}


def test_up_turns_another_shell_to_the_local_aws_until_ctrl_c(tmp_path: Path) -> None:
    """By the names that README's commands use, for every AWS CLI, without the user's own AWS settings."""
    aws, said, shell_file, seen = StandInAws(), list[str](), tmp_path / "build" / "local.sh", list[str]()
    (tmp_path / "aws").write_text('#!/bin/sh\necho "aws $*"\n')
    (tmp_path / "aws").chmod(0o755)

    def stay() -> None:
        names = "$AWS_ENDPOINT_URL|$PATH_WITH|$INTAKE_QUEUE_ARN|$DEAD_LETTER_QUEUE_ARN|$LOG_GROUP_NAME"
        script = f'set -eu; . {shell_file}; echo "${{AWS_PROFILE-}}|{names}"; aws sqs list-queues'
        env = {"AWS_PROFILE": "production", "PATH": f"{tmp_path}:/usr/bin:/bin"}
        seen.append(subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=True).stdout)
        raise KeyboardInterrupt

    up(_CONTEXT, said.append, start=lambda: aws, deploy_to=_deploys, stay=stay, shell_file=shell_file)
    endpoint = "http://127.0.0.1:4566"
    values = f"|{endpoint}|a blank|arn:intake|arn:dead|/the/log"
    assert seen == [f"{values}\naws --endpoint-url {endpoint} sqs list-queues\n"]
    assert aws.asked == [("POST", "/_local/hyperpod/clusters", SAMPLE_CLUSTER)]
    assert f"source {shell_file}" in said
    assert "python -m local break i-2 --ends stuck" in said
    assert (aws.running, shell_file.exists(), said[-1]) == (False, False, "stopped; nothing is left running")


@pytest.mark.parametrize("error", [DeployFailed("cdk deploy failed"), LocalAwsError("it does not start")])
def test_up_that_fails_leaves_nothing_running(error: Exception) -> None:
    def fail(*_: object, **__: object) -> Mapping[str, str]:
        raise error

    aws = StandInAws()
    with pytest.raises(CommandError, match=str(error)):
        up(_CONTEXT, lambda _line: None, start=lambda: aws, deploy_to=fail)
    assert not aws.running
