"""The change calendar, run against a stand-in for Systems Manager."""

from datetime import UTC, datetime, timedelta

import pytest

import change_calendar
from tests.hooks.conftest import Calendar, Desk


def ahead(**time: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**time):%Y-%m-%dT%H:%M:%SZ}"


def test_open_calendar_approves(desk: Desk, calendar: Calendar) -> None:
    """All calendars that are named are asked for in one call."""
    [incident] = desk.proposes(desk.cluster.nodes[0])
    assert change_calendar.main(desk.options("--calendar", "ml-nights", "company")) == 0
    assert calendar.asked == [{"CalendarNames": ["ml-nights", "company"]}]
    assert desk.answers() == [("Approved", incident, "change calendar open: ml-nights, company")]
    assert desk.waiting() == 0


@pytest.mark.parametrize("opens", [{"hours": 2}, None])
def test_calendar_that_stays_closed_vetoes_and_says_until_when(
    desk: Desk, calendar: Calendar, opens: dict[str, float] | None
) -> None:
    """Silence would let on_no_answer reboot the node."""
    until = ahead(**opens) if opens else None
    calendar.answer = {"State": "CLOSED"} | ({"NextTransitionTime": until} if until else {})
    [incident] = desk.proposes(desk.cluster.nodes[0])
    change_calendar.main(desk.options("--calendar", "ml-nights"))
    said = f"change calendar closed: ml-nights, until {until or 'further notice'}"
    assert (desk.answers(), desk.waiting()) == ([("Vetoed", incident, said)], 0)


def test_calendar_that_opens_before_the_proposal_expires_is_waited_for(desk: Desk, calendar: Calendar) -> None:
    """The message comes back."""
    calendar.answer = {"State": "CLOSED", "NextTransitionTime": ahead(minutes=5)}
    desk.proposes(desk.cluster.nodes[0])
    assert change_calendar.main(desk.options("--calendar", "ml-nights")) == 0
    assert (desk.answers(), desk.waiting()) == ([], 1)


def test_state_that_cannot_be_had_is_one_line_and_no_answer(
    desk: Desk, calendar: Calendar, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt calendar approves nothing."""
    calendar.answer, calendar.status = {"__type": "InvalidDocument", "message": "no such calendar"}, 400
    desk.proposes(desk.cluster.nodes[0])
    assert change_calendar.main(desk.options("--calendar", "ml-night")) == 1
    assert (desk.answers(), desk.waiting()) == ([], 1)
    first, *_ = capsys.readouterr().err.splitlines()
    assert "(InvalidDocument)" in first
    assert "GetCalendarState" in first
