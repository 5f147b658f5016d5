"""Writes docs/benchmarks.md from the measurements. Pure."""

from collections.abc import Callable, Sequence
from statistics import median

from bench import cost
from bench.builds import NAIVE, NAIVE_COMPILED, OURS
from bench.cold import WARM_EVENTS, Cold, Start
from bench.cost import Month, Use
from bench.latency import Latency
from bench.markdown import GENERATED, clusters_of, listed, prose, ranged, table
from bench.results import Taken
from bench.rie import CPU_SHARE, on_lambda_ms
from bench.scaling import Point, Scaling
from bench.storm import Storms
from bench.sweep import Sweep, Sweeps
from bench.targets import Measured, Target, judged, percentile
from bench.world import LATENCY_SECONDS
from node_remediation.aws.hyperpod import MOST_NODES_PER_CALL
from node_remediation.remediate import NODES_PER_WRITE
from node_remediation.settings import FUNCTION_MEMORY_MB, SHARDS, Settings

_MONTHS = (100, 10_000, 1_000_000)
_COST_BATCHES = (1, 25)
_VALUES: Sequence[tuple[str, Callable[[Start], Sequence[float]], int]] = (
    ("init, ms", lambda start: [start.init_ms], 0),
    ("first event, ms", lambda start: [start.first_ms], 0),
    ("init and first event, ms", lambda start: [start.init_ms + start.first_ms], 0),
    ("warm event, ms", lambda start: start.warm_ms, 0),
    ("peak memory, MB", lambda start: [start.peak_bytes / 1e6], 1),
)


def text(taken: Taken[Measured], scaling: Scaling) -> str:
    """Return the document."""
    measured = taken.value
    look, sweep = _look(measured.sweep), _idle(measured.sweep)
    uses = [_use(next(point for point in scaling.by_batch if point.batch == batch)) for batch in _COST_BATCHES]
    idle = cost.month(0, each=uses[0], look=look, sweep=sweep)
    targets = judged(measured, idle)
    parts = [
        f"# Benchmarks\n\n{GENERATED}",
        _how(taken),
        f"## Targets\n\n{_verdict(targets)}\n\n{_targets(targets)}",
        f"## Cold start, warm events, memory, size\n\n{_cold(measured.cold)}",
        f"## From an event to its reboot call\n\n{_latency(measured.latency)}",
        f"## A storm\n\n{_storms(measured.storm)}",
        f"## Sweeps\n\n{_sweeps(measured.sweep)}",
        f"## Cost\n\n{_cost(idle, uses, look, sweep)}",
    ]
    return "\n\n".join(parts) + "\n"


def _how(taken: Taken[Measured]) -> str:
    rounds = len(taken.value.cold.of(OURS))
    return prose(f"""
The function against a naive build of it, measured by `make bench`, last on {taken.day} (x86-64 Linux, {taken.cores}
cores; `make bench ARGS="cold report"` takes a part). Absolute times are this machine's; ratios are what to read.

- **Runtime:** Lambda's own Python 3.13 with the runtime interface client, run by the runtime interface emulator; init
  and durations are the emulator's, memory is the process's `VmHWM`. Processor time is as much as the function wants,
  in sweeps {CPU_SHARE:.0%} of a core, as Lambda gives it at {FUNCTION_MEMORY_MB:,} MB. The latency and the storms are
  of the deployed stack, on the local AWS's own runtime.
- **AWS:** the local AWS on this machine. For cold starts, sweeps and growth it is behind TLS and answers a call
  {LATENCY_SECONDS * 1000:.0f} ms after it came, later only where it is slower itself; handshakes are not delayed. For
  the latency and in storms each call of the ledger, SageMaker, SSM and SNS waits as long before it is carried out.
  Both are the same for all builds.
- **ours:** the asset as it is deployed, batches.
- **naive:** the product's own code, copied to Powertools with tracer, parser and batch as pip leaves them, the whole
  SDK, no `.pyc`; one event and one call in each invocation. The emulator hands on no trace header, so the tracer
  records nothing.
- **naive + .pyc:** the same, compiled for the runtime: not what the targets are about, but the gain of that step alone.
- **Rounds:** {rounds}, in each all builds in turn, each in a new process, beginning with another build than the round
  before; after one round that is not counted (files are in memory then, which hides that a larger asset also takes
  longer to load).""")


def _verdict(targets: Sequence[Target]) -> str:
    missed = [target for target in targets if not target.met]
    if not missed:
        return f"All {len(targets)} are reached."
    return prose(f"{len(missed)} of {len(targets)} missed: {'; '.join(target.what for target in missed)}.")


