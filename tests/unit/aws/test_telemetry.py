"""The log lines and metrics that operators and dashboards rely on, as they reach standard output."""

import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from node_remediation.aws.telemetry import LogsAndMetrics
from node_remediation.model import Answer, CallResult, Change, IdKind, Message, Node, Outcome, Result, Trigger

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
NODE = Node(IdKind.NODE_ID, "i-00000000000000001")
ENDS = (Outcome.RECOVERED, Outcome.SUPERSEDED, Outcome.NOT_RECOVERED, Outcome.UNVERIFIED)
OUTCOMES = [outcome for outcome in Outcome if outcome not in ENDS]
# Powertools keeps a logger, and the stream that it first wrote to, by its service's name.
_NUMBERS = count()


def result(
    outcome: Outcome = Outcome.FAILED,
    code: str | None = "InstanceIdInUse",
    *,
    cluster: str | None = "ml-a",
    node: Node | None = NODE,
    reason: str = "The node is busy.",
    time: datetime = NOW,
) -> Result:
    trigger = Trigger("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event", "event-1", time)
    return Result(Message("m-1", "{}", NOW), trigger, outcome, reason, code, cluster, node, "in-1")


def change(state: str, *, code: str | None = None, seconds: float | None = None, counted: bool = True) -> Change:
    return Change("in-1", "ml-a", NODE.id, state, "why", code, seconds, counted)


