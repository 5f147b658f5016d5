"""The reading of each documented payload: the whole value, nothing left out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from node_remediation.events import Reading
from node_remediation.events.fields import read_time
from node_remediation.model import Alarm, Composite, IdKind, Node, NoReport, Outcome, Report, Trigger
from tests.unit.events.payloads import SAMPLE_NAMES, home_of, read, report, sample, unmuted

MUTED = "muted by arn:aws:cloudwatch:us-east-1:1234567890:alarm-mute-rule:testMute"
STATE_CHANGE = "CloudWatch Alarm State Change"
CLUSTER_EVENT = "SageMaker HyperPod Cluster Event"
MUTED_UNTIL = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(*when: int) -> datetime:
    return datetime(*when, tzinfo=UTC)  # type: ignore[arg-type,misc]  # year to microsecond, all whole numbers


def alarm(name: str, account: str = "123456789012") -> Alarm:
    return Alarm(name, f"arn:aws:cloudwatch:us-east-1:{account}:alarm:{name}")


EXPECTED: dict[str, Reading] = {
    "alarm-composite-suppressed": Composite(
        trigger=Trigger(
            "aws.cloudwatch",
            STATE_CHANGE,
            "d3dfc86d-384d-24c8-0345-9f7986db0b80",
            at(2022, 7, 22, 15, 57, 45, 394000),
            "alarm ServiceAggregatedAlarm: arn:aws:cloudwatch:us-east-1:123456789012:alarm:"
            "SuppressionDemo.EventBridge.FirstChild transitioned to ALARM at Friday 22 July, 2022 15:57:45 UTC",
        ),
        alarm=alarm("ServiceAggregatedAlarm"),
        children=("arn:aws:cloudwatch:us-east-1:123456789012:alarm:ServerCpuTooHigh",),
        muted=MUTED,
        # The end given is over three years ahead: it is cut to one.
        muted_until=datetime(2023, 7, 23, 15, 57, 48, tzinfo=UTC),
    ),
    "alarm-contributor": NoReport(
        trigger=Trigger(
            "aws.cloudwatch",
            "CloudWatch Alarm Contributor State Change",
            "6d226bbc-07f0-9a31-3359-1736968f8ded",
            at(2025, 12, 1, 13, 42, 4, 919000),
            "alarm DynamoDBInsightsAlarm: Threshold Crossed: 1 datapoint was less than the threshold (1.0). The most "
            "recent datapoint which crossed the threshold: [0.0 (01/12/25 13:34:00)].",
        ),
        outcome=Outcome.DEFERRED,
        reason=MUTED,
        alarm=replace(
            alarm("DynamoDBInsightsAlarm"), by_series=True, series='{"TableName":"example-dynamodb-table-name"}'
        ),
    ),
    "alarm-direct-to-lambda": Report(
        trigger=Trigger(
            "aws.cloudwatch",
            "CloudWatch Alarm Lambda Action",
            "arn:aws:cloudwatch:us-east-1:444455556666:alarm:lambda-demo-metric-alarm@2023-08-04T12:36:15.490+0000",
            at(2023, 8, 4, 12, 36, 15, 490000),
            "alarm lambda-demo-metric-alarm: test",
        ),
        node=Node(IdKind.NODE_ID, "i-12345678"),
        alarm=alarm("lambda-demo-metric-alarm", "444455556666"),
    ),
    "alarm-metric-math": Report(
        trigger=Trigger(
            "aws.cloudwatch",
            STATE_CHANGE,
            "2dde0eb1-528b-d2d5-9ca6-6d590caf2329",
            at(2019, 10, 2, 17, 20, 48, 554000),
            "alarm TotalNetworkTrafficTooHigh: Threshold Crossed: 1 out of the last 1 datapoints [45628.0 (02/10/19 "
            "17:10:00)] was greater than the threshold (10000.0) (minimum 1 datapoint for OK -> ALARM transition).",
        ),
        node=Node(IdKind.NODE_ID, "i-12345678901234567"),
        muted=MUTED,
        muted_until=datetime(2020, 10, 2, 17, 20, 51, tzinfo=UTC),
        alarm=alarm("TotalNetworkTrafficTooHigh"),
    ),
    "alarm-single-metric": Report(
        trigger=Trigger(
            "aws.cloudwatch",
            STATE_CHANGE,
            "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
            at(2019, 10, 2, 17, 4, 40, 989000),
            "alarm ServerCpuTooHigh: Threshold Crossed: 1 out of the last 1 datapoints [99.50160229693434 (02/10/19 "
            "16:59:00)] was greater than the threshold (50.0) (minimum 1 datapoint for OK -> ALARM transition).",
        ),
        node=Node(IdKind.NODE_ID, "i-12345678901234567"),
        muted=MUTED,
        muted_until=datetime(2020, 10, 2, 17, 4, 43, tzinfo=UTC),
        alarm=alarm("ServerCpuTooHigh"),
    ),
    # Its EventTime is a year before its envelope's time, so the envelope's counts.
    "cluster-event-create-failed": NoReport(
        trigger=Trigger(
            "aws.sagemaker",
            CLUSTER_EVENT,
            "0bd4a141-0a02-9d8a-f977-3924c3fb259c",
            at(2026, 6, 1, 17, 20, 25),
            "Instance creation in Cluster sample-cluster and InstanceGroup p5Inst failed (We currently do not have "
            "sufficient capacity to launch new ml.p5.48xlarge instances. Please try again.)",
        ),
        outcome=Outcome.IGNORED,
        reason="the event is neither about an unhealthy instance nor about a reboot",
        cluster="sample-cluster",
    ),
    "cluster-event-lifecycle-started": NoReport(
        trigger=Trigger(
            "aws.sagemaker",
            CLUSTER_EVENT,
            "0bd4a141-0a02-9d8a-f977-3924c3fb259c",
            at(2025, 4, 28, 16, 40, 47, 412000),
            "Instance lifecycle script execution for EC2InstanceId i-0391f86fa0fe0d465 has Started",
        ),
        outcome=Outcome.IGNORED,
        reason="the event is neither about an unhealthy instance nor about a reboot",
        cluster="sample-cluster",
    ),
    "cluster-state-change": NoReport(
        trigger=Trigger(
            "aws.sagemaker",
            "SageMaker HyperPod Cluster State Change",
            "0bd4a141-0a02-9d8a-f977-3924c3fb259c",
            at(2025, 4, 28, 16, 59, 1),
        ),
        outcome=Outcome.IGNORED,
        reason="no part of this system acts on SageMaker HyperPod Cluster State Change of aws.sagemaker",
    ),
    "node-health": Report(
        trigger=Trigger(
            "aws.sagemaker",
            "SageMaker HyperPod Cluster Node Health Event",
            "0bd4a141-0a02-9d8a-f977-3924c3fb259c",
            at(2021, 10, 25, 1, 52, 12),
            "HyperPod Health Monitoring Agent (HMA) has detected fault type NvidiaErrorTerminate on this node and is "
            "unhealthy.",
        ),
        node=Node(IdKind.NODE_ID, "i-12345678abcdefghi"),
        cluster="sample-cluster",
        cluster_is_hyperpod=True,
        repair_action="None",
        recommendation="Please Replace the Faulty Node.",
    ),
}


@pytest.mark.parametrize("name", SAMPLE_NAMES)
def test_sample_is_read_whole(name: str) -> None:
    """Every sample has exactly one reading, compared field by field, when it arrives three seconds after its time."""
    event = sample(name)
    time = read_time(event["time"])
    assert time
    assert read(event, sent=time + timedelta(seconds=3), home=home_of(event)) == [EXPECTED[name]]


@pytest.mark.parametrize("name", ["alarm-metric-math", "alarm-single-metric"])
def test_sample_reads_the_same_without_its_mute(name: str) -> None:
    """Muting marks a report and changes nothing else of it."""
    event = sample(name)
    muted = report(event, home=home_of(event))
    assert muted.muted_until == MUTED_UNTIL
    assert report(unmuted(event), home=home_of(event)) == replace(muted, muted=None, muted_until=None)
