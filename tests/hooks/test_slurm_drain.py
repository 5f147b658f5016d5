"""The drain hook for Slurm, run against a stand-in for scontrol."""

import time

import pytest

import slurm_drain
from local.schedulers import StandIn
from slurm_drain import SlurmNode
from tests.hooks.conftest import Desk

Slurm = tuple[Desk, StandIn]


def drained(host: str, incident: str) -> str:
    """Return the beginning of the call that drains a node."""
    return f"update nodename={host} state=drain reason=hyperpod-node-remediation {incident} until "


def test_idle_node_is_drained_and_approved_at_once(slurm: Slurm) -> None:
    """Its name in Slurm is found by its instance ID; the message is gone once the answer is sent."""
    desk, scontrol = slurm
    node = desk.cluster.nodes[1]
    [incident] = desk.proposes(node)
    assert slurm_drain.main(desk.options()) == 0
    host = desk.host(node)
    assert desk.answers() == [("Approved", incident, f"Slurm node {host} is drained")]
    [call] = scontrol.calls
    assert call.startswith(drained(host, incident))
    assert desk.waiting() == 0


def test_node_with_a_job_is_approved_only_when_the_job_has_ended(slurm: Slurm) -> None:
    """It is drained once; meanwhile another node is answered."""
    desk, scontrol = slurm
    busy, idle = desk.cluster.nodes[:2]
    scontrol.change(desk.host(busy), base="ALLOCATED")
    first, second = desk.proposes(busy, idle)
    looks(desk, 2)  # the first look makes a message of each proposal
    assert [(kind, incident) for kind, incident, _ in desk.answers()] == [("Approved", second)]
    scontrol.change(desk.host(busy), base="IDLE")
    looks(desk, 1)
    assert [(kind, incident) for kind, incident, _ in desk.answers()] == [("Approved", first)]
    assert len(scontrol.calls) == 2
    assert desk.waiting() == 0


def looks(desk: Desk, times: int) -> None:
    """Let the hook look so often; what it has looked at is visible again after a second."""
    for _ in range(times):
        time.sleep(1.1)
        assert slurm_drain.main(desk.options()) == 0


def test_node_that_has_rebooted_is_resumed_and_one_that_does_not_answer_yet_is_not(slurm: Slurm) -> None:
    """Also one that Slurm calls down since: resume returns it as well."""
    desk, scontrol = slurm
    back, down, out = hosts = [desk.host(node) for node in desk.cluster.nodes]
    reason = "hyperpod-node-remediation incident-1 until 2099-01-01T00:00:00Z"
    for host in hosts:
        scontrol.change(host, drain=True, reason=reason, reason_at="2026-11-02T00:00:00")
    slurm_drain.resume()
    assert scontrol.calls == []
    for host in hosts:
        scontrol.change(host, booted_at="2026-11-02T00:03:00")
    scontrol.change(down, base="DOWN")
    scontrol.change(out, responds=False)
    slurm_drain.resume()
    assert scontrol.calls == [f"update nodename={host} state=resume" for host in (back, down)]
    assert [scontrol.node(host)["base"] for host in (back, down)] == ["IDLE", "IDLE"]


def test_node_that_is_never_rebooted_returns_to_service(slurm: Slurm) -> None:
    """Its complaint was withdrawn, or a guard refused: undrain, which leaves a node that is down as it is."""
    desk, scontrol = slurm
    host = desk.host(desk.cluster.nodes[0])
    reason = "hyperpod-node-remediation incident-1 until 2026-11-01T00:00:00Z"
    scontrol.change(host, drain=True, base="DOWN", reason=reason, reason_at="2026-11-02T00:00:00")
    slurm_drain.resume()
    assert scontrol.calls == [f"update nodename={host} state=undrain"]
    assert scontrol.node(host)["base"] == "DOWN"


def test_node_that_somebody_else_drained_is_approved_and_never_resumed(slurm: Slurm) -> None:
    """Its reason stays, and so does the drain after the reboot."""
    desk, scontrol = slurm
    node = desk.cluster.nodes[0]
    host = desk.host(node)
    scontrol.change(host, drain=True, reason="bad fan", reason_at="2026-11-02T00:00:00")
    [incident] = desk.proposes(node)
    slurm_drain.main(desk.options())
    scontrol.change(host, booted_at="2099-01-01T00:00:00")
    slurm_drain.resume()
    assert [answer[:2] for answer in desk.answers()] == [("Approved", incident)]
    assert scontrol.calls == []


@pytest.mark.parametrize("trouble", ["fails", "not there", "unknown node"])
def test_drain_that_fails_approves_nothing_and_is_tried_again(
    slurm: Slurm, trouble: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line on standard error names the command; the message comes back."""
    desk, scontrol = slurm
    desk.proposes(desk.cluster.nodes[0])
    if trouble == "fails":
        scontrol.fail("slurm_load_node error: Unable to contact slurm controller (connect failure)")
    elif trouble == "not there":
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        monkeypatch.setattr(slurm_drain, "find", lambda _: "ip-10-9-9-9")
    assert slurm_drain.main(desk.options()) == 1
    assert (desk.answers(), desk.waiting(), scontrol.calls) == ([], 1, [])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: scontrol")
    assert "error: 1 of 1 messages are looked at again in 1 s" in lines


def test_instance_that_is_gone_is_one_line_and_not_approved(slurm: Slurm, capsys: pytest.CaptureFixture[str]) -> None:
    """It was replaced: SageMaker does not know it."""
    desk, _ = slurm
    desk.proposes("i-0123456789abcdef0")
    assert slurm_drain.main(desk.options()) == 1
    assert "DescribeClusterNode" in capsys.readouterr().err.splitlines()[0]
    assert desk.answers() == []


@pytest.mark.parametrize(
    ("state", "words", "is_drained"),
    [
        ("IDLE", {"IDLE"}, False),
        ("IDLE+DRAIN", {"IDLE", "DRAIN"}, True),
        ("MIXED+DRAIN", {"MIXED", "DRAIN"}, False),
        ("ALLOCATED+DRAIN", {"ALLOCATED", "DRAIN"}, False),
        ("IDLE+COMPLETING+DRAIN", {"IDLE", "COMPLETING", "DRAIN"}, False),
        ("DOWN*+DRAIN", {"DOWN", "DRAIN", "NOT_RESPONDING"}, True),
        ("IDLE+DRAIN+NOT_RESPONDING", {"IDLE", "DRAIN", "NOT_RESPONDING"}, True),
    ],
)
def test_node_is_drained_once_no_job_is_on_it(state: str, words: set[str], is_drained: bool) -> None:
    """As releases write states, older and newer."""
    node = SlurmNode.read(f"NodeName=ip-10-1-0-1 NodeAddr=10.1.0.1 State={state} ThreadsPerCore=2 BootTime=None")
    assert (node.name, {*node.state}, node.is_drained, node.booted_at) == ("ip-10-1-0-1", words, is_drained, "")


def test_reason_and_times_are_read_with_what_else_the_line_has() -> None:
    """A node that never booted has BootTime=None, which is no time."""
    line = (
        "NodeName=n State=DOWN+DRAIN BootTime=2026-12-01T04:10:00 SlurmdStartTime=2026-12-01T04:11:00 "
        "AllocTRES= Reason=bad [old] fan [root@2026-12-01T04:05:00] Comment=rack 7"
    )
    node = SlurmNode.read(line)
    assert (node.reason, node.reason_at, node.has_rebooted) == ("bad [old] fan", "2026-12-01T04:05:00", True)