class Station:
    """Records what an invocation came to, and reads back what was written."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        self.telemetry = LogsAndMetrics(Logger(service=f"unit-{next(_NUMBERS)}", stream=self._stream))

    def record(
        self,
        results: Sequence[Result] = (),
        changes: Sequence[Change] = (),
        *,
        sizes: Sequence[tuple[str, int]] = (),
        budget: dict[str, float] | None = None,
        handed_back: dict[str, str] | None = None,
        trouble: str | None = None,
        later: timedelta = timedelta(seconds=30),
    ) -> None:
        self.telemetry.record(
            results,
            changes,
            nodes_per_call=sizes,
            budget_used=budget or {},
            handed_back=handed_back or {},
            now=NOW + later,
            trouble=trouble,
        )
        self.read()

    def read(self) -> None:
        self._stream.flush()
        written = self._stream.buffer
        assert isinstance(written, io.BytesIO)
        self.logs: list[dict[str, Any]] = [json.loads(line) for line in written.getvalue().decode().splitlines()]
        captured = self._capsys.readouterr()
        self.metrics: list[dict[str, Any]] = [json.loads(line) for line in captured.out.splitlines()]
        assert captured.err == ""

    def values(self, name: str, **dimensions: str) -> list[float]:
        """Return all values of a metric with exactly these dimensions."""
        found: list[float] = []
        for blob in self.metrics:
            (directive,) = blob["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == "HyperPodNodeRemediation"
            (names,) = directive["Dimensions"]
            if {each: blob[each] for each in names} == dimensions and name in blob:
                found += blob[name]
        return found

    def names(self) -> set[str]:
        return {each["Name"] for blob in self.metrics for each in blob["_aws"]["CloudWatchMetrics"][0]["Metrics"]}

    def unit(self, name: str) -> set[str]:
        definitions = [each for blob in self.metrics for each in blob["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
        return {each["Unit"] for each in definitions if each["Name"] == name}


@pytest.fixture
def station(capsys: pytest.CaptureFixture[str]) -> Station:
    return Station(capsys)


# -- log lines


def test_failed_report_is_one_warning_with_all_its_fields(station: Station) -> None:
    """The fields of the design, and the level that people filter by."""
    station.record([result()])
    (line,) = station.logs
    fields = {
        "incident": "in-1",
        "event_id": "event-1",
        "source": "aws.sagemaker",
        "cluster": "ml-a",
        "node": NODE.id,
        "outcome": "failed",
        "code": "InstanceIdInUse",
        "reason": "The node is busy.",
        "report_time": "2026-11-23T02:14:07+00:00",
    }
    assert {name: line.get(name) for name in fields} == fields
    assert (line["level"], line["message"]) == ("WARNING", "report failed")


def test_change_of_an_incident_is_one_line_with_all_its_fields(station: Station) -> None:
    """One query by incident tells the whole story."""
    station.record([], [change("not_recovered", code="NotRecovered"), change("rebooted")])
    fields = {"incident": "in-1", "cluster": "ml-a", "node": NODE.id, "state": "not_recovered", "reason": "why"}
    first, second = station.logs
    assert {name: first.get(name) for name in fields} == fields
    assert (first["level"], first["message"], first["code"]) == ("WARNING", "incident not recovered", "NotRecovered")
    assert (second["level"], second["state"]) == ("INFO", "rebooted")


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_outcome_is_one_line_and_one_metric(station: Station, outcome: Outcome) -> None:
    """Each is counted under its own name, and as a report; what needs a person is a warning."""
    station.record([result(outcome, None)])
    (line,) = station.logs
    assert line["outcome"] == outcome.value
    warns = outcome.value in ("failed", "retrying", "refused", "unreadable")
    assert line["level"] == ("WARNING" if warns else "INFO")
    assert station.names() == {"ReportAge", "Reports", outcome.value.title().replace("_", "")}
    assert station.values(outcome.value.title().replace("_", ""), Cluster="ml-a") == [1]
    assert station.values("Reports", Cluster="ml-a") == [1]


def test_lone_surrogates_and_great_lengths_lose_no_line(station: Station) -> None:
    """Events are others' text: a surrogate cannot be written, a megabyte is over CloudWatch's limit."""
    odd = "\udc80" + "x" * 1_000_000
    station.record(
        [result(code=odd, cluster=odd, node=Node(IdKind.NODE_ID, odd), reason=odd)],
        [Change(odd, odd, odd, "recovered", odd, odd)],
        handed_back={odd: odd},
        trouble=odd,
        sizes=[(odd, 3)],
    )
    station.telemetry.unrecorded(odd, [Answer(Node(IdKind.NODE_ID, odd), CallResult.FAILED, odd, odd)])
    station.telemetry.error(odd, why=odd)
    metrics = station.metrics
    station.read()
    assert [line["message"][:15] for line in station.logs] == [
        "visibility not ",
        "handed back",
        "report failed",
        "incident recove",
        "answer not save",
        "?xxxxxxxxxxxxxx",
    ]
    assert max(len(json.dumps(line)) for line in station.logs) < 100_000
    assert len(metrics) == 2


def test_answer_that_cannot_be_saved_is_logged_whole(station: Station) -> None:
    """One error for each node: it is all that is left of it."""
    answers = [Answer(NODE, CallResult.STARTED), Answer(NODE, CallResult.FAILED, "InstanceIdInUse", "busy")]
    station.telemetry.unrecorded("ml-a", answers)
    station.read()
    fields = ("level", "message", "cluster", "node", "result", "code", "reason")
    assert [tuple(line.get(name) for name in fields) for line in station.logs] == [
        ("ERROR", "answer not saved", "ml-a", NODE.id, "started", None, ""),
        ("ERROR", "answer not saved", "ml-a", NODE.id, "failed", "InstanceIdInUse", "busy"),
    ]


def test_fault_is_logged_with_the_exception_that_is_being_handled(station: Station) -> None:
    """A lone surrogate in its text does not lose the line; without an exception there is none."""
    station.telemetry.error("odd", cluster="ml-a")

    def fail() -> None:
        raise ValueError("bad \ud800")

    try:
        fail()
    except ValueError:
        station.telemetry.error("a decision raised", cluster="ml-a")
    station.read()
    plain, line = station.logs
    assert "exception" not in plain
    assert (line["level"], line["message"], line["cluster"]) == ("ERROR", "a decision raised", "ml-a")
    assert line["exception_name"] == "ValueError"
    assert "ValueError: bad ?" in line["exception"]
    assert "test_telemetry.py" in line["exception"]


def test_message_that_is_handed_back_is_a_warning_and_no_report(station: Station) -> None:
    """Throttled calls were calls; the message comes again."""
    station.record(sizes=[("ml-a", 25)], handed_back={"m-1": "ThrottlingException: Rate exceeded"}, trouble="gone")
    assert station.values("NodesPerCall", Cluster="ml-a") == [25]
    assert station.values("Reports", Cluster="ml-a") == []
    first, second = station.logs
    assert (first["level"], first["message"], first["reason"]) == ("WARNING", "visibility not changed", "gone")
    assert (second["level"], second["message"], second["message_id"], second["reason"]) == (
        "WARNING",
        "handed back",
        "m-1",
        "ThrottlingException: Rate exceeded",
    )


def test_budget_used_is_a_percentage_of_its_cluster_also_without_a_report(station: Station) -> None:
    """A sweep judges nodes that no message reports."""
    station.record(budget={"ml-a": 12.5, "ml-b": 0.0})
    assert station.values("BudgetUsed", Cluster="ml-a") == [12.5]
    assert station.values("BudgetUsed", Cluster="ml-b") == [0]
    assert station.unit("BudgetUsed") == {"Percent"}


def test_nothing_to_record_writes_nothing(station: Station) -> None:
    """Neither line nor metric."""
    station.record()
    assert (station.logs, station.metrics) == ([], [])


# -- metrics


def blob(dimensions: dict[str, str], **metrics: list[float]) -> dict[str, Any]:
    seconds = ("ReportAge", "TimeToReboot", "TimeToRecovery")
    definitions = [{"Name": name, "Unit": "Seconds" if name in seconds else "Count"} for name in sorted(metrics)]
    directive = {"Namespace": "HyperPodNodeRemediation", "Dimensions": [list(dimensions)], "Metrics": definitions}
    return {"_aws": {"CloudWatchMetrics": [directive]}, **dimensions, **metrics}


def test_metrics_of_a_batch_are_compared_whole(station: Station) -> None:
    """By cluster: calls, ages and times in seconds, reports, outcomes and ends; failures by code."""
    results = [
        result(),
        result(code="InstanceIdNotFound"),
        result(Outcome.REBOOTED, None),
        result(Outcome.REFUSED, "ClusterNotAllowed"),
        result(Outcome.REBOOTED, None, cluster="ml-b", time=NOW - timedelta(minutes=1)),
    ]
    changes = [
        change("rebooted", seconds=12.5, counted=False),
        change("recovered", seconds=600),
        change("unverified", seconds=900),
        change("failed", code="InstanceIdInUse", counted=False),
    ]
    station.record(results, changes, sizes=[("ml-a", 25), ("ml-a", 3), ("ml-b", 1)])
    for written in station.metrics:
        del written["_aws"]["Timestamp"]
        written["_aws"]["CloudWatchMetrics"][0]["Metrics"].sort(key=lambda each: each["Name"])
    assert station.metrics == [
        blob(
            {"Cluster": "ml-a"},
            NodesPerCall=[25, 3],
            ReportAge=[30, 30, 30, 30],
            TimeToReboot=[12.5],
            TimeToRecovery=[600],
            Reports=[4],
            Failed=[2],
            Rebooted=[1],
            Refused=[1],
            Recovered=[1],
            Unverified=[1],
        ),
        blob({"Cluster": "ml-a", "ErrorCode": "InstanceIdInUse"}, FailedByCode=[1]),
        blob({"Cluster": "ml-a", "ErrorCode": "InstanceIdNotFound"}, FailedByCode=[1]),
        blob({"Cluster": "ml-b"}, NodesPerCall=[1], ReportAge=[90], Reports=[1], Rebooted=[1]),
    ]


@pytest.mark.parametrize(
    ("changes", "counted"),
    [
        ([change("recovered", seconds=1, counted=False)], {"Recovered", "TimeToRecovery"}),
        ([change("superseded", counted=False)], {"Superseded"}),
        ([change("not_recovered", code="NotRecovered", counted=False)], {"NotRecovered"}),
        ([change("unverified", counted=False)], {"Unverified"}),
        ([change("refused", code="Paused")], {"Refused"}),
        ([change("refused", code="Paused", counted=False)], set()),
        ([change("failed", code="InstanceIdInUse")], {"Failed", "FailedByCode"}),
        ([change("cleared"), change("observed")], {"Cleared", "Observed"}),
        ([change("rebooted", seconds=1)], {"Rebooted", "TimeToReboot"}),
        ([change("rebooted", seconds=1, counted=False)], {"TimeToReboot"}),
        ([change("rebooted", code="CoolingDown")], set()),
        ([change(state) for state in ("open", "claimed", "retrying", "repairing")], set()),
    ],
)
def test_end_is_counted_once_unless_a_report_tells_of_it(
    station: Station, changes: list[Change], counted: set[str]
) -> None:
    """The ends that no report has are always counted; a state on the way is not."""
    station.record([], changes)
    assert station.names() == counted
    assert len(station.logs) == len(changes)


@pytest.mark.parametrize("cluster", [None, "", " \t", "ml-ä"])
def test_dimension_is_always_one_that_cloudwatch_takes(station: Station, cluster: str | None) -> None:
    """ASCII and not blank, or all metrics of the blob are dropped; the log line has the name as it is."""
    station.record([result(code="ü", cluster=cluster)], sizes=[(cluster or "", 1)])
    name = "ml-?" if cluster == "ml-ä" else "unknown"
    assert station.values("Failed", Cluster=name) == [1]
    assert station.values("NodesPerCall", Cluster=name) == [1]
    assert station.values("FailedByCode", Cluster=name, ErrorCode="?") == [1]
    assert station.logs[0].get("cluster") == cluster


@pytest.mark.parametrize("values", [99, 100, 101, 200, 257])
def test_no_value_of_a_long_list_is_lost(station: Station, values: int) -> None:
    """CloudWatch takes 100 values of a metric at a time; a full batch of the default size is exactly that."""
    results = [result(Outcome.REBOOTED, None, time=NOW - timedelta(seconds=n)) for n in range(values)]
    changes = [change("recovered", seconds=n) for n in range(values)]
    station.record(results, changes, sizes=[("ml-a", n % 25 + 1) for n in range(values)])
    assert station.values("ReportAge", Cluster="ml-a") == [30 + n for n in range(values)]
    assert station.values("TimeToRecovery", Cluster="ml-a") == list(range(values))
    assert station.values("NodesPerCall", Cluster="ml-a") == [n % 25 + 1 for n in range(values)]
    for name in ("Reports", "Rebooted", "Recovered"):
        assert sum(station.values(name, Cluster="ml-a")) == values
    assert all(len(value) <= 100 for blob in station.metrics for value in blob.values() if isinstance(value, list))


def test_report_from_the_future_has_no_negative_age(station: Station) -> None:
    """Clocks differ."""
    station.record([result()], later=timedelta(seconds=-5))
    assert station.values("ReportAge", Cluster="ml-a") == [0]


def test_idle_sweep_is_one_line_its_metrics(station: Station) -> None:
    """In seconds, without a dimension."""
    station.telemetry.sweep(lag=1.5, oldest_unsent=0)
    station.read()
    assert station.logs == []
    (written,) = station.metrics
    assert station.values("SweepLag") == [1.5]
    assert station.values("OldestUnsent") == [0]
    assert station.unit("SweepLag") == station.unit("OldestUnsent") == {"Seconds"}
    assert written["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [[]]
