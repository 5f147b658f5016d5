"""Writes docs/scaling.md from the measurements. Pure."""

from collections.abc import Callable, Sequence

from bench import limits
from bench.limits import Pace
from bench.markdown import GENERATED, clusters_of, prose, table
from bench.results import Taken
from bench.scaling import BATCH, Point, Scaling
from bench.storm import Storms
from bench.world import LATENCY_SECONDS
from node_remediation.remediate import RESERVE
from node_remediation.settings import FUNCTION_TIMEOUT, MAX_RECEIVES, Settings, in_words

_LATENCIES_MS = (20, 50, 100)
_FAILURES = (10_000, 100_000, 1_000_000)
_HEAD = ("calls a report", "reboot calls", "ms a report", "write units", "largest item, bytes", "handed back")


def text(measured: Taken[Scaling], storms: Storms) -> str:
    """Return the document."""
    scaling = measured.value
    by_size, by_time = limits.most_in_a_batch(scaling.by_batch[-1])
    return f"""# How it grows

{GENERATED}

{
        prose(f'''
Calls and time for each report, measured by `make bench` on {measured.day} (x86-64 Linux, {measured.cores} cores): one
warm function on the real Lambda runtime, each call answered {LATENCY_SECONDS * 1000:.0f} ms after it came, later only
if the local AWS is slower. Every report is of another node, every node is rebooted. The clusters' NodeProvisioningMode
is Continuous: their nodes have two IDs, which the function looks up before the first reboot.''')
    }

## Batch size

{
        prose(f'''
One cluster. An invocation takes 6 MB, about {by_size:,} of these reports. It starts no call with less than
{RESERVE:.0f} s left of its {in_words(FUNCTION_TIMEOUT)}: at the pace of the largest batch, and with Lambda's share of a
core, that is after about {by_time:,} nodes. The nodes that are left wait for the sweep.''')
    }

{_table("batch", scaling.by_batch, lambda point: point.batch)}

## Nodes of a cluster

Batches of {BATCH}, in clusters of different sizes. A larger cluster has more pages of nodes to list.

{_table("nodes", scaling.by_cluster_nodes, lambda point: point.cluster_nodes)}

## Clusters in a batch

{
        prose(f'''
Batches of {BATCH} over as many clusters, none of them looked up before: each adds a DescribeCluster, a look-up of its
nodes' IDs, and a save, a reboot call and a record of the answer, one after another.''')
    }

{_table("clusters", scaling.by_clusters, lambda point: point.clusters)}

## Reports in all

{
        prose(f'''
Batches of {BATCH}, one after another, all of one cluster. What a cluster's budget item remembers is bounded, so it
stops growing.''')
    }

{_table("reports", scaling.by_total, lambda point: point.reports)}

## Carried on: a region-wide failure

{_carried(scaling, storms)}

## The tightest limit

{_binding(scaling)}
"""


def _table(name: str, points: Sequence[Point], size: Callable[[Point], int]) -> str:
    rows = [
        [
            f"{size(point):,}",
            f"{point.calls_per_report:.3f}",
            f"{point.calls.get(limits.REBOOT, 0) / point.reports:.3f}",
            f"{point.ms_per_report:.1f}",
            f"{point.writes / point.reports:.1f}",
            f"{point.largest_item:,}",
            f"{point.handed_back:,}",
        ]
        for point in points
    ]
    return table((name, *_HEAD), rows)


def _carried(scaling: Scaling, storms: Storms) -> str:
    going, settings = limits.pace(scaling), Settings()
    rows = [_failure_row(reports, going) for reports in _FAILURES]
    head = ["Reports", *(f"minutes at {latency} ms a call" for latency in _LATENCIES_MS)]
    seen = "; ".join(
        f"{storm.reports / storm.seconds:,.0f} a second over {clusters_of(storm.clusters)}"
        for storm in storms.storms
        if storm.build == "ours"
    )
    return prose(f"""
A batch of {BATCH} of one cluster makes {going.calls:.0f} calls, of which {going.reboot_calls:.0f} are reboots, and
takes {going.own_seconds * 1000:.0f} ms of its own with Lambda's share of a core. With `max_concurrency`
{limits.MAX_CONCURRENCY} and functions that do not hinder each other:

{table(head, rows)}

**Bold**: later than `max_report_age` ({in_words(settings.max_report_age)}), when reports that still wait are refused as
stale: they are in the dead-letter queue and can be redriven. Functions do hinder each other at one cluster's budget:
the storms in [benchmarks.md](benchmarks.md), with everything on one machine, went at {seen}.

The budget is meant to be reached before any quota: by default, {settings.budget_percent} % of a cluster's nodes are
rebooted in {in_words(settings.budget_window)}, the rest refused and reported. What was measured here had a budget of
100 %.""")


def _failure_row(reports: int, going: Pace) -> list[str]:
    seconds = [reports / going.per_second(latency / 1000) for latency in _LATENCIES_MS]
    late = [each > Settings().max_report_age.total_seconds() for each in seconds]
    minutes = [f"{each / 60:,.1f}" for each in seconds]
    return [f"{reports:,}", *(f"**{told}**" if is_late else told for told, is_late in zip(minutes, late, strict=True))]


def _binding(scaling: Scaling) -> str:
    found, going = limits.limits(scaling), limits.pace(scaling)
    rows = [[each.name, f"{each.per_second:,.0f}", each.remedy] for each in found]
    reboots = going.per_second(LATENCY_SECONDS) / BATCH * going.reboot_calls
    return prose(f"""
At {LATENCY_SECONDS * 1000:.0f} ms a call, the tightest first:

{table(["Quota or setting", "reports a second", "what an operator can do"], rows)}

AWS publishes no rate for BatchRebootClusterNodes and DescribeCluster. At full pace {limits.MAX_CONCURRENCY} functions
make {reboots:,.0f} reboot calls a second. A throttled call is tried four times; then its nodes are judged again after
30 s, 60 s and so on, until `max_report_age`, when they fail with AWS's code. So if SageMaker throttles, lower
`max_concurrency`. Far off: {limits.IN_FLIGHT:,} messages in flight (`max_concurrency` times `batch_size`:
{limits.MAX_CONCURRENCY * BATCH:,}), and 40 GetParameter a second (one a minute for each function). A message comes
again at most {MAX_RECEIVES - 1} times.

What to set when a region fails: first decide whether reboots help at all; mode `observe` or `paused` takes effect
within a minute. If they do: `budget_percent` up for the clusters' sake, `max_concurrency` up for the pace, and
`max_report_age` up if the table above says that reports would wait longer; then redrive.""")