def _targets(targets: Sequence[Target]) -> str:
    rows = [
        [each.what, f"{each.bound:,.{each.digits}f}", f"{each.value:,.{each.digits}f}", each.verdict]
        for each in targets
    ]
    return table(["At most", "target", "measured", ""], rows)


def _cold(cold: Cold) -> str:
    builds = (OURS, NAIVE, NAIVE_COMPILED)
    rows = []
    for name, values, digits in _VALUES:
        found = [[value for start in cold.of(build) for value in values(start)] for build in builds]
        ratios = [f"{median(found[0]) / median(each):.2f}" for each in found[1:]]
        rows.append([name, *(ranged(each, digits) for each in found), *ratios])
    for name, size in (("asset zipped, MB", "zipped_bytes"), ("asset unpacked, MB", "unpacked_bytes")):
        sizes = [getattr(cold.size(build), size) / 1e6 for build in builds]
        rows.append([name, *(f"{each:.1f}" for each in sizes), *(f"{sizes[0] / each:.2f}" for each in sizes[1:])])
    head = ["Median (range)", *builds, f"ours / {NAIVE}", f"ours / {NAIVE_COMPILED}"]
    return prose(f"""
{table(head, rows)}

The first event makes {cold.of(OURS)[0].calls} calls, one after another; a warm event is one of {WARM_EVENTS} that
follow. The ratios count the waiting on both sides. As a sweep runs every minute, most events meet a warm function.""")


def _latency(latency: Latency) -> str:
    return prose(f"""
In the deployed stack, with `batch_window` {latency.window_seconds:.0f}s and a warm function, {len(latency.seconds)}
events one after another, each of which opens a window of its own: median {median(latency.seconds):.2f} s, 95th
percentile {percentile(latency.seconds, 0.95):.2f} s, longest {max(latency.seconds):.2f} s. All but
{median(latency.seconds) - latency.window_seconds:.2f} s of the median is the window.""")


def _storms(storms: Storms) -> str:
    rows, calls = [], []
    for storm in storms.storms:
        where = clusters_of(storm.clusters)
        numbers = (storm.reports, storm.nodes, storm.seconds, storm.reports / storm.seconds)
        counts = (storm.lost, storm.rebooted_twice, storm.told_twice, storm.dead_letters)
        shown = [*(f"{each:,.0f}" for each in numbers), f"{storm.calls_per_report:.2f}", *map(str, counts)]
        rows.append([where, storm.build, *shown])
        calls.append(f"- {where}, {storm.build}: {listed(storm.outcomes)}. Calls: {listed(storm.calls)}.")
    counted = ["lost", "rebooted twice", "told twice", "dead letters"]
    head = ["Over", "build", "reports", "nodes", "seconds", "reports/s", "calls a report", *counted]
    return prose(f"""
All messages wait in the intake queue of the deployed stack, each node reported twice, in no order. Then the queue is
read, up to {Settings().max_concurrency} invocations at once, batches of {Settings().batch_size} (naive: of one), while
a sweep runs every minute (naive: none). Budgets let every node through. The nodes have two IDs (NodeProvisioningMode
Continuous), which the function looks up: clusters without cost fewer calls. *Lost*: reports without an outcome in the
log; *rebooted twice*: by the simulated HyperPod's own count; *told twice*: reports with more than one outcome. The
calls of Lambda's pollers to the queue are not counted.

{table(head, rows)}

{chr(10).join(calls)}

A batch reads its nodes and their clusters' budgets; for each cluster, {NODES_PER_WRITE} nodes at a time, it saves the
claims, calls for up to {MOST_NODES_PER_CALL}, and records the answers. Invocations that write one cluster's budget,
or the same node, at the same time find that another was first, then read and decide again: all beyond that minimum is
this. Claims of several clusters are not put into one write: a claim is saved just before its call, so that a function
that dies leaves few nodes claimed and not called.""")


def _sweeps(sweeps: Sweeps) -> str:
    rows = [["finds nothing (median)", "0", *_sweep_row(_median_sweep(sweeps.idle))]]
    rows += [
        [f"{number}. of {sweeps.nodes:,} due", f"{each.looked_at:,}", *_sweep_row(each)]
        for number, each in enumerate(sweeps.full, start=1)
    ]
    head = ["Sweep", "nodes looked at", "calls", "seconds", "of them work", "write units", "read units", "memory, MB"]
    calls = "\n".join(f"- {number}.: {listed(each.calls)}." for number, each in enumerate(sweeps.full, start=1))
    return prose(f"""
{sweeps.nodes:,} nodes of {sweeps.clusters} clusters were rebooted at the same moment and are due for their first look;
HyperPod complained about each, and about every second one an alarm of its own as well. Each sweep has
{CPU_SHARE:.0%} of a core.

{table(head, rows)}

{calls}

A sweep asks the {SHARDS} shards of the index, reads what is due 100 items at a time, and for each cluster its facts,
its nodes and their alarms; the looks are saved {NODES_PER_WRITE} at a time. It stops when too little time is left for
another call; the next one, a minute later, finds the rest.""")


