"""Measures the time from an event on the bus to its reboot call, in the deployed stack with a warm function."""

import json
import time
from dataclasses import dataclass

from bench.reports import DETAIL_TYPE, SOURCE, SentReport, detail
from bench.tools import BenchError
from bench.world import Bench, BenchAccount, world
from node_remediation.settings import SWEEP_EVERY, Settings

EVENTS = 40
_PATIENCE_SECONDS = 60
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Latency:
    """Holds the setting `batch_window`, and each event's time to its reboot call, in seconds."""

    window_seconds: float
    seconds: tuple[float, ...]


def measure(bench: Bench, *, events: int = EVENTS) -> Latency:
    """Put one event after another: each opens a batching window of its own, which is the longest wait."""
    with world(bench, seconds=0, sweep_every=SWEEP_EVERY.total_seconds()) as stage:
        stage.delay_deployed()
        reports = stage.cluster(1 + events)
        found = [_seconds(stage, each, before) for before, each in enumerate(reports)]
    return Latency(Settings().batch_window.total_seconds(), tuple(found[1:]))  # the first was to warm the function


def _seconds(stage: BenchAccount, reported: SentReport, reboots: int) -> float:
    started = time.time()
    stage.aws.put_events({"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": json.dumps(detail(reported))})
    while time.time() < started + _PATIENCE_SECONDS:
        found = stage.aws.admin("GET", "/_local/hyperpod/reboots")
        if len(found) > reboots:
            return float(found[-1]["started"]) - started
        time.sleep(_POLL_SECONDS)
    raise BenchError(f"{reported.node} was not rebooted in {_PATIENCE_SECONDS} s: {stage.aws.log_tail()}")
