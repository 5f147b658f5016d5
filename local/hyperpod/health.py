"""Describes the health of a node in the words of its event."""

from dataclasses import dataclass

# The wording of the documented sample, and of an event captured while HyperPod repaired a node itself.
DOCUMENTED_REASON = (
    "HyperPod Health Monitoring Agent (HMA) has detected fault type NvidiaErrorTerminate on this node and is unhealthy."
)
_RECOMMENDATION = "Please Replace the Faulty Node."
_REPAIRING = "HyperPod is working on repairing the unhealthy node. Please wait."


@dataclass(frozen=True, slots=True)
class Health:
    """Holds an event's HealthSummary; every field but the status may be null."""

    status: str
    reason: str | None
    repair_action: str | None
    recommendation: str | None


# AWS does not document the other fields of a healthy node's event.
HEALTHY = Health("Healthy", None, None, None)


def recommendation_for(repair_action: str | None) -> str:
    """Return HyperPod's recommendation for a repair action."""
    return _RECOMMENDATION if repair_action in (None, "None") else _REPAIRING
