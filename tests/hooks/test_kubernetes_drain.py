"""The drain hook for Kubernetes, run against a stand-in for kubectl."""

import time

import pytest

import kubernetes_drain
from local.schedulers import StandIn
from tests.hooks.conftest import Desk

Kubernetes = tuple[Desk, StandIn]
MARK = "hyperpod-node-remediation/cordoned"


def test_node_is_cordoned_drained_and_approved_then_uncordoned_after_its_reboot(kubernetes: Kubernetes) -> None:
    """Another boot ID tells of the reboot; until the node is ready nothing is done."""
    desk, kubectl = kubernetes
    node = desk.cluster.nodes[0]
    name = f"hyperpod-{node}"
    [incident] = desk.proposes(node)
    assert kubernetes_drain.main(desk.options()) == 0
    assert desk.answers() == [("Approved", incident, f"Kubernetes node {name} is drained")]
    annotate, *others = kubectl.calls
    assert annotate.startswith(f"annotate node {name} --overwrite {MARK}=boot-1 20")
    assert others == [f"cordon {name}", f"drain {name} --ignore-daemonsets --delete-emptydir-data --timeout=20s"]
    assert (kubectl.node(name)["pods"], desk.waiting()) == ([], 0)
    for change in ({"ready": False}, {"boot_id": "boot-2"}):
        kubectl.change(name, **change)
        kubernetes_drain.uncordon()
        assert kubectl.node(name)["unschedulable"]
    kubectl.change(name, ready=True)
    kubernetes_drain.uncordon()
    assert kubectl.calls[3:] == [f"uncordon {name}", f"annotate node {name} {MARK}-"]
    assert kubectl.node(name)["annotations"] == {}


def test_node_of_a_logical_id_is_drained_by_its_instance(kubernetes: Kubernetes) -> None:
    """SageMaker is asked for it."""
    desk, kubectl = kubernetes
    [incident] = desk.proposes(desk.cluster.logical_ids[2])
    kubernetes_drain.main(desk.options())
    assert [answer[:2] for answer in desk.answers()] == [("Approved", incident)]
    assert f"cordon hyperpod-{desk.cluster.nodes[2]}" in kubectl.calls


def test_pod_that_may_not_be_evicted_keeps_the_node_from_being_approved(
    kubernetes: Kubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until it may: the node is cordoned once, and drained anew at each look."""
    desk, kubectl = kubernetes
    node = desk.cluster.nodes[0]
    kubectl.change(f"hyperpod-{node}", blocked=True)
    [incident] = desk.proposes(node)
    assert kubernetes_drain.main(desk.options()) == 1
    assert (desk.answers(), desk.waiting()) == ([], 1)
    assert "error: kubectl drain" in capsys.readouterr().err
    kubectl.change(f"hyperpod-{node}", blocked=False)
    time.sleep(1.1)  # the message is visible again after a second
    assert kubernetes_drain.main(desk.options()) == 0
    assert [answer[:2] for answer in desk.answers()] == [("Approved", incident)]
    assert [call.partition(" ")[0] for call in kubectl.calls] == ["annotate", "cordon", "drain", "drain"]


def test_node_that_is_never_rebooted_is_uncordoned_in_the_end(kubernetes: Kubernetes) -> None:
    """Its complaint was withdrawn, or a guard refused."""
    desk, kubectl = kubernetes
    name = f"hyperpod-{desk.cluster.nodes[0]}"
    kubectl.change(name, unschedulable=True, annotations={MARK: "boot-1 2026-11-01T00:00:00Z"})
    kubernetes_drain.uncordon()
    assert kubectl.calls == [f"uncordon {name}", f"annotate node {name} {MARK}-"]


def test_node_that_somebody_else_cordoned_is_drained_and_stays_cordoned(kubernetes: Kubernetes) -> None:
    """It has no mark of the hook."""
    desk, kubectl = kubernetes
    name = f"hyperpod-{desk.cluster.nodes[0]}"
    kubectl.change(name, unschedulable=True)
    [incident] = desk.proposes(desk.cluster.nodes[0])
    kubernetes_drain.main(desk.options())
    kubectl.change(name, boot_id="boot-2")
    kubernetes_drain.uncordon()
    assert [answer[:2] for answer in desk.answers()] == [("Approved", incident)]
    assert [call.partition(" ")[0] for call in kubectl.calls] == ["drain"]


def test_error_of_kubectl_is_one_line_and_approves_nothing(
    kubernetes: Kubernetes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message comes back."""
    desk, kubectl = kubernetes
    kubectl.fail("Unable to connect to the server:\n dial tcp: i/o timeout")
    desk.proposes(desk.cluster.nodes[0])
    assert kubernetes_drain.main(desk.options()) == 1
    assert (desk.answers(), desk.waiting()) == ([], 1)
    first, *_ = capsys.readouterr().err.splitlines()
    assert first.endswith("Unable to connect to the server: dial tcp: i/o timeout")
