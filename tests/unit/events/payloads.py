"""Makes the events that the tests of this room read, and reads them."""

import copy
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node_remediation import events
from node_remediation.events import Home, Reading
from node_remediation.model import Composite, NoReport, Report

NOW = datetime(2026, 11, 23, 2, 14, 7, tzinfo=UTC)
HOME = Home("111122223333", "us-west-2")
SAMPLES = Path(__file__).parents[2] / "samples"
SAMPLE_NAMES = sorted(path.name.split(".")[0] for path in SAMPLES.glob("*.json"))


def instance_id(number: int) -> str:
    return f"i-{number:017x}"


NODE = instance_id(1)
ALARM_ARN = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:hyperpod-reboot-xid"
CHILD_ARN = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:child"
CLUSTER_ARN = "arn:aws:sagemaker:us-west-2:111122223333:cluster/a1b2c3d4e5f6"


def read(event: object, *, sent: datetime = NOW, home: Home = HOME) -> list[Reading]:
    body = event if isinstance(event, str) else json.dumps(event)
    return list(events.read(body, message_id="m-1", sent=sent, home=home))


def report(event: object, *, sent: datetime = NOW, home: Home = HOME) -> Report:
    (reading,) = read(event, sent=sent, home=home)
    assert isinstance(reading, Report)
    return reading


def composite(event: object, *, sent: datetime = NOW, home: Home = HOME) -> Composite:
    (reading,) = read(event, sent=sent, home=home)
    assert isinstance(reading, Composite)
    return reading


def no_report(event: object, *, sent: datetime = NOW, home: Home = HOME) -> NoReport:
    (reading,) = read(event, sent=sent, home=home)
    assert isinstance(reading, NoReport)
    return reading


def sample(name: str) -> dict[str, Any]:
    """Read a documented payload, by its file name without `.documented.json`."""
    event: dict[str, Any] = json.loads((SAMPLES / f"{name}.documented.json").read_text())
    return event


def home_of(event: dict[str, Any]) -> Home:
    return Home(event.get("account") or event.get("accountId") or HOME.account, event.get("region") or HOME.region)


def unmuted(event: dict[str, Any]) -> dict[str, Any]:
    """Take out what mutes an alarm: the documented samples show every field at once."""
    event = copy.deepcopy(event)
    event["detail"].pop("muteDetail", None)
    event["detail"]["state"].pop("actionsSuppressedBy", None)
    return event


def health_event(node: str | None = NODE, status: str = "Unhealthy", **detail: Any) -> dict[str, Any]:
    """Make a node health event as EventBridge delivers it."""
    return {
        "version": "0",
        "id": "event-1",
        "source": "aws.sagemaker",
        "detail-type": "SageMaker HyperPod Cluster Node Health Event",
        "account": HOME.account,
        "region": HOME.region,
        "time": NOW.isoformat(),
        "resources": [CLUSTER_ARN],
        "detail": {
            "ClusterName": "ml-a",
            "ClusterArn": CLUSTER_ARN,
            "InstanceId": node,
            "HealthSummary": {"HealthStatus": status, "HealthStatusReason": "Xid 79", "RepairAction": "None"},
        }
        | detail,
    }


def cluster_event(description: object, **details: Any) -> dict[str, Any]:
    """Make a cluster event about an instance."""
    return health_event() | {
        "detail-type": "SageMaker HyperPod Cluster Event",
        "detail": {
            "EventDetails": {
                "EventId": "e",
                "ClusterArn": CLUSTER_ARN,
                "ClusterName": "ml-a",
                "InstanceGroupName": "p5",
                "InstanceId": NODE,
                "ResourceType": "Instance",
                "EventTime": int(NOW.timestamp() * 1000) - 2_000,
                "EventLevel": "Warn",
                "Description": description,
                "EventDetails": {"EventMetadata": {"Instance": {"NodeLogicalId": "df268d19-f035"}}},
            }
            | details
        },
    }


def metric(**dimensions: Any) -> dict[str, Any]:
    return {"id": "m", "metricStat": {"metric": {"name": "n", "dimensions": dimensions}, "period": 60}}


def alarm_event(*metrics: dict[str, Any], state: str = "ALARM", **detail: Any) -> dict[str, Any]:
    """Make an alarm's change of state as EventBridge delivers it."""
    return {
        "id": "event-1",
        "source": "aws.cloudwatch",
        "detail-type": "CloudWatch Alarm State Change",
        "account": HOME.account,
        "region": HOME.region,
        "time": NOW.isoformat(),
        "resources": [ALARM_ARN],
        "detail": {
            "alarmName": "hyperpod-reboot-xid",
            "state": {"value": state, "reason": "crossed", "timestamp": NOW.isoformat()},
            "configuration": {"metrics": list(metrics)},
        }
        | detail,
    }


def composite_event(*children: str, state: str = "ALARM", **detail: Any) -> dict[str, Any]:
    data = json.dumps({"triggeringAlarms": [{"arn": child, "state": {"value": "ALARM"}} for child in children]})
    event = alarm_event(state=state, configuration={"alarmRule": "ALARM(child)"}, **detail)
    event["detail"]["state"]["reasonData"] = data
    return event


def pairs(**dimensions: str) -> list[dict[str, str]]:
    return [{"value": value, "name": name} for name, value in dimensions.items()]


def sns_action(trigger: object = None, **fields: Any) -> dict[str, Any]:
    """Make the JSON that an alarm publishes to a topic."""
    return {
        "AlarmName": "hyperpod-reboot-xid",
        "AlarmDescription": None,
        "AWSAccountId": HOME.account,
        "NewStateValue": "ALARM",
        "NewStateReason": "Threshold Crossed",
        "StateChangeTime": "2026-11-23T02:13:37.250+0000",
        "Region": "US West (Oregon)",
        "AlarmArn": ALARM_ARN,
        "OldStateValue": "OK",
        "Trigger": trigger if trigger is not None else {"MetricName": "n", "Dimensions": pairs(InstanceId=NODE)},
    } | fields


def sns_envelope(message: object, **fields: Any) -> dict[str, Any]:
    """Wrap a message as a subscription without raw delivery puts it on a queue."""
    return {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": "arn:aws:sns:us-west-2:111122223333:alarms",
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-23T02:13:38.000Z",
        "SignatureVersion": "1",
    } | fields


def request(*nodes: str, cluster: object = "ml-a", logical: Iterable[str] = (), **extra: Any) -> dict[str, Any]:
    """Make an operator's request."""
    return {
        "version": "1",
        "id": "request-1",
        "source": "hyperpod.node-remediation",
        "detail-type": "HyperPod Node Reboot Requested",
        "time": NOW.isoformat(),
        "detail": {"ClusterName": cluster, "NodeIds": list(nodes), "NodeLogicalIds": list(logical), "Reason": "drill"},
    } | extra


def letter(kind: str = "HyperPod Node Reboot Failed", **detail: Any) -> dict[str, Any]:
    """Make a letter of the DLQ that came back."""
    trigger = {
        "Source": "aws.sagemaker",
        "DetailType": "d",
        "EventId": "e",
        "Time": NOW.isoformat(),
        "Reason": "Xid 79",
    }
    return {
        "version": "1",
        "id": "letter-1",
        "source": "hyperpod.node-remediation",
        "detail-type": kind,
        "time": NOW.isoformat(),
        "account": HOME.account,
        "region": HOME.region,
        "resources": [],
        "detail": {"ClusterName": "ml-a", "NodeId": NODE, "Attempt": 1, "Trigger": trigger} | detail,
    }
