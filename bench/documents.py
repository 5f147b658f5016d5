"""Writes the measurements into docs/benchmarks.md and docs/scaling.md. Pure.

The documents' text is written by hand. Each block between `<!-- measured: NAME -->` and `<!-- end -->` is a table from
here.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, TypeAlias, TypeVar

from bench import cost, limits
from bench.cold import WARM_EVENTS, Cold, Start
from bench.cost import Use
from bench.latency import Latency
from bench.results import Taken
from bench.rie import CPU_SHARE, on_lambda
from bench.scaling import BATCH, Point, Scaling
from bench.storm import Storm, Storms
from bench.sweep import Sweep, Sweeps
from bench.targets import Measured, clusters_of, judged, percentile
from bench.tools import NAIVE, NAIVE_COMPILED, OURS, BenchError
from bench.world import LATENCY_SECONDS
from node_remediation.aws.hyperpod import MOST_NODES_PER_CALL
from node_remediation.remediate import NODES_PER_WRITE, RESERVE
from node_remediation.settings import FUNCTION_MEMORY_MB, FUNCTION_TIMEOUT, SHARDS, Settings, in_words

Value = TypeVar("Value")
Columns: TypeAlias = Mapping[str, Callable[[Value], str]]
_BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_REBOOT = "sagemaker:BatchRebootClusterNodes"
_MONTHS = (100, 10_000, 1_000_000)
_COST_BATCHES = (1, 25)
_LATENCIES_MS = (20, 50, 100)
_FAILURES = (10_000, 100_000, 1_000_000)
_STARTS: Sequence[tuple[str, Callable[[Start], Sequence[float]], int]] = (
    ("init, ms", lambda start: [start.init_ms], 0),
    ("first event, ms", lambda start: [start.first_ms], 0),
    ("init and first event, ms", lambda start: [start.init_ms + start.first_ms], 0),
    ("warm event, ms", lambda start: start.warm_ms, 0),
    ("peak memory, MB", lambda start: [start.peak_bytes / 1e6], 1),
)


def filled(document: str, blocks: Mapping[str, str]) -> str:
    """Return the document with these blocks. Raises BenchError unless it has a place for each, and no other."""
    places = [name for _, name, _ in _BLOCK.findall(document)]
    if sorted(places) != sorted(blocks):
        raise BenchError(f"the document has the blocks {', '.join(places)}, measured were {', '.join(blocks)}")
    return _BLOCK.sub(lambda found: f"{found[1]}\n{blocks[found[2]]}\n\n{found[3]}", document)


def benchmarks(taken: Taken[Measured], scaling: Scaling) -> dict[str, str]:
    """Return the blocks of docs/benchmarks.md."""
    measured = taken.value
    full, empty = measured.sweep.full, _median_sweep(measured.sweep.idle)
    look = Use.of([each.work for each in full], parts=sum(each.looked_at for each in full))
    sweep = Use.of([empty.work], parts=1)
    uses = [_use(next(point for point in scaling.by_batch if point.batch == batch)) for batch in _COST_BATCHES]
    idle = cost.month(0, each=uses[0], look=look, sweep=sweep)
    targets = [
        [each.what, f"{each.bound:,.{each.digits}f}", f"{each.value:,.{each.digits}f}", each.verdict]
        for each in judged(measured, idle)
    ]
    return {
        "setup": _setup(taken),
        "targets": table(["At most", "target", "measured", "result"], targets),
        "cold": _cold(measured.cold),
        "latency": _latency(measured.latency),
        "storms": _storms(measured.storm),
        "sweeps": _sweeps(measured.sweep),
        "cost": _cost(idle, uses, look, sweep),
    }


def growth(taken: Taken[Scaling], storms: Storms) -> dict[str, str]:
    """Return the blocks of docs/scaling.md."""
    scaling = taken.value
    found = [[name, f"{per_second:,.0f}", remedy] for name, per_second, remedy in limits.limits(scaling)]
    return {
        "setup": table(["Measured", "with"], _machine(taken)),
        "batch": _points("batch", scaling.by_batch, lambda point: point.batch),
        "bounds": _bounds(scaling),
        "nodes": _points("nodes", scaling.by_cluster_nodes, lambda point: point.cluster_nodes),
        "clusters": _points("clusters", scaling.by_clusters, lambda point: point.clusters),
        "total": _points("reports", scaling.by_total, lambda point: point.reports),
        "pace": _pace(scaling, storms),
        "failure": _failure(scaling),
        "limits": table(["Quota or setting", "reports a second", "what an operator can do"], found),
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in GitHub's form."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _columns(columns: Columns[Value], rows: Iterable[Value]) -> str:
    return table(list(columns), [[column(row) for column in columns.values()] for row in rows])


def ranged(values: Iterable[float], digits: int = 0) -> str:
    """Return the median and, in brackets, the range around it."""
    found = sorted(values)
    return f"{median(found):,.{digits}f} ({found[0]:,.{digits}f} to {found[-1]:,.{digits}f})"


def listed(counts: Mapping[str, int]) -> str:
    """Return `Operation 3`, the most frequent first."""
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name.partition(':')[2] or name} {count:,}" for name, count in shown)


def _machine(taken: Taken[Any]) -> list[list[str]]:
    return [
        ["last on", f"{taken.day}, x86-64 Linux, {taken.cores} cores"],
        ["each AWS call answered after", f"{LATENCY_SECONDS * 1000:.0f} ms"],
        ["function's memory, timeout", f"{FUNCTION_MEMORY_MB:,} MB, {in_words(FUNCTION_TIMEOUT)}"],
        ["share of a core that Lambda gives", f"{CPU_SHARE:.0%}"],
        ["nodes in a reboot call, in a write", f"{MOST_NODES_PER_CALL}, {NODES_PER_WRITE}"],
    ]


def _setup(taken: Taken[Measured]) -> str:
    settings = Settings()
    rows = [
        ["cold starts of each build, warm events after each", f"{len(taken.value.cold.of(OURS))}, {WARM_EVENTS}"],
        ["AWS calls of a first event", f"{taken.value.cold.of(OURS)[0].calls}"],
        ["`batch_size`, `batch_window`", f"{settings.batch_size}, {in_words(settings.batch_window)}"],
        ["`max_concurrency`", f"{settings.max_concurrency}"],
        ["shards of the index", f"{SHARDS}"],
    ]
    return table(["Measured", "with"], [*_machine(taken), *rows])


def _cold(cold: Cold) -> str:
    builds = (OURS, NAIVE, NAIVE_COMPILED)
    rows = []
    for name, values, digits in _STARTS:
        found = [[value for start in cold.of(build) for value in values(start)] for build in builds]
        ratios = [f"{median(found[0]) / median(each):.2f}" for each in found[1:]]
        rows.append([name, *(ranged(each, digits) for each in found), *ratios])
    for name, size in (("asset zipped, MB", "zipped_bytes"), ("asset unpacked, MB", "unpacked_bytes")):
        sizes = [getattr(cold.size(build), size) / 1e6 for build in builds]
        rows.append([name, *(f"{each:.1f}" for each in sizes), *(f"{sizes[0] / each:.2f}" for each in sizes[1:])])
    return table(["Median (range)", *builds, f"ours / {NAIVE}", f"ours / {NAIVE_COMPILED}"], rows)


def _latency(latency: Latency) -> str:
    seconds = latency.seconds
    found = (median(seconds), percentile(seconds, 0.95), max(seconds), median(seconds) - latency.window_seconds)
    head = ["events", "median, s", "95th percentile, s", "longest, s", "median without the window, s"]
    return table(head, [[f"{len(seconds)}", *(f"{each:.2f}" for each in found)]])


def _storms(storms: Storms) -> str:
    columns: Columns[Storm] = {
        "Over": lambda storm: clusters_of(storm.clusters),
        "build": lambda storm: storm.build,
        "reports": lambda storm: f"{storm.reports:,}",
        "nodes": lambda storm: f"{storm.nodes:,}",
        "seconds": lambda storm: f"{storm.seconds:,.0f}",
        "reports/s": lambda storm: f"{storm.reports / storm.seconds:,.0f}",
        "calls a report": lambda storm: f"{storm.calls_per_report:.2f}",
        "lost": lambda storm: f"{storm.lost}",
        "rebooted twice": lambda storm: f"{storm.rebooted_twice}",
        "told twice": lambda storm: f"{storm.told_twice}",
        "dead letters": lambda storm: f"{storm.dead_letters}",
        "outcomes": lambda storm: listed(storm.outcomes),
        "calls": lambda storm: listed(storm.calls),
    }
    return _columns(columns, storms.storms)


def _sweeps(sweeps: Sweeps) -> str:
    numbers = {id(each): f"{number}. of {sweeps.nodes:,} due" for number, each in enumerate(sweeps.full, start=1)}
    columns: Columns[Sweep] = {
        "Sweep": lambda sweep: numbers.get(id(sweep), "finds nothing (median)"),
        "nodes looked at": lambda sweep: f"{sweep.looked_at:,}",
        "calls": lambda sweep: f"{sweep.work.total_calls:,}",
        "seconds": lambda sweep: f"{sweep.work.seconds:.2f}",
        "of them work": lambda sweep: f"{sweep.work.cpu_seconds:.2f}",
        "write units": lambda sweep: f"{sweep.work.writes:,}",
        "read units": lambda sweep: f"{sweep.work.reads:,.0f}",
        "memory, MB": lambda sweep: f"{sweep.work.peak_bytes / 1e6:.0f}",
        "calls by operation": lambda sweep: listed(sweep.work.calls),
    }
    return _columns(columns, [_median_sweep(sweeps.idle), *sweeps.full])


def _median_sweep(sweeps: Sequence[Sweep]) -> Sweep:
    return sorted(sweeps, key=lambda sweep: sweep.work.seconds)[len(sweeps) // 2]


def _cost(idle: Mapping[str, float], uses: Sequence[Use], look: Use, sweep: Use) -> str:
    rows = [("nothing", idle)]
    for reports in _MONTHS:
        for use in uses:
            how = "each alone" if use.reports == 1 else f"in batches of {use.reports}"
            rows.append((f"{reports:,}, {how}", cost.month(reports, each=use, look=look, sweep=sweep)))
    shown = [
        [what, *(f"{each:,.2f}" for each in month.values()), f"**{sum(month.values()):,.2f}**"] for what, month in rows
    ]
    return table(["Reports a month", *idle, "**US dollars**"], shown)


def _use(point: Point) -> Use:
    """Return one invocation of a point, as long as it would take on Lambda."""
    work = replace(point.work, seconds=on_lambda(point.work.seconds, point.work.cpu_seconds))
    return Use.of([work], parts=point.reports / point.batch, reports=point.batch)


def _points(name: str, points: Sequence[Point], size: Callable[[Point], int]) -> str:
    columns: Columns[Point] = {
        name: lambda point: f"{size(point):,}",
        "calls a report": lambda point: f"{point.work.total_calls / point.reports:.3f}",
        "reboot calls": lambda point: f"{point.work.calls.get(_REBOOT, 0) / point.reports:.3f}",
        "ms a report": lambda point: f"{point.work.seconds * 1000 / point.reports:.1f}",
        "write units": lambda point: f"{point.work.writes / point.reports:.1f}",
        "largest item, bytes": lambda point: f"{point.work.largest_item:,}",
        "handed back": lambda point: f"{point.work.handed_back:,}",
    }
    return _columns(columns, points)


def _bounds(scaling: Scaling) -> str:
    by_size, by_time = limits.most_in_a_batch(scaling.by_batch[-1])
    rows = [
        [f"payload of {limits.PAYLOAD_BYTES / 2**20:.0f} MB", f"{by_size:,} reports"],
        [f"time until {RESERVE:.0f} s are left, when the last call starts", f"{by_time:,} nodes"],
    ]
    return table(["An invocation is bounded by its", "at about"], rows)


def _pace(scaling: Scaling, storms: Storms) -> str:
    going, per_second = limits.pace(scaling), limits.pace(scaling).per_second(LATENCY_SECONDS)
    rows = [
        [f"a batch of {BATCH}: calls", f"{going.calls:.0f}"],
        [f"a batch of {BATCH}: own work on Lambda's share of a core", f"{going.own_seconds * 1000:.0f} ms"],
        [f"{limits.MAX_CONCURRENCY} functions that do not hinder each other", f"{per_second:,.0f} reports a second"],
    ]
    rows += [
        [f"storm over {clusters_of(each.clusters)}, on one machine", f"{each.reports / each.seconds:,.0f} a second"]
        for each in storms.storms
        if each.build == OURS
    ]
    return table(["Pace", "measured"], rows)


def _failure(scaling: Scaling) -> str:
    rows = [[f"{reports:,}", *(_minutes(reports, scaling, each) for each in _LATENCIES_MS)] for reports in _FAILURES]
    return table(["Reports", *(f"minutes at {latency} ms a call" for latency in _LATENCIES_MS)], rows)


def _minutes(reports: int, scaling: Scaling, latency_ms: int) -> str:
    """Return how long so many reports take, in bold if the last ones become stale."""
    seconds = reports / limits.pace(scaling).per_second(latency_ms / 1000)
    shown = f"{seconds / 60:,.1f}"
    return f"**{shown}**" if seconds > Settings().max_report_age.total_seconds() else shown
