"""The log lines and metrics that operators and dashboards rely on, as they reach standard output."""

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from node_remediation.model import ENDS, Case, Check, Ending, Handling, IdKind, Node, Outcome
from node_remediation.telemetry import LogsAndMetrics
from tests.unit.fakes import NOW, case, ending, instance_id, settled_case

FIELDS = ("event_id", "source", "cluster", "node", "outcome", "code", "reason", "report_time")


# Powertools keeps a logger, and the stream that it first wrote to, by its service's name.
_NUMBERS = count()


class Station:
    """Records what a batch came to and reads back what was written."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.logs: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []

    def record(
        self,
        endings: Sequence[Ending] = (),
        *,
        sizes: Sequence[tuple[str, int]] = (),
        handed_back: dict[str, str] | None = None,
        trouble: str | None = None,
        later: timedelta = timedelta(seconds=30),
    ) -> None:
        stream = io.StringIO()
        telemetry = LogsAndMetrics(Logger(service=f"unit-{next(_NUMBERS)}", stream=stream))
        self._capsys.readouterr()
        telemetry.record(
            Handling(tuple(endings), handed_back or {}), nodes_per_call=sizes, now=NOW + later, trouble=trouble
        )
        self.logs = [json.loads(line) for line in stream.getvalue().splitlines()]
        captured = self._capsys.readouterr()
        self.metrics = [json.loads(line) for line in captured.out.splitlines()]
        assert captured.err == ""

    def values(self, name: str, **dimensions: str) -> list[float]:
        """All values of a metric with exactly these dimensions."""
        found: list[float] = []
        for blob in self.metrics:
            (directive,) = blob["_aws"]["CloudWatchMetrics"]
            assert directive["Namespace"] == "HyperPodNodeRemediation"
            (names,) = directive["Dimensions"]
            if {each: blob[each] for each in names} == dimensions and name in blob:
                found += blob[name]
        return found

    def unit(self, name: str) -> set[str]:
        definitions = [each for blob in self.metrics for each in blob["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
        return {each["Unit"] for each in definitions if each["Name"] == name}


@pytest.fixture
def station(capsys: pytest.CaptureFixture[str]) -> Station:
    return Station(capsys)


def test_failed_report_is_one_warning_with_all_its_fields(station: Station) -> None:
    """The fields of the design, and the level that people filter by."""
    station.record([ending()])
    (line,) = station.logs
    assert {name: line[name] for name in FIELDS} == {
        "event_id": "event-1",
        "source": "aws.sagemaker",
        "cluster": "ml-a",
        "node": instance_id(1),
        "outcome": "failed",
        "code": "InstanceIdInUse",
        "reason": "The node is busy.",
        "report_time": "2026-11-23T02:14:07+00:00",
    }
    assert (line["level"], line["message"]) == ("WARNING", "node failed")


METRICS = {outcome: outcome.value.capitalize() for outcome in Outcome} | {Outcome.NOT_RECOVERED: "NotRecovered"}


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.WAITING])
def test_every_outcome_is_one_line_and_one_metric(station: Station, outcome: Outcome) -> None:
    """Each is counted under its own name, and as a report unless it is an end; what needs a person is a warning."""
    station.record([ending(outcome=outcome)])
    assert [line["outcome"] for line in station.logs] == [outcome.value]
    warns = outcome.value in ("failed", "retrying", "refused", "unreadable", "not_recovered")
    assert station.logs[0]["level"] == ("WARNING" if warns else "INFO")
    assert station.values(METRICS[outcome], Cluster="ml-a") == [1]
    assert station.values("Reports", Cluster="ml-a") == ([] if outcome in ENDS else [1])
    assert station.values("ReportAge", Cluster="ml-a") == ([] if outcome in ENDS else [30])


def test_check_with_nothing_to_say_is_a_line_and_no_metric(station: Station) -> None:
    """It is the one outcome that is no news: to find nothing new, round after round, would only cost."""
    station.record([ending(case(check=Check("m-0", 2, NOW)), Outcome.WAITING, None, "nothing yet")])
    assert [(line["message"], line["level"], line["check"]) for line in station.logs] == [("node waiting", "INFO", "2")]
    assert station.metrics == []


def test_what_names_no_cluster_is_counted_as_unknown(station: Station) -> None:
    """A metric cannot do without its dimension; the log line just leaves out what there is not."""
    station.record([ending(settled_case(), Outcome.UNREADABLE, "Unreadable")])
    assert station.values("Unreadable", Cluster="unknown") == [1]
    assert station.logs[0].get("node") is None
    assert station.logs[0].get("cluster") is None


def test_metrics_of_a_batch_are_compared_whole(station: Station) -> None:
    """By cluster: reports, outcomes, nodes per call, ages in seconds; failures by code."""
    endings = [
        ending(),
        ending(case(Node(IdKind.NODE_ID, instance_id(2))), code="InstanceIdNotFound"),
        ending(case(Node(IdKind.NODE_ID, instance_id(3))), Outcome.REBOOTED, None),
        ending(case(Node(IdKind.NODE_ID, instance_id(4))), Outcome.REFUSED, "ClusterNotAllowed"),
        ending(case(cluster="ml-b", time=NOW - timedelta(minutes=1)), Outcome.REBOOTED, None),
    ]
    station.record(endings, sizes=[("ml-a", 25), ("ml-a", 3), ("ml-b", 1)])
    for written in station.metrics:
        del written["_aws"]["Timestamp"]
    assert station.metrics == [
        blob(
            {"Cluster": "ml-a"},
            NodesPerCall=[25, 3],
            ReportAge=[30, 30, 30, 30],
            Reports=[4],
            Failed=[2],
            Rebooted=[1],
            Refused=[1],
        ),
        blob({"Cluster": "ml-a", "ErrorCode": "InstanceIdInUse"}, FailedByCode=[1]),
        blob({"Cluster": "ml-a", "ErrorCode": "InstanceIdNotFound"}, FailedByCode=[1]),
        blob({"Cluster": "ml-b"}, NodesPerCall=[1], ReportAge=[90], Reports=[1], Rebooted=[1]),
    ]


TIMES = ("ReportAge", "TimeToReboot", "TimeToRecovery")


def took(outcome: Outcome, seconds: float, *, number: int = 1, told: bool = False, of: Case | None = None) -> Ending:
    of = of or case(Node(IdKind.NODE_ID, instance_id(number)))
    return replace(ending(of, outcome, None), took=timedelta(seconds=seconds), told=told)


def test_times_to_reboot_and_to_recovery_are_measured(station: Station) -> None:
    """In seconds, from the report: the second is the field's MTTR."""
    station.record([took(Outcome.REBOOTED, 12.5), took(Outcome.RECOVERED, 600), took(Outcome.RECOVERED, 900)])
    assert station.values("TimeToReboot", Cluster="ml-a") == [12.5]
    assert station.values("TimeToRecovery", Cluster="ml-a") == [600, 900]
    assert {station.unit(name).pop() for name in TIMES} == {"Seconds"}


