"""Gathers the state of the whole system, and says what a person should look at."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from node_remediation.policy.record import NodeRecord
from smoke.stack import Stack
from tool import modes
from tool.ledger import Reader
from tool.letters import queue_counts
from tool.logs import last_sweep
from tool.story import budget_view
from tool.times import ago, iso

_SWEEP_LATE = timedelta(minutes=5)
_UNSENT_LATE = timedelta(minutes=15)


def status(stack: Stack, now: datetime) -> dict[str, Any]:
    """Return the state of the system; `trouble` has a line for each thing that a person should look at."""
    reader = Reader(stack)
    records = reader.unfinished()
    found = {
        "stack": stack.name,
        "region": stack.region,
        "at": iso(now),
        "mode": modes.view(stack, now),
        "open": dict(Counter(each.incident.state.value for each in records if each.incident)),
        "budgets": list(_budgets(stack, reader, now)),
        "outbox": _outbox(records),
        "queues": {
            name: queue_counts(stack, f"{output}Url")
            for name, output in (("intake", "IntakeQueue"), ("dead_letters", "DeadLetterQueue"))
        },
        "last_sweep": last_sweep(stack, now),
        "alarms": _alarms(stack),
    }
    return {**found, "trouble": list(_trouble(found, now))}


def _budgets(stack: Stack, reader: Reader, now: datetime) -> Iterator[dict[str, Any]]:
    """Return the budgets of which something is used."""
    for cluster, budget in sorted(reader.budgets(reader.clusters()).items()):
        spent_or_observed = budget.spent(now=now, window=stack.settings.budget_window, observe=True)
        if spent_or_observed:
            view = budget_view(budget, reader.limit(cluster), stack.settings, now)
            yield {"cluster": cluster, **view, "observed": spent_or_observed - view["budget_spent"]}


def _outbox(records: Sequence[NodeRecord]) -> dict[str, Any]:
    unsent = [entry for record in records for entry in record.outbox if entry.unsent]
    return {"unsent": len(unsent), "oldest": iso(min((entry.at for entry in unsent), default=None))}


def _alarms(stack: Stack) -> dict[str, str]:
    """Return the states of the stack's own alarms, by their names less the stack's."""
    resources = stack.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=stack.name)
    names = [
        each["PhysicalResourceId"]
        for page in resources
        for each in page["StackResourceSummaries"]
        if each["ResourceType"] == "AWS::CloudWatch::Alarm"
    ]
    if not names:  # an empty list would ask for all alarms of the account
        return {}
    found = stack.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    return {each["AlarmName"].removeprefix(f"{stack.name}-"): each["StateValue"] for each in found}


def _trouble(found: dict[str, Any], now: datetime) -> Iterator[str]:
    if fault := found["mode"]["fault"]:
        yield f"everything is paused: the mode parameter {fault}"
    for name, state in found["alarms"].items():
        if state == "ALARM":
            yield f"the alarm {name} rings: its description says what to do"
    if found["last_sweep"] is None or datetime.fromisoformat(found["last_sweep"]) < now - _SWEEP_LATE:
        yield "no sweep was seen for 5 minutes: nothing is judged again, and no reboot is verified"
    oldest = found["outbox"]["oldest"]
    if oldest and datetime.fromisoformat(oldest) < now - _UNSENT_LATE:
        yield f"something could not be sent since {ago(oldest, now)}: the dead-letter queue or the topic takes nothing"
