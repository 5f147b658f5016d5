"""The command-line tool on the local AWS, with no more than the permissions that docs/tool.md gives."""

import fcntl
import json
import os
import pty
import re
import resource
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.aws import PROJECT, LocalAws
from local.deploy import STACK, deploy
from local.staging import SimulatedCluster
from tests.e2e.system import PATIENCE, System, eventually
from tool.errors import NOT_FOUND, OK, TROUBLE

_DOCUMENT = (PROJECT / "docs" / "tool.md").read_text(encoding="utf-8")
_ASKED = "ml-asked"
_ENDED = "ml-ended"
Tool = Callable[..., Any]


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """A system of its own: its mode changes, and reboots of one cluster are proposed."""
    with LocalAws() as aws:
        settings = {
            "clusters": "ml-*",
            "batch_window": "1s",
            "budget_percent": "100",
            "healthy_for": "1s",
            "overrides": json.dumps([{"cluster": f"{_ASKED}*", "action": "ask"}]),
        }
        outputs = deploy(aws, context={f"remediation.{key}": value for key, value in settings.items()})
        deployed = System(aws, outputs, alarm_topic="")
        eventually(lambda: any("SweepLag" in message for _, message in deployed.observer.printed()))
        yield deployed


@pytest.fixture(scope="module")
def environment(system: System) -> dict[str, str]:
    """The environment of a user who may do what docs/tool.md says, and nothing else."""
    (policy,) = re.findall(r"```json\n(.*?)```", _DOCUMENT, re.DOTALL)
    values = {"ACCOUNT": system.aws.account, "REGION": system.aws.region, "KEY": system.outputs["KeyArn"]}
    # The local AWS names log groups otherwise than CloudFormation does.
    policy = policy.replace("log-group:STACK-*", "log-group:/aws/cloudformation/STACK/*")
    for name, value in {**values, "STACK": STACK}.items():
        policy = re.sub(rf"\b{name}\b", value, policy)
    iam, name = system.aws.client("iam"), "on-call"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="tool", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return system.aws.env | credentials | {"PYTHONPATH": str(PROJECT)}


@pytest.fixture
def tool(environment: dict[str, str], tmp_path: Path) -> Tool:
    """Runs a command that must end with a status; gives its JSON, or its text where it is asked for text."""

    def run(line: str, *, status: int = OK, as_json: bool = True) -> Any:
        command = [sys.executable, "-m", "tool", *shlex.split(line), *(["--json"] if as_json else [])]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (status, 0 if status in (OK, TROUBLE) else 1), done
        return json.loads(done.stdout) if as_json and done.stdout else done.stdout or done.stderr

    return run


def _break(system: System, cluster: SimulatedCluster, node: str, **how: Any) -> None:
    system.aws.admin("POST", "/_local/hyperpod/nodes/break", {"cluster": cluster.name, "node": node, **how})


def _node(view: dict[str, Any]) -> dict[str, Any]:
    (node,) = view["nodes"]
    assert isinstance(node, dict)
    return node