def test_node_that_ended_otherwise_has_no_time_to_recovery(station: Station) -> None:
    """Neither has one that was found running in the end: nobody knows since when."""
    station.record([ending(outcome=outcome) for outcome in ENDS])
    assert station.values("TimeToRecovery", Cluster="ml-a") == []


def test_time_that_an_earlier_delivery_told_is_not_measured_again(station: Station) -> None:
    """A redelivery is no second reboot."""
    station.record([took(Outcome.REBOOTED, 12.5, told=True)])
    assert station.values("TimeToReboot", Cluster="ml-a") == []
    assert station.values("Rebooted", Cluster="ml-a") == [1]


def test_check_is_no_report(station: Station) -> None:
    """What it comes to is counted by its outcome alone: reports are what others send."""
    check = case(check=Check("m-0", 2, NOW))
    station.record([took(Outcome.REBOOTED, 1, of=check), ending(check, Outcome.NOT_RECOVERED, "NotRecovered")])
    assert [line["check"] for line in station.logs] == ["2", "2"]
    assert station.values("Rebooted", Cluster="ml-a") == [1]
    assert station.values("NotRecovered", Cluster="ml-a") == [1]
    assert station.values("Reports", Cluster="ml-a") == []
    assert station.values("ReportAge", Cluster="ml-a") == []


