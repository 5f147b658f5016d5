"""Tests that the dashboard and the saved queries ask for what the function really writes."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aws_lambda_powertools import Logger

from infra.function_asset import ROOT
from infra.queries import OPEN_STATES, QUERIES, Query
from node_remediation.aws.telemetry import LogsAndMetrics
from node_remediation.model import Answer, CallResult, Change, IdKind, Message, Node, Outcome, Result, Trigger
from node_remediation.policy.record import State
from tests.infra.template import Template, synthesize

OWN = "HyperPodNodeRemediation"
# Metrics of the function that the dashboard leaves out, each with its reason.
LEFT_OUT = {
    "NodesPerCall": "says how well batches fill: of interest when batch_window is set, not at night",
    "ReportAge": "the oldest report in the queue and the time to reboot say the same of what is late",
    "Proposed": "no outcome of a report: proposals are among the open incidents",
    "DailySummary": "no outcome of a report: the summary is told on the topic",
    "Resumed": "no outcome of a report: the end of a mode is told on the topic",
}
UNITS = {"Seconds": "seconds", "Percent": "percent", "Count": "number"}
# Metrics of AWS's own services that the dashboard shows, with their units' names on the axis.
SERVICES = {
    ("AWS/SQS", "ApproximateAgeOfOldestMessage"): "seconds",
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): "messages",
    ("AWS/Lambda", "Errors"): "invocations",
    ("AWS/Lambda", "Throttles"): "invocations",
    ("AWS/Lambda", "Duration"): "milliseconds",
}
SEARCH = re.compile(r"""SEARCH\('\{([^}]+)\} MetricName="(\w+)"', '(\w+)'\)""")
# Fields that CloudWatch Logs has of every line.
OF_EVERY_LINE = {"@timestamp"}
WORDS = {
    "fields",
    "filter",
    "stats",
    "sort",
    "by",
    "as",
    "in",
    "or",
    "and",
    "not",
    "desc",
    "latest",
    "max",
    "count",
    "count_distinct",
    "ispresent",
}


class Shown(NamedTuple):
    """Holds a metric that a widget shows."""

    namespace: str
    name: str
    dimensions: frozenset[str]
    statistic: str
    axis: str


class Written(NamedTuple):
    """Holds what the function writes: its metrics' units by name and dimensions, and its log lines' fields."""

    metrics: dict[tuple[str, frozenset[str]], str]
    fields: set[str]


@pytest.fixture(scope="module")
def written() -> Written:
    """Everything that telemetry can write, written once."""
    node, now = Node(IdKind.NODE_ID, "i-1"), datetime(2026, 11, 23, tzinfo=UTC)
    trigger = Trigger("aws.sagemaker", "event", "e-1", now)
    results = [Result(Message("m", "", now), trigger, each, "why", "Code", "ml-a", node, "in") for each in Outcome]
    changes = [Change("in", "ml-a", "i-1", each, "why", "Code", 1.0, recurring=True) for each in {*Outcome, *State}]
    lines, metrics = io.StringIO(), io.StringIO()
    telemetry = LogsAndMetrics(Logger(service="test-dashboard", stream=lines))
    with redirect_stdout(metrics):
        telemetry.record(
            results,
            changes,
            nodes_per_call=[("ml-a", 1)],
            budget_used={"ml-a": 10.0},
            handed_back={"m": "why"},
            now=now,
            trouble="why",
        )
        telemetry.sweep(lag=0, oldest_unsent=0)
    telemetry.unrecorded("ml-a", [Answer(node, CallResult.FAILED, "Code", "why")])
    try:
        int("x")
    except ValueError:
        telemetry.error("fault", why="because")
    units = {}
    for blob in map(json.loads, metrics.getvalue().splitlines()):
        (directive,) = blob["_aws"]["CloudWatchMetrics"]
        for metric in directive["Metrics"]:
            units[metric["Name"], frozenset(directive["Dimensions"][0])] = metric["Unit"]
    return Written(units, {name for line in lines.getvalue().splitlines() for name in json.loads(line)})


def body(template: Template) -> dict[str, Any]:
    (dashboard,) = template.of("AWS::CloudWatch::Dashboard").values()
    parsed: dict[str, Any] = json.loads(dashboard["DashboardBody"])
    return parsed


def shown(template: Template) -> Iterator[Shown]:
    """Yield each metric of each widget."""
    for widget in body(template)["widgets"]:
        properties = widget["properties"]
        for *named, options in properties.get("metrics", ()):
            axis = properties["yAxis"]["left"]["label"]
            if "expression" in options:
                ((schema, name, statistic),) = SEARCH.findall(options["expression"])
                namespace, *dimensions = schema.split(",")
            else:
                namespace, name, *pairs = named
                dimensions, statistic = pairs[::2], options.get("stat", "Average")
            yield Shown(namespace, name, frozenset(dimensions), statistic, axis)


def test_each_metric_on_the_dashboard_is_one_that_the_function_writes(default: Template, written: Written) -> None:
    """With the same dimensions, or CloudWatch finds nothing; and its unit is on the axis."""
    for metric in shown(default):
        if metric.namespace != OWN:
            assert SERVICES[metric.namespace, metric.name] == metric.axis
        else:
            unit = written.metrics[metric.name, metric.dimensions]
            assert metric.axis == ("sweeps" if metric.statistic == "SampleCount" else UNITS[unit]), metric.name


def test_each_metric_that_the_function_writes_is_on_the_dashboard_or_has_a_reason(
    default: Template, written: Written
) -> None:
    """A new outcome is shown, too."""
    names = {name for name, _ in written.metrics}
    assert names - {each.name for each in shown(default) if each.namespace == OWN} == set(LEFT_OUT)


def test_dashboard_has_a_widget_for_each_question(default: Template) -> None:
    """None over another, and each with a title that says what it shows."""
    widgets = body(default)["widgets"]
    places = {(widget["x"], widget["y"]) for widget in widgets}
    titles = {widget["properties"]["title"] for widget in widgets}
    assert len(places) == len(titles) == len(widgets)
    assert all(widget["width"] * 3 == 24 for widget in widgets)


def test_open_incidents_are_counted_by_the_saved_query_of_the_functions_log(default: Template) -> None:
    """Every state but the claim, which has no line of its own; an end is none of them."""
    (widget,) = [each["properties"] for each in body(default)["widgets"] if each["type"] == "log"]
    text = next(query.text for query in QUERIES if query.name == "Open incidents by state")
    assert widget["query"] == f"SOURCE '<LogsLogGroup>' | {text}"
    assert set(OPEN_STATES) == set(State) - {State.CLAIMED}


def test_dashboards_name_has_the_stack_and_the_region(default: Template, ruled: Template) -> None:
    """Dashboards are of the account: stacks of two regions must not write the same one."""
    for template, stack in ((default, OWN), (ruled, "ml-remediation")):
        (dashboard,) = template.of("AWS::CloudWatch::Dashboard").values()
        assert dashboard["DashboardName"] == template.outputs["DashboardName"] == f"{stack}-<AWS::Region>"


def test_stack_without_the_dashboard_keeps_the_queries(tmp_path: Path) -> None:
    """Saved queries cost nothing."""
    template = synthesize({"dashboard": False}, tmp_path)
    assert template.of("AWS::CloudWatch::Dashboard") == {}
    assert "DashboardName" not in template.outputs
    assert len(template.of("AWS::Logs::QueryDefinition")) == len(QUERIES)


def test_each_saved_query_asks_the_functions_log_alone(default: Template) -> None:
    """In the folder of the stack."""
    saved = default.of("AWS::Logs::QueryDefinition").values()
    assert [each["LogGroupNames"] for each in saved] == [["<LogsLogGroup>"]] * len(QUERIES)
    assert {each["Name"]: each["QueryString"] for each in saved} == {
        f"{OWN}/{query.name}": query.text for query in QUERIES
    }


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_saved_query_names_only_fields_that_the_function_writes(query: Query, written: Written) -> None:
    """CloudWatch takes any name, and finds nothing by a wrong one."""
    text = re.sub(r'"[^"]*"', "", query.text)
    named = set(re.findall(r"@?[a-z_]+", text)) - WORDS
    named -= set(re.findall(r" as ([a-z_]+)", text))
    assert named <= written.fields | OF_EVERY_LINE


@pytest.mark.parametrize("document", ["docs/operating.md"])
def test_query_in_a_document_is_a_saved_one(document: str) -> None:
    """What a reader pastes is what the console offers."""
    found = re.findall(r"^```(\w*)\n(.*?)\n```$", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
    blocks = [block for language, block in found if not language]
    asked = [block for block in blocks if block.startswith(("fields ", "filter "))]
    assert asked
    assert set(asked) <= {query.text for query in QUERIES}


def test_every_saved_query_is_explained_in_a_document() -> None:
    """By its name."""
    text = (ROOT / "docs" / "operating.md").read_text()
    assert [query.name for query in QUERIES if f"*{query.name}*" not in text] == []
