"""docs/scaling.md and its plot from the measurements. Pure."""

from collections.abc import Callable, Sequence

from bench import limits
from bench.limits import FAILURES, LATENCIES_MS, Limit, Pace
from bench.markdown import GENERATED, prose, table
from bench.plot import Panel, chart
from bench.results import Taken
from bench.scaling import BATCH, Point, Scaling
from bench.storm import Storm
from bench.targets import clusters_of

_SECONDS_PER_MINUTE = 60


def text(measured: Taken[Scaling], storms: Sequence[Storm]) -> str:
    scaling = measured.value
    parts = [
        f"# How it grows\n\n{GENERATED}",
        prose(f"""
Calls and time per report, measured by `make bench` on {measured.day} (x86-64 Linux, {measured.cores} cores): one warm
function on the real Lambda runtime, each call answered {scaling.latency_ms:.0f} ms after it came, later only if the
local AWS is slower. Every report is of another node, every node is rebooted."""),
        "![Calls and milliseconds per report against batch size, nodes per cluster, clusters per batch, reports in all]"
        "(scaling.svg)",
        _section("Batch size", "batch", scaling.by_batch, lambda point: point.batch, _batch_words(scaling)),
        _section(
            "Nodes per cluster",
            "nodes in the cluster",
            scaling.by_cluster_nodes,
            lambda point: point.cluster_nodes,
            f"Batches of {BATCH}; how large their cluster is besides.",
        ),
        _section(
            "Clusters per batch",
            "clusters",
            scaling.by_clusters,
            lambda point: point.clusters,
            f"Batches of {BATCH} over as many clusters, none of them looked up before: each adds a DescribeCluster, "
            "asked for beside the others, and a claim, a call and a record, one after another.",
        ),
        _section("Reports in all", "reports", scaling.by_total, lambda point: point.reports, _total_words(scaling)),
        f"## Carried on: a region-wide failure\n\n{_carried(scaling, storms)}",
        f"## What binds first\n\n{_binding(scaling)}",
    ]
    return "\n\n".join(parts) + "\n"


def plot(scaling: Scaling) -> str:
    """Calls above, time below."""
    sweeps: list[tuple[str, Sequence[Point], Callable[[Point], float]]] = [
        ("batch size", scaling.by_batch, lambda point: point.batch),
        ("nodes per cluster", scaling.by_cluster_nodes, lambda point: point.cluster_nodes),
        ("clusters per batch", scaling.by_clusters, lambda point: point.clusters),
        ("reports in all", scaling.by_total, lambda point: point.reports),
    ]
    rows = [
        [Panel(title, name, [(x(point), value(point)) for point in points]) for name, points, x in sweeps]
        for title, value in (("calls per report", _calls_per_report), ("ms per report", _ms_per_report))
    ]
    return chart(rows)


def _calls_per_report(point: Point) -> float:
    return point.calls_per_report


def _ms_per_report(point: Point) -> float:
    return point.ms_per_report


def _section(title: str, name: str, points: Sequence[Point], x: Callable[[Point], int], words: str) -> str:
    rows = [
        [
            f"{x(point):,}",
            f"{point.calls_per_report:.3f}",
            f"{point.calls.get('sagemaker:BatchRebootClusterNodes', 0) / point.reports:.3f}",
            f"{point.ms_per_report:.1f}",
            f"{point.writes / point.reports:.1f}",
            f"{point.largest_item:,}",
            f"{point.handed_back:,}",
        ]
        for point in points
    ]
    head = [
        name,
        "calls per report",
        "reboot calls",
        "ms per report",
        "write units",
        "largest item, bytes",
        "handed back",
    ]
    return f"## {title}\n\n{prose(words)}\n\n{table(head, rows)}"


def _batch_words(scaling: Scaling) -> str:
    by_size, by_time = limits.most_in_a_batch(scaling.by_batch[-1])
    return prose(f"""
One cluster. An invocation takes 6 MB, which is about {by_size:,} of these reports, and starts no call with less than
{limits.CALL_RESERVE_SECONDS} s left of its {limits.TIMEOUT_SECONDS}, which at the pace of the largest batch is after
about {by_time:,} nodes; what is left then is handed back and comes again.""")


