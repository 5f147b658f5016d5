"""Plans what happens in a run of chaos: the same seed gives the same plan. Pure."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ACTS_PER_SECOND = 6.0
# Nodes of each cluster that have an alarm of their own, a series of an alarm, or a part in a composite alarm.
SINGLE, CHILDREN, BEATS, SERIES = range(3), range(3, 5), range(5, 6), range(6, 10)
_HOT_NODES = 8
_LATE_SECONDS = 10
_ENDINGS: Sequence[tuple[int, Mapping[str, Any]]] = (
    (40, {}),
    (15, {"says_so": False}),
    (15, {"ends": "stays_sick"}),
    (10, {"ends": "stays_sick", "says_so": True}),
    (6, {"ends": "replaced"}),
    (6, {"ends": "replaced", "lag_seconds": 3, "pending_seconds": 1}),
    (8, {"ends": "stuck"}),
)
_FAILURES: Sequence[tuple[int, Mapping[str, Any]]] = (
    (4, {"in_use_seconds": 3}),
    (2, {"fail": {"code": "InternalServerError", "times": 1}}),
    (1, {"fail": {"code": "InternalServerError", "times": 1, "listed": 2}}),
    (1, {"fail": {"code": "InternalServerError", "times": 1, "rebooted": True}}),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Describes a cluster to act on; `repairs`: HyperPod repairs its nodes by itself."""

    name: str
    nodes: int
    continuous: bool = True
    repairs: bool = False


@dataclass(frozen=True, slots=True)
class Act:
    """Names what happens `at` seconds after the start: a method of the stage, and its arguments."""

    at: float
    do: str
    what: Mapping[str, Any]


def plan(seed: int, seconds: float, places: Sequence[Place]) -> list[Act]:
    """Return what happens, in its order."""
    dice = random.Random(seed)
    kinds, weights = list(_KINDS), [weight for weight, _ in _KINDS.values()]
    times = sorted(dice.uniform(0, seconds) for _ in range(int(seconds * ACTS_PER_SECOND)))
    return [_act(dice, at, dice.choices(kinds, weights)[0], dice.choice(places)) for at in times]


def _act(dice: random.Random, at: float, kind: str, place: Place) -> Act:
    return Act(at, kind, {"cluster": place.name, **_KINDS[kind][1](dice, place)})


def _node(dice: random.Random, place: Place) -> int:
    """Choose a node: half of the times one of a few, so that complaints about it meet."""
    return dice.randrange(min(_HOT_NODES, place.nodes) if dice.random() < 0.5 else place.nodes)  # noqa: PLR2004  # half


def _pick(dice: random.Random, choices: Sequence[tuple[int, Mapping[str, Any]]]) -> Mapping[str, Any]:
    return dice.choices([what for _, what in choices], [weight for weight, _ in choices])[0]


def _breaks(dice: random.Random, place: Place) -> dict[str, Any]:
    node = {"node": _node(dice, place), "reboot": _pick(dice, _ENDINGS)}
    if place.repairs and dice.random() < 0.5:  # noqa: PLR2004  # half
        repair = {"after_seconds": 1, "seconds": 2, "ends": dice.choice(("recovers", "replaced", "stuck"))}
        return node | {"repair_action": "Replace", "repair": repair}
    return node | {"repair_action": dice.choice(("None", "None", "None", "Reboot", "Replace", None))}


def _says(dice: random.Random, place: Place) -> dict[str, Any]:
    """Plan an event that may be late, or earlier in its order than the events before it."""
    status = dice.choice(("Unhealthy", "Unhealthy", "Healthy", "Marker"))
    return {"node": _node(dice, place), "status": status, "late": dice.choice((0, 0, dice.randrange(_LATE_SECONDS)))}


def _event(dice: random.Random, place: Place) -> dict[str, Any]:
    by_logical_id = place.continuous and dice.random() < 0.7  # noqa: PLR2004  # most
    return {"node": _node(dice, place), "by_logical_id": by_logical_id, "late": dice.randrange(_LATE_SECONDS // 2)}


def _request(dice: random.Random, place: Place) -> dict[str, Any]:
    nodes = sorted({_node(dice, place) for _ in range(dice.randint(1, 4))})
    return {"nodes": nodes, "by_logical_id": place.continuous and dice.random() < 0.5}  # noqa: PLR2004  # half


def _series(dice: random.Random, _place: Place) -> dict[str, Any]:
    return {"nodes": sorted(dice.sample(SERIES, dice.randint(0, len(SERIES) - 1)))}


def _state(numbers: Sequence[int]) -> Callable[[random.Random, Place], dict[str, Any]]:
    def choose(dice: random.Random, _place: Place) -> dict[str, Any]:
        return {"number": dice.choice(numbers), "state": dice.choice(("ALARM", "ALARM", "OK", "INSUFFICIENT_DATA"))}

    return choose


_KINDS: Mapping[str, tuple[int, Callable[[random.Random, Place], dict[str, Any]]]] = {
    "breaks": (28, _breaks),
    "heals": (8, lambda dice, place: {"node": _node(dice, place)}),
    "says": (16, _says),
    "event": (8, _event),
    "alarm": (12, _state(SINGLE)),
    "child": (8, _state([*CHILDREN, *BEATS])),
    "series": (6, _series),
    "request": (8, _request),
    "again": (14, lambda dice, _place: {"draw": dice.random()}),
    "fails": (8, lambda dice, place: {"node": _node(dice, place), **_pick(dice, _FAILURES)}),
    "replaces": (2, lambda dice, place: {"node": _node(dice, place), "lag_seconds": dice.choice((0, 3))}),
    "nonsense": (3, lambda dice, place: {"node": _node(dice, place), "draw": dice.randrange(3)}),
}
