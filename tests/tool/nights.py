"""A bad night as the ledger tells of it, for the page: nodes with every end, and text that would be harmful as HTML."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from node_remediation.model import NodeKey
from node_remediation.policy.draft import OPENED
from node_remediation.policy.record import Incident, NodeRecord, State
from node_remediation.settings import Settings
from tests.unit.policy.makers import NOW, ago, hence, incident, instance
from tool.report.view import Period, View, report, spending_clusters

Step = tuple[float, str]  # minutes before now, and the line
HARMFUL = "</script><img src=x onerror=\"document.title='harmed'\"><b>GPU & more</b>"
SETTINGS = Settings()
PERIOD = Period(NOW - timedelta(hours=8), NOW)
_REBOOTED = "rebooted: SageMaker started the reboot"
_WELL = "recovered: each source that complained has withdrawn its complaint, the last at 2026-11-23 01:40:10 UTC"
_TOLD = "sent: letter and notification, "


def incident_id(number: int) -> str:
    return str(UUID(int=number))


def record(number: int, *steps: Step, cluster: str = "ml-research", reboots: Sequence[datetime] = ()) -> NodeRecord:
    """Return the record of a node with these lines, the first of which opens its incident."""
    lines = tuple((ago(minutes), text) for minutes, text in steps)
    key = NodeKey(cluster, instance(number).id)
    return NodeRecord(key, version=1, group="gpu", history=lines, reboots=tuple(reboots))


def opened(number: int, minutes: float, reason: str = "hyperpod complained: NvidiaGPUUnhealthy") -> Step:
    return minutes, f"{OPENED}{incident_id(number)}: {reason}"


def claimed(minutes: float) -> Step:
    return minutes, "claimed for a reboot call: reboot 1 of 2 of the node in 24h, 3 of 20 of the cluster in 60m"


def recovering(number: int, at: float, took: float, cluster: str = "ml-training") -> NodeRecord:
    """Return a node that was reported, rebooted at once, and recovered."""
    end = at - took
    return record(
        number,
        opened(number, at),
        claimed(at),
        (at, _REBOOTED),
        (end, "hyperpod withdrew its complaint at 2026-11-23 01:40:10 UTC"),
        (end, _WELL),
        (end, "sent: notification, recovered"),
        cluster=cluster,
        reboots=(ago(at),),
    )


def night() -> Iterator[NodeRecord]:
    """Return a night of 26 nodes: 16 recovered in a burst, the others each in another way."""
    yield from (recovering(number, 180 - number / 4, 11 + number) for number in range(16))
    yield record(
        20, opened(20, 200), claimed(200), (200, _REBOOTED),
        (168, "rebooted: RebootLimitReached: 2 reboots in 24h are the limit"),
        (155, "not_recovered: NotRecovered: 45m after the reboot alarm:hyperpod-reboot-xid is in ALARM"),
        (155, _TOLD + "NotRecovered"), reboots=(ago(200),),
    )  # fmt: skip
    yield record(21, opened(21, 170), claimed(170), (170, "failed: InstanceIdInUse: another operation is under way"),
                 (170, _TOLD + "InstanceIdInUse"))  # fmt: skip
    budget = "ClusterBudgetExceeded: 20 of 20 nodes of the cluster were rebooted in 60m"
    for number in (22, 23):
        yield record(number, opened(number, 165), (165, f"refused: {budget}"), (165, _TOLD + "ClusterBudgetExceeded"))
    yield record(24, opened(24, 160, f"alarm:{HARMFUL} complained"), (160, "refused: ProtectedNode: " + HARMFUL),
                 (160, _TOLD + "ProtectedNode"), cluster="ml-slurm")  # fmt: skip
    yield record(25, opened(25, 120), claimed(120), (120, _REBOOTED), (75, "unverified: nobody said that it is well"),
                 cluster="ml-slurm", reboots=(ago(120),))  # fmt: skip
    yield record(26, opened(26, 110), claimed(110), (110, _REBOOTED), (96, "superseded: the node has another instance"),
                 reboots=(ago(110),))  # fmt: skip
    yield record(27, opened(27, 100), (100, "repairing: HyperPod repairs the node itself"),
                 (62, _WELL))  # fmt: skip
    yield record(28, opened(28, 90), (60, "cleared: withdrawn by its source"))
    waiting = record(29, opened(29, 25), (25, "proposed: all guards say yes, and somebody must approve"))
    yield replace(waiting, incident=_open(29, State.PROPOSED, 25))
    rebooted = record(30, opened(30, 12), claimed(12), (12, _REBOOTED), reboots=(ago(12),))
    yield replace(rebooted, incident=_open(30, State.REBOOTED, 12))


def _open(number: int, state: State, minutes: float) -> Incident:
    return replace(incident(), id=incident_id(number), state=state, since=ago(minutes), due=hence(1))


def view(records: Sequence[NodeRecord] | None = None) -> View:
    """Return what the page shows of records; else of the night."""
    limits = {"ml-training": 20, "ml-research": 8}
    records = list(night()) if records is None else records
    of = {name: limits.get(name) for name in spending_clusters(records, SETTINGS, PERIOD)}
    told = report(records, of, settings=SETTINGS, period=PERIOD)
    return {"stack": "HyperPodNodeRemediation", "region": "us-east-1", "cluster": None, **told}
