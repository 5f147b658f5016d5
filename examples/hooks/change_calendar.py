"""Approves reboots while a Systems Manager change calendar is open, and vetoes them while it is closed.

If the calendar opens before the proposal expires, the answer waits until then.
"""

import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from proposals import Answer, HookError, Proposal, parser, run


def decide(calendars: list[str], proposal: Proposal) -> Answer | None:
    """Approve if all calendars are open; veto if they stay closed. A state that was not obtained is no answer."""
    try:
        found = boto3.client("ssm").get_calendar_state(CalendarNames=calendars)
    except (BotoCoreError, ClientError) as error:
        raise HookError(str(error)) from error
    named, changes_at = ", ".join(calendars), found.get("NextTransitionTime")
    if found["State"] == "OPEN":
        return Answer(approved=True, reason=f"change calendar open: {named}")
    if changes_at and datetime.fromisoformat(changes_at) < proposal.expires:
        return None
    return Answer(approved=False, reason=f"change calendar closed: {named}, until {changes_at or 'further notice'}")


def main(arguments: Sequence[str] | None = None) -> int:
    made = parser("change_calendar.py", __doc__, cluster_required=False)
    made.add_argument("--calendar", required=True, nargs="+", metavar="NAME", help="names or ARNs of change calendars")
    options = made.parse_args(arguments)
    return run(options, partial(decide, options.calendar))


if __name__ == "__main__":
    sys.exit(main())
