"""Defines the saved queries of CloudWatch Logs Insights: the questions that the documents ask of the log."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from aws_cdk import Stack
from aws_cdk import aws_logs as logs
from constructs import Construct


class Query(NamedTuple):
    """A query of the function's log lines: a command on each line, each but the first after a `|`."""

    name: str
    lines: Sequence[str]

    @property
    def text(self) -> str:
        """Return the query as the console and the documents show it."""
        return "\n| ".join(self.lines)


_STORY = "fields @timestamp, message, source, node, outcome, state, code, reason"
STORY_OF_AN_INCIDENT = Query(
    "Story of an incident",
    (_STORY, 'filter incident = "0a7d0c8e-6a5b-5d35-8a43-6a4ef9d9c1aa"', "sort @timestamp"),
)
STORY_OF_A_NODE = Query(
    "Story of a node, and why it was not rebooted",
    (_STORY, 'filter node = "i-0123456789abcdef0"', "sort @timestamp"),
)
STATE_OF_EVERY_INCIDENT = Query(
    "State of every incident",
    (
        "filter ispresent(incident) and ispresent(state)",
        "stats latest(state) as now, latest(code) as why, latest(reason) as because, max(@timestamp) as at "
        "by incident, cluster, node",
        "sort at desc",
    ),
)
# The states of an incident that has not ended. A claim has no line of its own: its answer follows within the minute.
OPEN_STATES = ("rebooted", "replaced", "repairing", "retrying", "proposed", "open")
OPEN_INCIDENTS = Query(
    "Open incidents by state",
    (
        "filter ispresent(incident) and ispresent(state)",
        "stats latest(state) as now by incident",
        f"filter now in {json.dumps(OPEN_STATES)}",
        "stats count(*) as incidents by now",
    ),
)
REFUSALS = Query(
    "What failed or was refused, by code",
    (
        'filter outcome in ["failed", "refused"] or state in ["failed", "refused", "not_recovered"]',
        "stats count_distinct(node) as nodes, latest(reason) as because by cluster, code",
        "sort nodes desc",
    ),
)
FAULTS = Query(
    "Reports without a node, and faults of the function",
    (
        "fields @timestamp, level, message, message_id, event_id, outcome, code, reason, exception",
        'filter level in ["WARNING", "ERROR"] and not ispresent(incident)',
        "sort @timestamp desc",
    ),
)
QUERIES = (STORY_OF_AN_INCIDENT, STORY_OF_A_NODE, STATE_OF_EVERY_INCIDENT, OPEN_INCIDENTS, REFUSALS, FAULTS)


class SavedQueries(Construct):
    """Saves the queries in a folder with the stack's name; each asks the function's log group."""

    def __init__(self, scope: Construct, construct_id: str, *, log_group: logs.ILogGroup) -> None:
        super().__init__(scope, construct_id)
        for query in QUERIES:
            logs.CfnQueryDefinition(
                self,
                query.name,
                name=f"{Stack.of(self).stack_name}/{query.name}",
                query_string=query.text,
                log_group_names=[log_group.log_group_name],
            )
