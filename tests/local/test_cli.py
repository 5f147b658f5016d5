"""`python -m local`: the commands against a running local AWS, and how they fail."""

import json
import re
import socket
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
from local.cli.client import CommandError
from local.cli.commands import read_event
from local.cli.up import SAMPLE_CLUSTER, up
from local.deploy import DeployFailed
from tests.local.support import Queue, wait_for

SAMPLES = PROJECT / "tests" / "samples"
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
def cluster(run: Run, aws: LocalAws, unique: str) -> Iterator[dict[str, Any]]:
    run("cluster", "create", unique, "--nodes", "2", "--reboot-seconds", "0.05")
    yield aws.admin("GET", f"/_local/hyperpod/clusters/{unique}")
    run("cluster", "delete", unique)


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


def _row(run: Run, node: str) -> list[str]:
    """The node's cells in the table of clusters."""
    line = next(line.strip() for line in run("clusters") if line.strip().startswith(node))
    return re.split(r"\s{2,}", line)


def test_break_puts_an_event_on_the_bus_that_a_rule_delivers(
    run: Run, cluster: dict[str, Any], bus_queue: Callable[..., Queue]
) -> None:
    queue = bus_queue(source=["aws.sagemaker"], detail={"ClusterName": [cluster["name"]]})
    node = cluster["nodes"][0]
    lines = run("break", node["logical_id"], "--reason", "NVLink errors", "--repair-action", "Replace")
    assert lines == [f"{cluster['name']}/{node['instance_id']}: UNHEALTHY, Running"]
    (message,) = queue.take()
    detail = json.loads(message["Body"])["detail"]
    assert detail["InstanceId"] == node["instance_id"]
    assert detail["HealthSummary"]["HealthStatusReason"] == "NVLink errors"
    assert detail["HealthSummary"]["RepairAction"] == "Replace"


def test_heal_is_told_too(run: Run, cluster: dict[str, Any], bus_queue: Callable[..., Queue]) -> None:
    queue = bus_queue(detail={"ClusterName": [cluster["name"]], "HealthSummary": {"HealthStatus": ["Healthy"]}})
    node = cluster["nodes"][1]["instance_id"]
    run("break", node, "--cluster", cluster["name"], "--stays-sick")
    assert run("heal", node) == [f"{cluster['name']}/{node}: healthy, Running"]
    assert len(queue.take()) == 1


def test_clusters_is_a_table_of_nodes_and_their_health(run: Run, cluster: dict[str, Any]) -> None:
    sick, well = cluster["nodes"]
    run("break", sick["instance_id"])
    lines = run("clusters")
    start = next(number for number, line in enumerate(lines) if line.startswith(f"{cluster['name']} (eks"))
    assert lines[start].endswith(cluster["arn"])
    assert lines[start + 1].split() == ["NODE", "LOGICAL", "ID", "GROUP", "STATUS", "HEALTH"]
    rows = [line.split() for line in lines[start + 2 : start + 4]]
    assert rows == [
        [sick["instance_id"], sick["logical_id"], "workers", "Running", "UNHEALTHY"],
        [well["instance_id"], well["logical_id"], "workers", "Running", "healthy"],
    ]


@pytest.mark.parametrize(
    ("options", "row"),
    [
        (["--ends", "recovers"], ["Running", "healthy"]),
        (["--ends", "silent"], ["Running", "healthy"]),
        (["--ends", "stays-sick"], ["Running", "UNHEALTHY"]),
        (["--ends", "sick-again"], ["Running", "UNHEALTHY"]),
        (["--ends", "slow"], ["rebooting", "UNHEALTHY"]),
        (["--reboot-seconds", "60"], ["rebooting", "UNHEALTHY"]),
        (["--ends", "stuck"], ["stuck (Pending)", "UNHEALTHY", "The instance did not come back after the reboot"]),
    ],
)
def test_a_broken_node_ends_as_it_was_told_to(
    run: Run, aws: LocalAws, cluster: dict[str, Any], options: list[str], row: list[str]
) -> None:
    """Once it was rebooted."""
    node = cluster["nodes"][0]["instance_id"]
    run("break", node, *options)
    aws.client("sagemaker").batch_reboot_cluster_nodes(ClusterName=cluster["name"], NodeIds=[node])
    wait_for(str(row), lambda: _row(run, node)[3:] == row)


def test_a_replaced_node_is_shown_as_gone_beside_its_successor(
    run: Run, aws: LocalAws, cluster: dict[str, Any]
) -> None:
    node = cluster["nodes"][0]
    run("break", node["instance_id"], "--ends", "replaced")
    aws.client("sagemaker").batch_reboot_cluster_nodes(ClusterName=cluster["name"], NodeIds=[node["instance_id"]])
    wait_for("the replacement", lambda: _row(run, node["instance_id"])[3] == "gone")
    note = _row(run, node["instance_id"])[-1]
    assert note.startswith("replaced by i-")
    assert _row(run, note.removeprefix("replaced by "))[1:] == [node["logical_id"], "workers", "Running", "healthy"]


