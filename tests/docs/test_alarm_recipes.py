"""The recipes of docs/alarms.md: commands that the API takes, the same alarms in CDK, and events that name the node."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from aws_cdk import App, Stack
from botocore import xform_name
from botocore.model import StructureShape
from botocore.validate import ParamValidator
from markdown_it import MarkdownIt

from node_remediation.events import Reading
from node_remediation.events.alarm import find_in_series, read_described
from node_remediation.model import Outcome, Report
from node_remediation.settings import Settings
from tests.infra.template import Template
from tests.unit.events import payloads

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "alarms.md"
NODE, EKS_CLUSTER, HYPERPOD_CLUSTER = "i-0123456789abcdef0", "ml-training-eks", "ml-training"
# What a series of the recipes has for a label or a dimension.
SERIES = {
    "ClusterName": EKS_CLUSTER,
    "InstanceId": NODE,
    "NodeName": f"hyperpod-{NODE}",
    "@resource.k8s.cluster.name": EKS_CLUSTER,
    "@resource.k8s.node.name": f"hyperpod-{NODE}",
    "Hostname": f"hyperpod-{NODE}",
}
ACTIONS = ("AlarmActions", "OKActions")
Properties = Mapping[str, Any]


def _blocks(language: str) -> list[str]:
    tokens = MarkdownIt().parse(DOCUMENT.read_text(encoding="utf-8"))
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


COMMANDS = [
    shlex.split(command.replace("\\\n", " "))
    for block in _blocks("bash")
    for command in re.split(r"^(?=aws )", block, flags=re.MULTILINE)
    if command.strip()
]


def _input(command: list[str]) -> StructureShape:
    """Return what the command's operation takes."""
    service = botocore.session.get_session().get_service_model(command[1])
    (name,) = [each for each in service.operation_names if xform_name(each, "-") == command[2]]
    shape = service.operation_model(name).input_shape
    assert shape
    return shape


def _parameters(command: list[str]) -> dict[str, Any]:
    """Read a command's options as the AWS CLI does. Raises KeyError for an option that the operation does not have."""
    members = _input(command).members
    names = {f"--{xform_name(member, '-')}": member for member in members}
    options: dict[str, list[str]] = {}
    for word in command[3:]:
        if word.startswith("--"):
            values = options.setdefault(names[word], [])
        else:
            values.append(word)
    return {name: _value(members[name].type_name, values) for name, values in options.items()}


def _value(kind: str, words: list[str]) -> Any:
    if kind == "list" and words[0].startswith("Name="):  # the CLI's shorthand
        return [dict(pair.split("=", 1) for pair in word.split(",")) for word in words]
    if kind == "list" and not words[0].startswith("["):
        return words
    (word,) = words
    return word if kind in ("string", "blob") else json.loads(word)


def _alarms(*, with_actions: bool) -> dict[str, Properties]:
    """Return what the document's commands make, by name: those with alarm actions, or those without."""
    made = [_parameters(command) for command in COMMANDS if command[2].startswith("put-")]
    return {each["AlarmName"]: each for each in made if ("AlarmActions" in each) is with_actions}


ALARMS = _alarms(with_actions=False)
CHILDREN = ("pending-reboot-i-0123456789abcdef0", "schedulable-i-0123456789abcdef0")
COMPOSITES = {name: each["AlarmRule"] for name, each in ALARMS.items() if "AlarmRule" in each}
SEVERAL = ("hyperpod-reboot-pending-ml-training", "hyperpod-reboot-xid-ml-training")
ONE = "hyperpod-reboot-pending-i-0123456789abcdef0"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command[1:5]))
def test_command_is_one_that_the_api_takes(command: list[str]) -> None:
    """By botocore's model of the service; no call is made."""
    report = ParamValidator().validate(_parameters(command), _input(command))
    assert not report.has_errors(), report.generate_report()


def test_every_alarm_is_of_a_kind_that_is_tested() -> None:
    """And the name decides: of the recipes' alarms, those that reboot have the prefix, and no child has it."""
    assert {*ALARMS} == {ONE, *SEVERAL, *CHILDREN, *COMPOSITES}
    assert {name for name in ALARMS if Settings().watches(name)} == {*ALARMS} - {*CHILDREN}


@pytest.fixture(scope="module")
def made_by_cdk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Properties]:
    """What the document's CDK code makes, by the alarm's name, with names for references to alarms."""
    directory = tmp_path_factory.mktemp("recipes")
    app = App(outdir=str(directory))
    exec("\n".join(_blocks("python")), {"self": Stack(app, "Recipes")})  # noqa: S102  the document's own code
    app.synth()
    template = Template(json.loads((directory / "Recipes.template.json").read_text()))
    alarms = template.of("AWS::CloudWatch::Alarm")
    names = {f"<{key}.Arn>": each["AlarmName"] for key, each in alarms.items()}
    composites = template.of("AWS::CloudWatch::CompositeAlarm").values()
    for each in composites:
        each["AlarmRule"] = re.sub("<.+?>", lambda match: names[match[0]], each["AlarmRule"])
    return {each["AlarmName"]: each for each in (*alarms.values(), *composites)}