def _story(tool: Tool, of: str, shows: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return what `explain` tells once it shows something."""
    return eventually(lambda: view if shows(view := _node(tool(f"explain {of}"))) else {})


def _proposed(system: System, tool: Tool) -> str:
    """Make a node sick whose reboot is proposed, and return its incident."""

    def look() -> Any:
        cluster = system.cluster(name=f"{_ASKED}-{time.monotonic_ns()}")
        _break(system, cluster, cluster.nodes[0])
        (row,) = eventually(lambda: tool(f"incidents --since 1h --cluster {cluster.name}")["incidents"])
        return row if row["state"] == "proposed" else None  # a pause of before is remembered for up to a minute

    incident = str(eventually(look)["incident"])
    _story(tool, incident, lambda view: not view["unsent"])
    return incident


def test_status_of_a_healthy_system_fits_a_screen_and_ends_with_0(system: System, tool: Tool) -> None:
    """At night there is nothing to scroll."""
    text = tool("status", as_json=False)
    lines = text.splitlines()
    assert lines[0] == f"{STACK} in {system.aws.region}"
    assert len(lines) < 12
    assert max(map(len, lines)) < 80
    assert "\x1b" not in text


def test_story_of_a_node_is_told_by_its_id_its_logical_id_and_its_incident(system: System, tool: Tool) -> None:
    """Also when the incident is over, and its cluster is gone; known in 2 s of processor time."""
    cluster = system.cluster(name=_ENDED, reboot_seconds=2.0)  # health in the second of the claim proves nothing
    node = cluster.nodes[0]
    _break(system, cluster, node)
    rows = eventually(lambda: tool(f"incidents --since 1h --state recovered --cluster {_ENDED}")["incidents"])
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = _node(tool(f"explain {node}"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    (incident,) = told["history"]
    words = [line["text"].partition(" ")[0] for line in incident["lines"]]
    assert words == ["opened", "claimed", "rebooted:", "hyperpod", "recovered:"]
    assert (incident["state"], incident["open"], incident["incident"]) == ("recovered", False, rows[0]["incident"])
    assert (told["incident"], told["limits"]["reboots"]) == (None, 1)
    system.aws.admin("DELETE", f"/_local/hyperpod/clusters/{_ENDED}")
    assert _node(tool(f"explain {cluster.logical_ids[0]}"))["history"] == told["history"]
    assert _node(tool(f"explain {incident['incident']}"))["history"] == told["history"]
    assert f"incident {incident['incident']}: recovered" in tool(f"explain {node} --cluster {_ENDED}", as_json=False)


def test_what_nobody_knows_is_status_4(tool: Tool) -> None:
    """One line says so."""
    for line in ("explain i-00000000000000000", "approve 0a7d0c8e-6a5b-5d35-8a43-6a4ef9d9c1aa", "mode clear"):
        assert tool(line, status=NOT_FOUND, as_json=False).startswith("hyperpod-remediation: ")


def test_approved_node_is_rebooted_and_vetoed_one_is_not(system: System, tool: Tool) -> None:
    """The answer says who gave it, as IAM knows the caller; a second answer is turned away."""
    incident = _proposed(system, tool)
    tool(f"approve {incident} --reason drained")
    told = _story(tool, incident, lambda view: view["limits"]["reboots"] == 1)
    assert "approved by user/on-call: drained" in [line["text"] for line in told["history"][0]["lines"]]
    tool(f"approve {incident}", status=NOT_FOUND, as_json=False)
    incident = _proposed(system, tool)
    tool(f"veto {incident} --by alice --reason 'a run ends at noon'")
    told = _story(tool, incident, lambda view: view["incident"] is None)
    texts = [line["text"] for line in told["history"][0]["lines"]]
    assert "refused: Vetoed: vetoed by alice: a run ends at noon" in texts
    assert told["limits"]["reboots"] == 0


def test_letters_of_one_cluster_are_redriven_and_those_of_another_stay(system: System, tool: Tool) -> None:
    """Each is a new attempt, which the history shows; its letter is visible in 15 minutes."""
    nodes = {name: system.cluster(name=name).nodes[0] for name in ("other-a", "other-b")}
    for cluster, node in nodes.items():
        tool(f"request {cluster} {node} --reason drill")
    code = "--code ClusterNotAllowed"
    eventually(lambda: sum(each["letters"] for each in tool(f"dlq {code}")["groups"]) == len(nodes))
    only = f"{code} --cluster other-a"
    assert [each["node"] for each in tool(f"dlq redrive {only} --dry-run")["letters"]] == [nodes["other-a"]]
    assert [each["node"] for each in tool(f"dlq redrive {only}")["letters"]] == [nodes["other-a"]]
    _story(tool, nodes["other-a"], lambda view: _refusals(view) == 2)
    assert [each["cluster"] for each in tool(f"dlq {code}")["groups"]] == ["other-b"]
    tool("dlq redrive")
    _story(tool, nodes["other-b"], lambda view: _refusals(view) == 2)
    assert _refusals(_node(tool(f"explain {nodes['other-a']}"))) == 2


def _refusals(view: dict[str, Any]) -> int:
    lines = [line["text"] for each in view["history"] for line in each["lines"]]
    return sum(line.startswith("request: refused: ClusterNotAllowed: ") for line in lines)


@pytest.mark.parametrize("as_json", [True, False])
def test_watch_prints_a_line_for_each_change_until_ctrl_c_which_ends_it_with_0(
    system: System, environment: dict[str, str], tmp_path: Path, as_json: bool
) -> None:
    """Of one cluster; each once."""
    cluster, other = system.cluster(reboot_seconds=2.0), system.cluster()
    line = ["watch", "--every", "0.5", "--cluster", cluster.name, *(["--json"] if as_json else [])]
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background ignores Ctrl-C
    out = tmp_path / "out"
    try:
        with out.open("w") as file:
            watching = subprocess.Popen(
                [sys.executable, "-m", "tool", *line],
                cwd="/",
                env=environment,
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )
    finally:
        signal.signal(signal.SIGINT, heeded)
    assert watching.stderr
    try:
        assert watching.stderr.readline().startswith("watching ")
        for each in (cluster, other):
            _break(system, each, each.nodes[0])
        eventually(lambda: "recovered" in out.read_text())
    finally:
        watching.send_signal(signal.SIGINT)
        ended = watching.wait(PATIENCE)
        watching.stderr.close()
    assert ended == OK
    seen = out.read_text().splitlines()
    if as_json:
        changes = [json.loads(each) for each in seen]
        assert {each["node"] for each in changes} == {cluster.nodes[0]}
        assert (changes[0]["state"], changes[-1]["state"]) == ("rebooted", "recovered")
    else:
        assert all(f"{cluster.name}/{cluster.nodes[0]}" in each for each in seen)
        assert "report rebooted: SageMaker started the reboot" in seen[0]
    assert len(set(seen)) == len(seen)


def test_watch_on_a_terminal_shows_open_incidents_above_the_changes(
    system: System, environment: dict[str, str]
) -> None:
    """In place, within the terminal's width, until Ctrl-C."""
    cluster = system.cluster()
    _break(system, cluster, cluster.nodes[0], reboot={"ends": "stuck"})
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    command = [sys.executable, "-m", "tool", "watch", "--every", "0.5", "--cluster", cluster.name]
    heeded = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        watching = subprocess.Popen(command, cwd="/", env=environment | {"TERM": "xterm"}, stdout=theirs)
    finally:
        signal.signal(signal.SIGINT, heeded)
        os.close(theirs)
    seen = bytearray()

    def look() -> bool:
        while select.select([ours], [], [], 0.1)[0]:
            seen.extend(os.read(ours, 4_096))
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode(errors="replace"))
        frames = [frame.splitlines() for frame in shown.split(f"{STACK} in ")]
        return any(_row_before_change(frame, cluster.nodes[0]) for frame in frames)

    try:
        eventually(look)
    finally:
        watching.send_signal(signal.SIGINT)
        status = watching.wait(PATIENCE)
        os.close(ours)
    assert status == OK


