"""A record's story: which lines belong to which incident, and what a person is told of the limits."""

from dataclasses import replace

import pytest

from node_remediation.policy.draft import OPENED
from node_remediation.policy.record import Budget, NodeRecord, State
from node_remediation.settings import Settings
from tests.unit.policy.makers import NOW, ago, hence, incident, key
from tool import text
from tool.story import chapters, incident_rows, story

_OLD, _NEW = "11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"


def _record() -> NodeRecord:
    return NodeRecord(
        key(),
        version=1,
        incident=replace(incident(), id=_NEW, state=State.REBOOTED, since=ago(2), due=hence(1)),
        reboots=(ago(2),),
        history=(
            (ago(90), "rebooted: from before the first that is kept"),
            (ago(60), f"{OPENED}{_OLD}: hyperpod complained"),
            (ago(59), "refused: Paused: the mode is paused"),
            (ago(59), "sent: letter and notification, Paused"),
            (ago(3), f"{OPENED}{_NEW}: alarm:x complained"),
            (ago(2), "rebooted: SageMaker started the reboot"),
        ),
    )


def test_lines_belong_to_the_incident_that_was_opened_before_them() -> None:
    assert [(each.id, each.state, each.is_open, len(each.lines)) for each in chapters(_record())] == [
        (None, None, False, 1),
        (_OLD, "refused", False, 3),
        (_NEW, "rebooted", True, 2),
    ]


def test_open_incident_whose_beginning_is_not_kept_any_more_has_the_lines_without_one() -> None:
    """50 lines are kept: a node that is looked at again and again loses the first."""
    of = replace(_record(), history=((ago(1), "put off: Throttled"),))
    assert [(each.id, each.is_open, len(each.lines)) for each in chapters(of)] == [(_NEW, True, 1)]
    assert [each.id for each in chapters(replace(of, history=()))] == [_NEW]


def test_rows_name_state_times_and_the_line_that_tells_what_became_of_it() -> None:
    """That something was sent tells nothing of that."""
    old, new = incident_rows(_record())
    assert (old["state"], old["open"], old["last"], old["next_at"]) == (
        "refused",
        False,
        "refused: Paused: the mode is paused",
        None,
    )
    assert (new["state"], new["open"], new["next_at"]) == ("rebooted", True, "2026-11-23T02:15:07Z")


@pytest.mark.parametrize("state", State)
def test_story_says_what_an_open_incident_waits_for_whatever_its_state(state: State) -> None:
    """A node that is being replaced once had none, and nothing was told of it."""
    of = replace(_record(), incident=replace(incident(), id=_NEW, state=state))
    told = story(of, Budget("ml-a"), limit=20, settings=Settings(), now=NOW)
    assert told["incident"]["waits"].startswith("waits ")
    lines = [line.plain for line in text.explain({"at": "2026-11-23T02:14:07Z", "nodes": [told]})]
    assert any(told["incident"]["waits"] in line for line in lines)


def test_story_names_the_numbers_of_every_limit() -> None:
    budget = Budget("ml-a").charged(ago(2), 3)
    told = story(_record(), budget, limit=4, settings=Settings(), now=NOW)
    assert told["limits"] == {
        "reboots": 1,
        "max_reboots": 2,
        "reboots_window": "24h",
        "cooldown_until": "2026-11-23T02:42:07Z",
        "budget_spent": 3,
        "budget_limit": 4,
        "budget_window": "60m",
    }


def test_text_that_came_with_an_event_cannot_steer_a_terminal() -> None:
    """Neither a colour nor a new line."""
    line = (NOW, "refused: \x1b[31mred\r\nnext\x9b0m")
    told = story(replace(_record(), history=(line,)), Budget("ml-a"), limit=None, settings=Settings(), now=NOW)
    shown = "".join(each.plain for each in text.explain({"at": "2026-11-23T02:14:07Z", "nodes": [told]}))
    assert "refused:  [31mred next 0m" in shown
    assert not set(shown) & set("\x1b\x9b\r")