@pytest.mark.parametrize(("end", "action"), [("stuck", "Reboot"), ("replaced", "Replace")])
def test_hyperpod_repairs_a_node_by_itself_when_asked_to(
    *, run: Run, aws: LocalAws, unique: str, bus_queue: Callable[..., Queue], end: str, action: str
) -> None:
    """Its event says how, unless the command does; it is in use meanwhile."""
    queue = bus_queue(detail={"ClusterName": [unique]})
    run("cluster", "create", unique, "--nodes", "1", "--node-recovery", "Automatic")
    node = aws.admin("GET", f"/_local/hyperpod/clusters/{unique}")["nodes"][0]["instance_id"]
    assert run("break", node, "--ends", end, "--repairs-itself", "600") == [
        f"{unique}/{node}: UNHEALTHY, repairing (Running)"
    ]
    assert json.loads(queue.take()[0]["Body"])["detail"]["HealthSummary"]["RepairAction"] == action
    run("cluster", "delete", unique)


def test_a_repair_where_hyperpod_repairs_nothing_is_one_line(
    aws: LocalAws, cluster: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    node = cluster["nodes"][0]["instance_id"]
    capsys.readouterr()
    assert main(["break", node, "--repairs-itself", "1"], aws.exports) == 1
    assert capsys.readouterr().err == (
        f"local: repair: HyperPod repairs nothing in '{cluster['name']}': its node_recovery is None\n"
    )


@pytest.mark.parametrize("end", [["--ends", "stays-sick"], ["--ends", "sick-again"], ["--stays-sick"]])
def test_a_repair_that_leaves_a_node_sick_is_one_line(end: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    exports = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    assert main(["break", "i-1", "--repairs-itself", "1", *end], exports) == 1
    assert capsys.readouterr().err == (
        "local: --repairs-itself: HyperPod leaves no node sick, it takes another --ends\n"
    )


def test_help_says_what_each_end_means(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["break", "--help"], {})
    told = " ".join(capsys.readouterr().out.split())
    assert "replaced: is gone; a new instance has its logical ID; stuck: never comes back" in told


def test_a_slurm_cluster_has_a_controller_and_need_not_be_continuous(run: Run, unique: str) -> None:
    lines = run("cluster", "create", unique, "--nodes", "1", "--slurm", "--not-continuous")
    run("cluster", "delete", unique)
    assert "slurm, recovery None, not continuous" in lines[0]
    assert ["-", "controller", "(Controller)", "Running", "healthy"] in [line.split()[1:] for line in lines]


def test_calls_shows_what_was_asked_and_answered(run: Run, aws: LocalAws, cluster: dict[str, Any]) -> None:
    node, name = cluster["nodes"][0]["instance_id"], cluster["name"]
    aws.admin("POST", "/_local/hyperpod/nodes/set", {"node": node, "in_use": True})
    client = aws.client("sagemaker")
    client.batch_reboot_cluster_nodes(ClusterName=name, NodeIds=[node, cluster["nodes"][1]["instance_id"]])
    with pytest.raises(client.exceptions.ClientError):
        client.batch_reboot_cluster_nodes(ClusterName=name, NodeIds=["i-bad"])
    lines = run("calls")
    start = next(number for number, line in enumerate(lines) if f"BatchRebootClusterNodes {name} {node}" in line)
    assert lines[start + 1].strip() == f"{cluster['nodes'][1]['instance_id']}: reboot started"
    assert lines[start + 2].strip().startswith(f"{node}: InstanceIdInUse: Another operation")
    assert lines[start + 3].endswith(f"BatchRebootClusterNodes {name} i-bad")
    assert lines[start + 4].strip().startswith("ValidationException: 1 validation error detected")
    assert "BatchRebootClusterNodes" in lines[-1]


def test_mail_shows_what_a_subscriber_got(run: Run, aws: LocalAws, unique: str) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name=unique)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint=f"{unique}@example.com")
    sns.publish(TopicArn=topic, Subject="One node failed", Message="first line\nsecond line")
    lines = run("mail")
    start = lines.index(f"To: {unique}@example.com")
    assert lines[start + 1 : start + 5] == ["Subject: One node failed", "", "first line", "second line"]


def test_event_plays_a_captured_one_as_if_it_happened_now(run: Run, bus_queue: Callable[..., Queue]) -> None:
    file = SAMPLES / "node-health.documented.json"
    captured = json.loads(file.read_text())
    queue = bus_queue(source=["aws.sagemaker"], resources=captured["resources"])
    assert run("event", str(file)) == ["aws.sagemaker / SageMaker HyperPod Cluster Node Health Event: on the bus"]
    event = json.loads(queue.take()[0]["Body"])
    assert event["detail"] == captured["detail"]
    assert event["time"] > captured["time"]