def _row_before_change(frame: list[str], node: str) -> bool:
    row = next((place for place, line in enumerate(frame) if "rebooted" in line and f"  {node}  " in line), None)
    change = next((place for place, line in enumerate(frame) if f"/{node}  report rebooted" in line), None)
    return row is not None and change is not None and row < change


def _documented() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", _DOCUMENT, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line.removeprefix("hyperpod-remediation ") for line in lines if line.startswith("hyperpod-remediation ")]


def test_every_command_of_the_document_works(system: System, tool: Tool) -> None:
    """In the order of the page, with a node and incidents that there are; `watch` and `smoke` have their own tests."""
    cluster = system.cluster(name="ml-a")
    _break(system, cluster, cluster.nodes[0])
    (row,) = eventually(lambda: tool("incidents --since 1h --cluster ml-a")["incidents"])
    lines = [line for line in _documented() if line.split()[0] not in ("watch", "smoke")]
    assert len(lines) > 20
    for line in lines:
        incident = _proposed(system, tool) if line.split()[0] in ("approve", "veto") else row["incident"]
        here = line.replace("0a7d0c8e-6a5b-5d35-8a43-6a4ef9d9c1aa", incident)
        here = here.replace("i-0123456789abcdef0", cluster.nodes[0]).replace("docs/", f"{PROJECT}/docs/")
        tool(here, as_json=False)