def _sweep_row(sweep: Sweep) -> list[str]:
    return [
        f"{sweep.total_calls:,}",
        f"{sweep.seconds:.2f}",
        f"{sweep.cpu_seconds:.2f}",
        f"{sweep.writes:,}",
        f"{sweep.reads:,.0f}",
        f"{sweep.peak_bytes / 1e6:.0f}",
    ]


def _median_sweep(sweeps: Sequence[Sweep]) -> Sweep:
    return sorted(sweeps, key=lambda sweep: sweep.seconds)[len(sweeps) // 2]


def _cost(idle: Month, uses: Sequence[Use], look: Use, sweep: Use) -> str:
    rows = [_cost_row("nothing", idle)]
    for reports in _MONTHS:
        for use in uses:
            how = "each alone" if use.reports == 1 else f"in batches of {use.reports}"
            rows.append(_cost_row(f"{reports:,}, {how}", cost.month(reports, each=use, look=look, sweep=sweep)))
    parts = ["function", "queues", "ledger", "logs", "schedule", "failures", "key", "metrics, alarm"]
    head = ["Reports a month", *parts, "**US dollars**"]
    return prose(f"""
A month of {cost.HOURS} hours, from the measurements above and list prices: {cost.SWEEPS:,} sweeps, each of which asks
the index {SHARDS} times, and the reports. Every report is taken for a reboot with {cost.LOOKS} looks after it: as many
as the defaults make where nobody reports health, each at its part of the large sweeps above. A storm lies between
*alone* and *in batches*.

{table(head, rows)}

Assumptions (US East, no free tier, what AWS lists; check before relying on it): Lambda arm64 {cost.LAMBDA_GB_SECOND}
per GB-second at {FUNCTION_MEMORY_MB:,} MB and 0.20 per million requests; SQS 0.40, DynamoDB writes 0.625 and reads
0.125 (transactions twice, and two more writes where an item's place in the index changes), SNS 0.50 per million; mail
2.00 per 100,000; logs 0.50 per GB; a metric 0.30 a month, by the hour in which it has values; key 1.00 and 0.03 per
10,000 uses; alarm 0.10; a scheduled event is taken for a custom one, 1.00 per million. EventBridge takes nothing for
AWS's own events, SSM nothing for a standard parameter. {cost.CLUSTERS} clusters with {cost.METRICS_PER_CLUSTER}
metrics each, and {cost.SWEEP_METRICS} of the sweep; {cost.FAILING_SHARE:.0%} of the reports fail and are mailed to
one person; the queue is polled by {cost.POLLERS} pollers without a pause: that is *queues* in the row *nothing*.
Storage of the ledger and of logs is left out: cents.""")


def _cost_row(what: str, each: Month) -> list[str]:
    parts = (each.function, each.queues, each.ledger, each.logs, each.schedule, each.failures, each.key, each.watching)
    return [what, *(f"{part:,.2f}" for part in parts), f"**{each.total:,.2f}**"]


def _use(point: Point) -> Use:
    """Return one invocation of a point, as long as it would take on Lambda."""
    times = point.reports / point.batch
    return Use(
        seconds=on_lambda_ms(point.seconds, point.cpu_seconds) / times,
        writes=point.writes / times,
        reads=point.reads / times,
        log_bytes=point.log_bytes / times,
        reports=point.batch,
    )


def _idle(sweeps: Sweeps) -> Use:
    sweep = _median_sweep(sweeps.idle)
    return Use(seconds=sweep.seconds, writes=sweep.writes, reads=sweep.reads, log_bytes=sweep.log_bytes)


def _look(sweeps: Sweeps) -> Use:
    """Return one node's part of the large sweeps."""
    nodes = sum(sweep.looked_at for sweep in sweeps.full)
    return Use(
        seconds=sum(sweep.seconds for sweep in sweeps.full) / nodes,
        writes=sum(sweep.writes for sweep in sweeps.full) / nodes,
        reads=sum(sweep.reads for sweep in sweeps.full) / nodes,
        log_bytes=sum(sweep.log_bytes for sweep in sweeps.full) / nodes,
    )