def _total_words(scaling: Scaling) -> str:
    grows = limits.budget_bytes_per_call(scaling.by_total)
    most = limits.most_nodes_of_a_budget(scaling.by_total)
    return prose(f"""
Batches of {BATCH}, one after another, all of one cluster. Each reboot call adds {grows:.0f} bytes to the item of its
cluster's budget for as long as `budget_window`, so write units per report rise with what was rebooted before; the item
is full (400 KB) after about {most:,} nodes of one cluster in a window.""")


def _carried(scaling: Scaling, storms: Sequence[Storm]) -> str:
    going = limits.pace(scaling)
    rows = [_failure_row(reports, going) for reports in FAILURES]
    head = ["Reports", *(f"minutes at {latency} ms a call" for latency in LATENCIES_MS)]
    seen = "; ".join(
        f"{storm.reports / storm.seconds:,.0f} a second over {clusters_of(storm.clusters)}"
        for storm in storms
        if storm.build == "ours"
    )
    return prose(f"""
A batch of {BATCH} of one cluster makes {going.calls:.0f} calls, of which {going.reboot_calls:.0f} are reboots, and
takes {going.own_seconds * 1000:.0f} ms of its own on this machine. With `max_concurrency` {limits.MAX_CONCURRENCY}
and functions that do not hinder each other:

{table(head, rows)}

**Bold**: later than `max_report_age` ({limits.MAX_REPORT_AGE_SECONDS // 60} minutes), when reports that still wait
are refused as stale: not lost, but in the dead-letter queue, to be redriven. Functions do hinder each other at one
cluster's budget: the storms in [benchmarks.md](benchmarks.md), with everything on one machine, went at {seen}.

The budget binds before any quota, and is meant to: by default, of a cluster whose nodes all fail 20 % are rebooted in
an hour, the rest refused, reported, and redriven when people want it. What was measured here had a budget of 100 %.""")


def _failure_row(reports: int, going: Pace) -> list[str]:
    seconds = [reports / going.per_second(latency) for latency in LATENCIES_MS]
    minutes = [f"{each / _SECONDS_PER_MINUTE:,.1f}" for each in seconds]
    late = [each > limits.MAX_REPORT_AGE_SECONDS for each in seconds]
    return [f"{reports:,}", *(f"**{said}**" if is_late else said for said, is_late in zip(minutes, late, strict=True))]


def _binding(scaling: Scaling) -> str:
    found = limits.limits(scaling, scaling.latency_ms)
    rows = [[each.name, f"{each.per_second:,.0f}", each.remedy] for each in found]
    going = limits.pace(scaling)
    reboots = going.per_second(scaling.latency_ms) / BATCH * going.reboot_calls
    return prose(f"""
At {scaling.latency_ms:.0f} ms a call, the tightest first:

{table(["Quota or setting", "reports a second", "what a person sets"], rows)}

{_first(found[0])}

AWS publishes no rate for BatchRebootClusterNodes and DescribeCluster. At full pace five functions make {reboots:,.0f}
reboot calls a second; a throttled call is tried four times, then its reports come again after 30 s times their
receive count, and fail with AWS's code at the fifth. So if SageMaker throttles, lower `max_concurrency`. Far off:
{limits.IN_FLIGHT:,} messages in flight (`max_concurrency` times `batch_size`: {limits.MAX_CONCURRENCY * BATCH:,}), and
40 GetParameter a second (one a minute for each function).

What to set when a region fails: first decide whether reboots help at all; mode `observe` or `paused` takes effect
within a minute. If they do: `budget_percent` up for the clusters' sake, `max_concurrency` up for the pace, and
`max_report_age` up if the table above says that reports would wait longer; then redrive.""")


def _first(limit: Limit) -> str:
    return f"First: {limit.name}, at {limit.per_second:,.0f} reports a second; {limit.remedy}."