def test_node_that_did_not_come_back_is_no_failed_call(station: Station) -> None:
    """Failures by code are what the API said."""
    station.record([ending(outcome=Outcome.NOT_RECOVERED, code="NotRecovered"), ending(outcome=Outcome.RETRYING)])
    assert [blob for blob in station.metrics if "FailedByCode" in blob] == []


@pytest.mark.parametrize("values", [100, 101, 250])
def test_no_time_of_a_long_list_is_lost(station: Station, values: int) -> None:
    """A rack that comes back at once."""
    station.record([took(Outcome.RECOVERED, n, number=n) for n in range(values)])
    assert station.values("TimeToRecovery", Cluster="ml-a") == list(range(values))
    assert sum(station.values("Recovered", Cluster="ml-a")) == values


def blob(dimensions: dict[str, str], **metrics: list[float]) -> dict[str, Any]:
    definitions = [{"Name": name, "Unit": "Seconds" if name == "ReportAge" else "Count"} for name in metrics]
    directive = {"Namespace": "HyperPodNodeRemediation", "Dimensions": [list(dimensions)], "Metrics": definitions}
    return {"_aws": {"CloudWatchMetrics": [directive]}, **dimensions, **metrics}


@pytest.mark.parametrize("values", [99, 100, 101, 200, 257])
def test_no_value_of_a_long_list_is_lost(station: Station, values: int) -> None:
    """CloudWatch takes 100 values of a metric at a time; a full batch of the default size is exactly that."""
    endings = [
        ending(case(Node(IdKind.NODE_ID, instance_id(n)), time=NOW - timedelta(seconds=n)), Outcome.REBOOTED, None)
        for n in range(values)
    ]
    station.record(endings, sizes=[("ml-a", n % 25 + 1) for n in range(values)])
    assert station.values("ReportAge", Cluster="ml-a") == [30 + n for n in range(values)]
    assert station.values("NodesPerCall", Cluster="ml-a") == [n % 25 + 1 for n in range(values)]
    assert sum(station.values("Reports", Cluster="ml-a")) == values
    assert sum(station.values("Rebooted", Cluster="ml-a")) == values
    assert all(len(value) <= 100 for blob in station.metrics for value in blob.values() if isinstance(value, list))
    assert station.unit("ReportAge") == {"Seconds"}


def test_report_from_the_future_has_no_negative_age(station: Station) -> None:
    """Clocks differ."""
    station.record([ending()], later=timedelta(seconds=-5))
    assert station.values("ReportAge", Cluster="ml-a") == [0]


def test_calls_of_a_batch_that_all_comes_again_are_counted(station: Station) -> None:
    """Throttled calls were calls; the messages are told with why, and are not reports yet."""
    station.record(sizes=[("ml-a", 25)], handed_back={"m-1": "ThrottlingException: Rate exceeded"})
    assert station.values("NodesPerCall", Cluster="ml-a") == [25]
    assert station.values("Reports", Cluster="ml-a") == []
    (line,) = station.logs
    assert (line["message"], line["message_id"], line["reason"]) == (
        "handed back",
        "m-1",
        "ThrottlingException: Rate exceeded",
    )


def test_trouble_with_handing_back_is_told(station: Station) -> None:
    """The messages come again all the same, only later."""
    station.record(trouble="queue: gone")
    (line,) = station.logs
    assert (line["level"], line["message"], line["reason"]) == ("WARNING", "visibility not changed", "queue: gone")
    assert station.metrics == []


def test_empty_batch_writes_nothing(station: Station) -> None:
    """Neither line nor metric, and no warning either."""
    station.record()
    assert (station.logs, station.metrics) == ([], [])
