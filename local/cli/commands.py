"""Implements the commands for a local AWS that is up. Each returns the lines to print."""

import json
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from local.cli import text
from local.cli.client import AdminClient, CommandError

# How a node ends after `break`: in the command's words, for people, and as a field of nodes/break.
ENDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "recovers": ("is healthy again, with an event", {}),
    "silent": ("is healthy again, without an event", {"says_so": False}),
    "slow": ("is healthy again, after 60 seconds", {"seconds": 60.0}),
    "stays-sick": ("runs, but is not healthy", {"ends": "stays_sick"}),
    "sick-again": ("is not healthy, and a second event says so", {"ends": "stays_sick", "says_so": True}),
    "replaced": ("is gone; a new instance has its logical ID", {"ends": "replaced"}),
    "stuck": ("never comes back", {"ends": "stuck"}),
}
ENDS_HELP = "what becomes of it once it was rebooted: " + "; ".join(
    f"{name}: {text}" for name, (text, _) in ENDS.items()
)


def break_node(client: AdminClient, arguments: Namespace) -> Iterable[str]:
    """Make a node unhealthy, with HyperPod's event."""
    asked: dict[str, Any] = {
        "node": arguments.node,
        "cluster": arguments.cluster,
        "reason": arguments.reason,
        "repair_action": arguments.repair_action,
    }
    asked |= _ending(arguments)
    given = {name: value for name, value in asked.items() if value is not None}
    return [text.node(client.call("POST", "hyperpod/nodes/break", given))]


def _ending(arguments: Namespace) -> dict[str, Any]:
    """Return the fields of nodes/break that say how the node ends. Raises CommandError."""
    how = dict(ENDS[arguments.ends or "recovers"][1])
    if arguments.reboot_seconds is not None:
        how["seconds"] = arguments.reboot_seconds
    if arguments.repairs_itself is None:
        return {"reboot": how} if how or arguments.ends else {}
    if how.get("ends") == "stays_sick":
        raise CommandError("--repairs-itself: HyperPod leaves no node sick, it takes another --ends")
    action = "Replace" if arguments.ends == "replaced" else "Reboot"
    repair = {"after_seconds": arguments.repairs_itself, **how}
    return {"repair_action": arguments.repair_action or action, "repair": repair}


def heal_node(client: AdminClient, arguments: Namespace) -> Iterable[str]:
    """Make a node healthy again, with HyperPod's event."""
    asked = {"node": arguments.node, "cluster": arguments.cluster}
    return [text.node(client.call("POST", "hyperpod/nodes/heal", asked))]


def show_clusters(client: AdminClient, _arguments: Namespace) -> Iterable[str]:
    """List the clusters and their nodes."""
    return text.clusters(client.call("GET", "hyperpod/clusters"))


def create_cluster(client: AdminClient, arguments: Namespace) -> Iterable[str]:
    """Make a cluster; a Slurm one has a controller besides its nodes."""
    groups: list[dict[str, Any]] = [{"name": "workers", "count": arguments.nodes}]
    if arguments.slurm:
        groups[0]["slurm_node_type"] = "Compute"
        groups.insert(0, {"name": "controller", "count": 1, "slurm_node_type": "Controller"})
    asked = {
        "name": arguments.name,
        "groups": groups,
        "orchestrator": "slurm" if arguments.slurm else {"eks": arguments.eks or f"{arguments.name}-eks"},
        "node_recovery": arguments.node_recovery,
        "continuous": not arguments.not_continuous,
        "reboot_seconds": arguments.reboot_seconds,
    }
    return text.clusters([client.call("POST", "hyperpod/clusters", asked)])


def delete_cluster(client: AdminClient, arguments: Namespace) -> Iterable[str]:
    """Remove a cluster."""
    return [f"deleted {name}" for name in client.call("DELETE", f"hyperpod/clusters/{arguments.name}")["deleted"]]


def show_calls(client: AdminClient, _arguments: Namespace) -> Iterable[str]:
    """Show what was asked of the simulated HyperPod, and its answers."""
    return text.calls(client.call("GET", "hyperpod/calls"))


def show_mail(client: AdminClient, _arguments: Namespace) -> Iterator[str]:
    """Show what e-mail subscribers would have got."""
    messages = client.call("GET", "mail")
    if not messages:
        yield "no mail yet: a failure is mailed, and a node that does not come back"
    for number, message in enumerate(messages):
        if number:
            yield "-" * 60
        yield from text.mail(message)


def play_event(client: AdminClient, arguments: Namespace) -> Iterable[str]:
    """Put a captured event on the bus, as if it happened now."""
    entry = read_event(arguments.file)
    answer = client.call("POST", "events", {"Entries": [entry]})
    refused = answer["FailedEntryCount"] and answer["Entries"][0]
    if refused:
        raise CommandError(f"the bus refused {arguments.file}: {refused.get('ErrorMessage')}")
    return [f"{entry['Source']} / {entry['DetailType']}: on the bus"]


def read_event(file: Path) -> dict[str, Any]:
    """Return the PutEvents entry for a file with one EventBridge event. Raises CommandError."""
    try:
        event = json.loads(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{file} is not JSON: {error}") from None
    if not isinstance(event, dict) or not all(key in event for key in ("source", "detail-type", "detail")):
        raise CommandError(f"{file} is not an EventBridge event: it takes source, detail-type and detail")
    return {
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Resources": event.get("resources", []),
        "Detail": json.dumps(event["detail"]),
    }
