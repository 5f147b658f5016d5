"""The mode, as an operator sets it, over a real client with injected answers."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parameters import base
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from node_remediation.aws.errors import LookupFailedError
from node_remediation.aws.mode import ParameterMode
from node_remediation.policy.modes import ModeEntry
from tests.unit.wire import Body, Reply, error, wired

NAME = "/hyperpod-node-remediation/mode"
ABSENT = error("ParameterNotFound", "")


def value(text: str) -> Reply:
    return 200, {"Parameter": {"Name": NAME, "Type": "String", "Value": text}}


class Switch:
    """A parameter with a reply to each question, and a clock for Powertools' cache."""

    def __init__(self, client: Any, patch: pytest.MonkeyPatch, default: str = "active") -> None:
        self._client = client
        self._mode = ParameterMode(client, name=NAME, default=default)
        self.reply: Reply = ABSENT
        self.asked: list[Body] = []
        self.now = datetime(2026, 11, 23, 2, 14, 7)  # noqa: DTZ001  as Powertools reads its clock
        switch = self

        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
                return switch.now

        patch.setattr(base, "datetime", Clock)

    def get(self, *, fresh: bool = False) -> str:
        """Return the mode of any node."""
        return self.entry(fresh=fresh).word

    def entry(self, *, fresh: bool = False) -> ModeEntry:
        with wired(self._client, lambda _: self.reply) as sent:
            try:
                return self._mode.get(fresh=fresh).of("ml-a", "workers", self.now.replace(tzinfo=UTC))
            finally:
                self.asked += sent

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def client(make_client: Callable[..., Any]) -> Any:
    return make_client("ssm")


@pytest.fixture
def switch(client: Any, monkeypatch: pytest.MonkeyPatch) -> Switch:
    return Switch(client, monkeypatch)


@pytest.mark.parametrize(
    ("text", "mode"),
    [("active", "active"), ("observe", "observe"), ("paused", "paused"), (" Paused\n", "paused"), ("ACTIVE", "active")],
)
def test_value_is_the_mode(switch: Switch, text: str, mode: str) -> None:
    """As people type it."""
    switch.reply = value(text)
    assert switch.get() == mode
    assert [body["Name"] for body in switch.asked] == [NAME]


def test_end_of_a_remembered_entry_is_kept_to_the_second(switch: Switch) -> None:
    """What is remembered is the text."""
    switch.reply = value('{"ml-a": "paused until 2026-11-23T02:14:30Z"}')
    words = []
    for _ in range(3):
        words.append(switch.get())
        switch.later(22.9 if len(words) == 1 else 0.1)
    assert (words, len(switch.asked)) == (["paused", "paused", "active"], 1)


@pytest.mark.parametrize("text", ["", " ", "off", "activ", "active,observe", "pause", "🛑", "null"])
def test_value_that_is_no_mode_is_paused(switch: Switch, text: str) -> None:
    """Whoever wrote it wanted a change: when in doubt, nothing is rebooted."""
    switch.reply = value(text)
    assert switch.get() == "paused"


@pytest.mark.parametrize("default", ["active", "observe", "paused"])
def test_absent_parameter_is_the_setting(client: Any, monkeypatch: pytest.MonkeyPatch, default: str) -> None:
    """The stack names the parameter and does not create it."""
    assert Switch(client, monkeypatch, default).get() == default


@pytest.mark.parametrize(("first", "second"), [(ABSENT, value("paused")), (value("paused"), ABSENT)])
def test_answer_is_remembered_for_a_minute(switch: Switch, first: Reply, second: Reply) -> None:
    """Absence too, which is the usual case; a pause works within the minute, and so does its end."""
    switch.reply = first
    before = switch.get()
    switch.reply = second
    switch.later(60)
    assert switch.get() == before
    assert len(switch.asked) == 1
    switch.later(1)
    assert switch.get() == ("paused" if before == "active" else "active")


def test_fresh_mode_is_read_again_and_remembered(switch: Switch) -> None:
    """Resume, then redrive works at once."""
    switch.reply = value("paused")
    assert switch.get() == "paused"
    switch.reply = value("active")
    assert switch.get() == "paused"
    assert switch.get(fresh=True) == "active"
    asked = len(switch.asked)
    assert switch.get() == "active"
    assert len(switch.asked) == asked


@pytest.mark.parametrize(
    "no",
    [
        error("AccessDeniedException", "not authorized"),
        error("ValidationException", "Invalid label"),
        error("ParameterVersionNotFound", ""),
    ],
)
def test_parameter_that_may_not_be_read_is_paused(switch: Switch, no: Reply) -> None:
    """It says so; and it is asked for again each time, as it may be allowed soon."""
    switch.reply = no
    entry = switch.entry()
    assert (entry.word, entry.fault.split(":")[0]) == ("paused", "may not be read")
    switch.reply = value("active")
    assert switch.get() == "active"


@pytest.mark.parametrize(
    "trouble",
    [
        error("ThrottlingException", "Rate exceeded"),
        error("InternalServerError", "", 500),
        ReadTimeoutError(endpoint_url="x"),
        EndpointConnectionError(endpoint_url="x"),
        (200, b"{half an ans"),
        (200, {}),
        (200, {"Parameter": {}}),
    ],
)
def test_passing_trouble_is_no_mode(switch: Switch, trouble: Reply) -> None:
    """Neither active nor paused, nor what it was a minute ago: nothing is judged until it can be asked."""
    switch.reply = value("active")
    switch.get()
    switch.later(61)
    switch.reply = trouble
    with pytest.raises(LookupFailedError) as raised:
        switch.get()
    assert raised.value.error.passing
    switch.reply = value("observe")
    assert switch.get() == "observe"


def test_trouble_with_a_fresh_look_is_no_mode(switch: Switch) -> None:
    """A person asked: what is remembered would refuse them for a pause that may have ended."""
    switch.reply = value("paused")
    switch.get()
    switch.reply = error("ThrottlingException")
    with pytest.raises(LookupFailedError):
        switch.get(fresh=True)
    assert switch.get() == "paused"
