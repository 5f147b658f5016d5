"""The mode over a real client with injected answers."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from node_remediation.lookup import LookupFailedError
from node_remediation.mode import ParameterMode
from tests.unit.fakes import NOW
from tests.unit.wire import Body, Reply, error, wired

NAME = "/hyperpod-node-remediation/mode"
ABSENT = error("ParameterNotFound", "")


def value(text: str | None) -> Reply:
    parameter = {"Name": NAME, "Type": "String"} | ({} if text is None else {"Value": text})
    return 200, {"Parameter": parameter}


@dataclass
class Switch:
    """A mode whose parameter an operator sets by `reply`; `later` moves the clock."""

    client: Any
    reply: Reply = ABSENT
    default: str = "active"
    now: datetime = NOW
    asked: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mode = ParameterMode(self.client, name=NAME, default=self.default, clock=lambda: self.now)

    def get(self) -> str:
        with wired(self.client, self._answer):
            return self.mode.get()

    def _answer(self, body: Body) -> Reply:
        self.asked.append(body)
        return self.reply

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def switch(environment: dict[str, str]) -> Switch:
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    return Switch(boto3.client("ssm", region_name="us-west-2", config=once))


def test_parameter_is_asked_for_by_its_name(switch: Switch) -> None:
    """Nothing is decrypted, so no key is needed."""
    switch.reply = value("observe")
    assert switch.get() == "observe"
    assert switch.asked == [{"Name": NAME}]


@pytest.mark.parametrize(("text", "mode"), [("active", "active"), ("observe", "observe"), ("paused", "paused"), (" Paused\n", "paused"), ("ACTIVE", "active")])  # fmt: skip  # noqa: E501
def test_value_is_the_mode(switch: Switch, text: str, mode: str) -> None:
    """As people type it."""
    switch.reply = value(text)
    assert switch.get() == mode


@pytest.mark.parametrize("text", ["", " ", "off", "activ", "active,observe", "pause", "🛑", "null"])
def test_value_that_is_no_mode_is_paused(switch: Switch, text: str) -> None:
    """Whoever wrote it wanted a change: when in doubt, nothing reboots."""
    switch.reply = value(text)
    assert switch.get() == "paused"


@pytest.mark.parametrize("default", ["active", "observe", "paused"])
def test_absent_parameter_is_the_setting(switch: Switch, default: str) -> None:
    """The stack names the parameter and does not create it."""
    switch.default = default
    switch.__post_init__()
    assert switch.get() == default


def test_absent_parameter_is_asked_for_once_a_minute(switch: Switch) -> None:
    """The usual case costs as little as the others; one that is made then counts within the minute."""
    assert switch.get() == "active"
    switch.reply = value("paused")
    switch.later(59)
    assert switch.get() == "active"
    assert len(switch.asked) == 1
    switch.later(1)
    assert switch.get() == "paused"


def test_value_is_remembered_for_at_most_a_minute(switch: Switch) -> None:
    """A pause works within it, and so does its end."""
    switch.reply = value("active")
    assert switch.get() == "active"
    switch.reply = value("paused")
    switch.later(59)
    assert switch.get() == "active"
    assert len(switch.asked) == 1
    switch.later(1)
    assert switch.get() == "paused"
    switch.reply = ABSENT
    switch.later(60)
    assert switch.get() == "active"


@pytest.mark.parametrize(
    "no",
    [
        error("AccessDeniedException", "not authorized"),
        error("ValidationException", "Invalid label"),
        error("ParameterVersionNotFound", ""),
    ],
    ids=str,
)
def test_parameter_that_may_not_be_read_is_paused(switch: Switch, no: Reply) -> None:
    """It may say so; and what is denied is asked for again, for it may be allowed soon."""
    switch.reply = no
    assert switch.get() == "paused"
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
    ],
    ids=str,
)
def test_passing_trouble_is_no_mode(switch: Switch, trouble: Reply) -> None:
    """Neither active nor paused: the messages come again, and then it is asked for again."""
    switch.reply = trouble
    with pytest.raises(LookupFailedError) as raised:
        switch.get()
    assert raised.value.error.passing
    switch.reply = value("observe")
    assert switch.get() == "observe"


def test_trouble_after_a_minute_is_not_the_last_mode(switch: Switch) -> None:
    """What was active a minute ago may be paused now."""
    switch.reply = value("active")
    assert switch.get() == "active"
    switch.reply = error("ThrottlingException")
    switch.later(61)
    with pytest.raises(LookupFailedError):
        switch.get()
