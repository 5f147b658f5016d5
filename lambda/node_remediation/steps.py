"""The steps that leave something behind, in their order: between any two of them the function may be killed."""

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """What is about to be done."""

    CLAIM = "claim"
    CALL = "call"
    RECORD = "record"
    END = "end"
    DEAD_LETTER = "dead letter"
    PUBLISH = "publish"
    SEND_ON = "send on"
    SETTLE = "settle"
    ACKNOWLEDGE = "acknowledge"


OnStep = Callable[[Step], None]


def unwatched(_: Step) -> None:
    """Nobody looks on."""