def test_a_node_that_does_not_exist_is_one_line_and_status_1(aws: LocalAws, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["break", "i-nobody"], aws.exports) == 1
    assert capsys.readouterr() == ("", "local: no node 'i-nobody'\n")


def test_without_an_endpoint_a_command_says_how_to_get_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clusters"], {}) == 1
    assert capsys.readouterr().err == (
        "local: AWS_ENDPOINT_URL is not set: run `make local` and copy its export lines into this shell\n"
    )


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4566", "http://", "http://127.0.0.1:port", "https://example.com"])
def test_an_endpoint_that_is_none_of_ours_is_refused_by_name(endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is sent anywhere: least of all to AWS itself."""
    assert main(["clusters"], {"AWS_ENDPOINT_URL": endpoint}) == 1
    error = capsys.readouterr().err
    assert repr(endpoint) in error
    assert error.count("\n") == 1


def test_nobody_at_the_endpoint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: refused for as long as it is open
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert main(["calls"], {"AWS_ENDPOINT_URL": endpoint}) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"local: no local AWS answers at {endpoint}")
    assert error.count("\n") == 1


def test_a_stranger_at_the_endpoint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        assert main(["calls"], {"AWS_ENDPOINT_URL": endpoint}) == 1
        thread.join()
    assert f"local: what answers at {endpoint} is not our local AWS\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["mend"],
        ["break"],
        ["cluster"],
        ["cluster", "create", "x"],
        ["up", "-c", "mode"],
        ["break", "i-1", "--ends", "x"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments, {})
    assert ended.value.code == 2
    assert "usage: python -m local" in capsys.readouterr().err


def test_it_runs_as_a_module() -> None:
    ran = subprocess.run([sys.executable, "-m", "local", "--help"], cwd=PROJECT, capture_output=True, check=True)
    assert b"heal" in ran.stdout


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ("[]", "is not an EventBridge event"),
        ('{"source": "s", "detail": {}}', "it takes source, detail-type and detail"),
    ],
)
def test_a_file_without_an_event_is_refused_by_name(tmp_path: Path, content: str | None, text: str) -> None:
    file = tmp_path / "event.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError, match=text) as caught:
        read_event(file)
    assert str(file) in str(caught.value)


class FakeAws:
    """What `up` starts, and whether it still runs."""

    exports: Mapping[str, str] = {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566", "PATH_WITH": "a blank"}

    def __init__(self) -> None:
        self.running = False
        self.asked: list[tuple[str, str, object]] = []

    def admin(self, method: str, path: str, body: object = None) -> Any:
        self.asked.append((method, path, body))
        return {"nodes": [{"instance_id": f"i-{n}", "logical_id": f"node-{n}"} for n in range(2)]}

    def __enter__(self) -> Self:
        self.running = True
        return self

    def __exit__(self, *_: object) -> None:
        self.running = False


class FakeDeploy:
    """Remembers what it was to deploy."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.context: Mapping[str, str] | None = None

    def __call__(self, _aws: object, *, context: Mapping[str, str]) -> Mapping[str, str]:
        self.context = context
        if self.error:
            raise self.error
        return {"IntakeQueueUrl": "http://queue", "RedriveCommand": "aws sqs 'it'"}


def interrupted() -> None:
    raise KeyboardInterrupt


def test_up_deploys_says_how_to_use_it_and_ends_with_ctrl_c() -> None:
    aws, deploy, said = FakeAws(), FakeDeploy(), list[str]()
    up({"remediation.mode": "observe"}, said.append, start=lambda: aws, deploy_to=deploy, stay=interrupted)
    assert not aws.running
    assert deploy.context == {"remediation.mode": "observe"}
    assert aws.asked == [("POST", "/_local/hyperpod/clusters", SAMPLE_CLUSTER)]
    assert any(line.endswith("break i-0 --reason 'NVLink errors'") for line in said)


def test_what_up_prints_can_be_pasted_into_a_shell() -> None:
    said = list[str]()
    up({}, said.append, start=FakeAws, deploy_to=FakeDeploy(), stay=interrupted)
    script = "\n".join([*said, 'echo "$AWS_ENDPOINT_URL|$PATH_WITH|$IntakeQueueUrl|$RedriveCommand"'])
    ran = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("http://127.0.0.1:4566|a blank|http://queue|aws sqs 'it'\n", "")


@pytest.mark.parametrize("error", [DeployFailed("cdk deploy failed"), LocalAwsError("it does not start")])
def test_up_that_fails_leaves_nothing_running(error: Exception) -> None:
    aws = FakeAws()
    with pytest.raises(CommandError, match=str(error)):
        up({}, lambda _line: None, start=lambda: aws, deploy_to=FakeDeploy(error), stay=interrupted)
    assert not aws.running