def _comparable(alarm: Properties) -> Properties:
    """Leave out what makes no difference: actions, IDs of queries, parentheses around the parts of a flat rule."""
    alarm = {name: value for name, value in alarm.items() if name not in ACTIONS}
    if "AlarmRule" in alarm:
        parts = re.findall(r'AND|OR|NOT|(?:ALARM|OK)\(".+?"\)', alarm["AlarmRule"])
        return alarm | {"AlarmRule": " ".join(parts)}
    if "Metrics" in alarm:
        return alarm | {"Metrics": [{**each, "Id": "id"} for each in alarm["Metrics"]]}
    return alarm


def test_cdk_code_makes_the_alarms_of_the_commands(made_by_cdk: dict[str, Properties]) -> None:
    """Property by property, so that what holds for the one holds for the other."""
    by_cdk = {name: _comparable(alarm) for name, alarm in made_by_cdk.items()}
    assert by_cdk == {name: _comparable(alarm) for name, alarm in ALARMS.items()}


def test_alarm_with_actions_is_the_same_with_both_actions(made_by_cdk: dict[str, Properties]) -> None:
    """OK withdraws, so it is published too."""
    with_actions = _alarms(with_actions=True)
    assert {*with_actions} == {ONE}
    assert _comparable(with_actions[ONE]) == _comparable(ALARMS[ONE])
    for made in (with_actions[ONE], made_by_cdk[ONE]):
        assert made["AlarmActions"] == made["OKActions"] != []


def _named(reading: Reading) -> tuple[str, str | None]:
    assert isinstance(reading, Report)
    return reading.node.id, reading.cluster


def _metric(alarm: Properties) -> dict[str, Any]:
    """Return an alarm's metric as an event has it (tests/samples/alarm-single-metric.documented.json)."""
    return payloads.metric(**{each["Name"]: each["Value"] for each in alarm["Dimensions"]})


@pytest.mark.parametrize("state", ["ALARM", "OK"])
def test_alarm_of_one_node_names_it_however_it_arrives(state: str) -> None:
    """By EventBridge, as a Lambda action, or through a topic."""
    alarm = _alarms(with_actions=True)[ONE]
    event = payloads.alarm_event(_metric(alarm), state=state, alarmName=ONE)
    action = {"source": "aws.cloudwatch", "alarmArn": payloads.ALARM_ARN, "alarmData": event["detail"]}
    trigger = {"Dimensions": payloads.pairs(**{each["Name"]: each["Value"] for each in alarm["Dimensions"]})}
    message = payloads.sns_envelope(payloads.sns_action(trigger, AlarmName=ONE, NewStateValue=state))
    for body in (event, action, message):
        (reading,) = payloads.read(body)
        assert _named(reading) == (NODE, EKS_CLUSTER)
        assert isinstance(reading, Report)
        assert (reading.source, reading.healthy) == (f"alarm:{ONE}", state == "OK")


def _grouped_by(alarm: Properties) -> list[str]:
    """Return the attributes that the series of an alarm have, from its query."""
    if "Metrics" in alarm:
        return re.split(r",\s*", alarm["Metrics"][0]["Expression"].partition(" GROUP BY ")[2])
    return _labels(alarm["EvaluationCriteria"]["PromQLCriteria"]["Query"])


def _labels(query: str) -> list[str]:
    (labels,) = re.findall(r"\bby \((.+?)\)", query)
    return [label.strip('"') for label in labels.split(", ")]


def _configuration(alarm: Properties) -> dict[str, Any]:
    if "Metrics" in alarm:
        return {"metrics": [{"id": "m", "expression": alarm["Metrics"][0]["Expression"]}]}
    return {"evaluationCriteria": {"promQLCriteria": {"query": alarm["EvaluationCriteria"]["PromQLCriteria"]["Query"]}}}


@pytest.mark.parametrize("name", SEVERAL)
def test_series_of_an_alarm_names_its_node_and_the_alarm_itself_is_ignored(name: str) -> None:
    """The series have the attributes that the query groups by."""
    alarm = ALARMS[name]
    parent = payloads.alarm_event(alarmName=name, configuration=_configuration(alarm))
    assert payloads.no_report(parent).outcome is Outcome.IGNORED
    series = {"id": "s", "attributes": {attribute: SERIES[attribute] for attribute in _grouped_by(alarm)}}
    parent["detail-type"] = "CloudWatch Alarm Contributor State Change"
    parent["detail"]["alarmContributor"] = series
    assert _named(payloads.report(parent)) == (NODE, EKS_CLUSTER)


