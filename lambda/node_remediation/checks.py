"""Sends the checks that outcomes ask for: messages of this system to itself, each to come in when it is due."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from node_remediation.deadletter import Origin
from node_remediation.followup import FollowUp, check_event
from node_remediation.intake import Delayed, Intake


class Checks:
    """Checks over the intake queue."""

    def __init__(
        self, *, intake: Intake, origin: Origin, clock: Callable[[], datetime], new_id: Callable[[], UUID]
    ) -> None:
        self._intake = intake
        self._origin = origin
        self._clock = clock
        self._new_id = new_id

    def send(self, follow_ups: Sequence[FollowUp]) -> dict[int, str]:
        """Send them; returns those that were not taken, by position, with why."""
        now = self._clock()
        return self._intake.send([self._delayed(follow, now) for follow in follow_ups]) if follow_ups else {}

    def _delayed(self, follow: FollowUp, now: datetime) -> Delayed:
        event = check_event(follow, event_id=self._new_id(), now=now, origin=self._origin)
        return Delayed(json.dumps(event), follow.delay(now))