@pytest.mark.parametrize("name", COMPOSITES)
def test_composite_alarm_names_its_node_through_each_child(name: str) -> None:
    """Whichever set it off: they are found by their ARNs, and described as they were made."""
    children = re.findall(r'"(.+?)"', COMPOSITES[name])
    event = payloads.composite_event(*(f"arn:aws:cloudwatch:us-west-2:111122223333:alarm:{each}" for each in children))
    for arn in payloads.composite(event).children:
        found = find_in_series(read_described(ALARMS[arn.rpartition(":")[2]]))
        assert not isinstance(found, str)
        assert (found[0].id, found[1].name) == (NODE, EKS_CLUSTER)


def test_metric_of_the_cluster_alone_names_no_node() -> None:
    """Container Insights publishes it beside those of the nodes."""
    refused = payloads.no_report(payloads.alarm_event(payloads.metric(ClusterName=EKS_CLUSTER)))
    assert (refused.outcome, refused.code) == (Outcome.REFUSED, "NodeNotResolved")


RULES, ALERT_MANAGER = (yaml.safe_load(block) for block in _blocks("yaml"))


def _rendered(status: str) -> str:
    """Return the message that the document's template makes of the document's alert, and of one more."""
    (rule,) = RULES["groups"][0]["rules"]
    labels = {label: SERIES[label] for label in _labels(rule["expr"])} | rule["labels"]
    alerts = [
        {
            "Status": status,
            "Fingerprint": fingerprint,
            "Labels": {"SortedPairs": _pairs(labels | {"alertname": name})},
            "Annotations": {"SortedPairs": _pairs(rule["annotations"] | {"description": 'GPU "3"'})},
        }
        for fingerprint, name in (("f1", rule["alert"]), ("f2", "other"))
    ]
    template = re.sub(r" -\}\}\s+", " }}", ALERT_MANAGER["template_files"]["hyperpod"])
    out: list[str] = []
    _render(re.split(r"\{\{ (.+?) \}\}", template), 0, {"": {"Status": status, "Alerts": alerts}}, out)
    return "".join(out)


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in sorted(values.items())]


def _render(pieces: list[str], at: int, scope: Mapping[str, Any], out: list[str]) -> int:
    """Render what the document uses of Go's templates, up to the end of the block; return where that is."""
    while at + 1 < len(pieces):
        out.append(pieces[at])
        word, _, rest = pieces[at + 1].partition(" ")
        at += 2
        if word == "end":
            return at
        if word == "printf":
            form, paths = re.findall(r'"(.+)" (.+)', rest)[0]
            out.append(form.replace("%q", "%s") % tuple(json.dumps(_of(path, scope)) for path in paths.split()))
            continue
        end = at
        for inner in _scopes(word, rest, scope):
            end = _render(pieces, at, inner, out)
        at = end if end > at else _render(pieces, at, {}, [])
    return at


def _scopes(word: str, rest: str, scope: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the variables for each time that a block is rendered."""
    if word == "range":
        names, path = rest.split(" := ")
        for index, item in enumerate(_of(path, scope)):
            yield {**scope, **dict(zip(names.split(", "), (index, item), strict=True))}
    elif word == "define" or _of(rest, scope):
        yield scope


def _of(path: str, scope: Mapping[str, Any]) -> Any:
    name, *keys = path.split(".")
    value = scope[name]
    for key in keys:
        value = value[key]
    return value


@pytest.mark.parametrize(("status", "healthy"), [("firing", False), ("resolved", True)])
def test_alert_names_its_node_and_withdraws_by_its_fingerprint(status: str, healthy: bool) -> None:
    """Through the alert manager's template and a topic."""
    reading, other = payloads.read(payloads.sns_envelope(_rendered(status)))
    assert isinstance(other, Report)
    assert _named(reading) == (NODE, HYPERPOD_CLUSTER)
    assert isinstance(reading, Report)
    assert (reading.source, reading.healthy) == ("alert:hyperpod-reboot-gpu-memory#f1", healthy)
    assert reading.trigger.reason == "alert hyperpod-reboot-gpu-memory: Double-bit memory errors on a GPU"
    assert reading.alarm
    assert Settings().watches(reading.alarm.name)


def test_alert_manager_sends_resolved_alerts_and_repeats_in_time() -> None:
    """An alert cannot be asked: its repetition is the new complaint, its end the withdrawal."""
    configuration = yaml.safe_load(ALERT_MANAGER["alertmanager_config"])
    assert configuration["templates"] == [*ALERT_MANAGER["template_files"]]
    assert configuration["receivers"][0]["sns_configs"][0]["send_resolved"] is True
    repeated = int(configuration["route"]["repeat_interval"].removesuffix("m"))
    assert repeated * 2 < Settings().verify_timeout.total_seconds() / 60
