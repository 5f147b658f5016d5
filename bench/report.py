"""docs/benchmarks.md from the measurements. Pure."""

from collections.abc import Callable, Sequence
from statistics import median

from bench import cost
from bench.builds import EMPTY, IN_TURN, NAIVE, NAIVE_COMPILED, OURS
from bench.calls import Count
from bench.cold import WARM_EVENTS, Cold, Start
from bench.cost import Invocation, Month
from bench.markdown import GENERATED, dollars, listed, prose, ranged, table, times
from bench.results import Taken
from bench.scaling import Scaling
from bench.stats import summary
from bench.storm import Storm
from bench.targets import Target, clusters_of, judged, least_calls

_MONTHS = (100, 10_000, 1_000_000)
_COST_BATCH = 25
_VALUES: Sequence[tuple[str, Callable[[Start], Sequence[float]], int]] = (
    ("init, ms", lambda start: [start.init_ms], 0),
    ("first event, ms", lambda start: [start.first_ms], 0),
    ("init and first event, ms", lambda start: [start.init_ms + start.first_ms], 0),
    ("warm event, ms", lambda start: start.warm_ms, 0),
    ("peak memory, MB", lambda start: [start.peak_bytes / 1e6], 1),
)


def text(
    cold: Taken[Cold], counts: Taken[tuple[Count, ...]], storms: Taken[tuple[Storm, ...]], scaling: Taken[Scaling]
) -> str:
    targets = judged(cold.value, counts.value, storms.value)
    parts = [
        f"# Benchmarks\n\n{GENERATED}",
        _how(cold),
        f"## Targets\n\n{_verdict(targets)}\n\n{_targets(targets)}",
        f"## Cold start, warm events, memory, size\n\n{_cold(cold.value)}",
        f"### Where the time goes\n\n{_stages(cold.value)}",
        f"## API calls\n\n{_calls(counts.value)}",
        f"## A storm\n\n{_storms(storms.value)}",
        f"## Cost\n\n{_cost(cold.value, counts.value, scaling.value)}",
    ]
    return "\n\n".join(parts) + "\n"


def _how(cold: Taken[Cold]) -> str:
    rounds = len(cold.value.of(OURS))
    return prose(f"""
The function against a naive build of it, measured by `make bench` on {cold.day} (x86-64 Linux, {cold.cores} cores;
`make bench ARGS="cold report"` takes a part). Absolute times are this machine's; ratios are what to read.

- **Runtime:** Lambda's own Python 3.13 with the runtime interface client, run by the runtime interface emulator; init
  and durations are the emulator's, memory is the process's `VmHWM`. CPU is not throttled as it is at 512 MB.
- **AWS:** the local AWS on this machine. For cold starts and growth it is behind TLS and answers a call
  {cold.value.latency_ms:.0f} ms after it came, later only where it is slower itself; handshakes are not delayed. In
  storms each call of the ledger, SageMaker, SSM and SNS waits as long before it is carried out. Both are the same for
  all builds.
- **Trust:** each build's own CA file with the endpoint's root added to it: {_roots(cold.value)} roots.
- **ours:** the asset as it is deployed, batches.
- **naive:** the product's own guards, ledger, mode and reports (with what they remember between events), copied to
  boto3 and Powertools with tracer, parser and batch as pip leaves them for another platform than its own: no `.pyc`.
  One event and one call per invocation, one call after another. The emulator hands on no trace header, so the tracer
  runs and records nothing.
- **naive + .pyc:** the same, compiled for the runtime; not what the targets are about, but what one step alone
  brings.
- **Rounds:** {rounds}, in each all builds in turn, each in a new process, beginning with another build than the round
  before; after one round that is not counted (files are in memory then, which hides that a larger asset also takes
  longer to load).""")


def _roots(cold: Cold) -> str:
    return " and ".join(f"{cold.size(build).roots} ({build})" for build in (OURS, NAIVE))


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
        found = [summary(value for start in cold.of(build) for value in values(start)) for build in builds]
        ratios = [times(found[0].median / each.median) for each in found[1:]]
        rows.append([name, *(ranged(each, digits) for each in found), *ratios])
    for name, size in (("asset zipped, MB", "zipped_bytes"), ("asset unpacked, MB", "unpacked_bytes")):
        sizes = [getattr(cold.size(build), size) / 1e6 for build in builds]
        rows.append([name, *(f"{each:.1f}" for each in sizes), *(times(sizes[0] / each) for each in sizes[1:])])
    head = ["Median (range)", *builds, f"ours / {NAIVE}", f"ours / {NAIVE_COMPILED}"]
    calls = cold.of(OURS)[0].calls
    return prose(f"""
{table(head, rows)}

The first event makes {calls} calls, a warm event is one of {WARM_EVENTS} that follow; the ratios count the waiting on
both sides. Ours does not wait for them one after another: the ledger, the mode and the cluster are asked at once, and
the check is sent beside the record of the answer. {_side_by_side(cold)}""")


def _side_by_side(cold: Cold) -> str:
    first = [median(start.first_ms for start in cold.of(build)) for build in (OURS, IN_TURN)]
    warm = [median(median(start.warm_ms) for start in cold.of(build)) for build in (OURS, IN_TURN)]
    return (
        f"The same asset with its calls in turn takes {first[1]:.0f} ms instead of {first[0]:.0f} for the first event "
        f"and {warm[1]:.0f} instead of {warm[0]:.0f} for a warm one."
    )


def _stages(cold: Cold) -> str:
    names = max((each.took_ms for each in cold.stages), key=len)  # a build that leaves one out has the others in order
    builds = (OURS, NAIVE, NAIVE_COMPILED)
    empty = median(start.init_ms for start in cold.of(EMPTY))
    rows = [["the runtime itself: init of a function that does nothing", *([f"{empty:.0f}"] * len(builds))]]
    for name in names:
        found = [
            [each.took_ms[name] for each in cold.stages if each.build == build and name in each.took_ms]
            for build in builds
        ]
        rows.append([name, *(f"{median(took):.0f}" if took else "" for took in found)])
    waiting = cold.of(OURS)[0].calls * cold.latency_ms
    in_turn = (IN_TURN, NAIVE, NAIVE_COMPILED)
    own = [f"{median(start.first_ms for start in cold.of(build)) - waiting:.0f}" for build in in_turn]
    rows.append(["first event, calls in turn, without waiting: CA files, handshakes, first calls", *own])
    return prose(f"""
Medians in ms. All but the first and the last row are timed outside the emulator, one import after another, in a new
process each time.

{table(["", *builds], rows)}""")


def _calls(counts: Sequence[Count]) -> str:
    rows = []
    for count in counts:
        what = f"{count.nodes}{', protected group' if count.protected else ''}{', warm' if count.warm else ''}"
        lookups = count.of("sagemaker") - count.reboots
        per_node = f"{count.total / count.nodes:.2f}"
        rows.append(
            [
                what,
                count.build,
                f"{count.reboots} (⌈n/25⌉ = {least_calls(count.nodes)})" if count.build == OURS else f"{count.reboots}",
                str(lookups),
                f"{count.of('dynamodb'):,}",
                f"{count.total:,}",
                per_node,
            ]
        )
    rows.sort(key=lambda row: (int(row[0].split(",")[0]), row[0], row[1]))
    head = ["Nodes", "build", "reboot calls", "other SageMaker calls", "ledger calls", "all calls", "per node"]
    return prose(f"""
For n reports of n nodes of one cluster: ours in one batch, naive one by one. *Warm*: as many nodes again, right
after, in the same execution environment; what was looked up is remembered for 5 minutes, the mode for 1.

{table(head, rows)}""")


def _storms(storms: Sequence[Storm]) -> str:
    rows, calls = [], []
    for storm in storms:
        where = clusters_of(storm.clusters)
        rows.append(
            [
                where,
                storm.build,
                f"{storm.reports:,}",
                f"{storm.nodes:,}",
                f"{storm.seconds:,.0f}",
                f"{storm.reports / storm.seconds:,.0f}",
                f"{storm.calls_per_report:.2f}",
                str(storm.lost),
                str(storm.rebooted_twice),
                f"{storm.told_twice}",
                f"{storm.dead_letters}",
            ]
        )
        calls.append(f"- {where}, {storm.build}: {listed(storm.outcomes)}. Calls: {listed(storm.calls)}.")
    head = [
        "Over",
        "build",
        "reports",
        "nodes",
        "seconds",
        "reports/s",
        "calls per report",
        "lost",
        "rebooted twice",
        "told twice",
        "dead letters",
    ]
    return prose(f"""
All messages wait in the intake queue of the deployed stack, each node reported twice, in no order; then the queue is
read, up to five invocations at once, batches of 100 (naive: of one). Budgets let every node through. *Lost*: reports
without an outcome in the log; *rebooted twice*: by the simulated HyperPod's own count; *told twice*: reports with
more than one outcome. What Lambda's pollers ask of the queue is not counted.

{table(head, rows)}

{chr(10).join(calls)}

A reboot takes at least a read, a claim, a call, a record and its check's message: for the naive build, five calls for
each node, and fewer for a report of a node that is rebooted already. Ours makes claim, call and record once for each
cluster of a batch: over ten clusters a batch of 100 has about five nodes of each to reboot, and even without collisions
makes about 38 calls. In both, invocations that write one cluster's budget at
the same time find that another was first, then read and judge again, and after many such rounds hand their messages
back: all beyond that minimum is this. Claims of several clusters are not put into one write, which would save the rest:
a claim is written just before its call, so that a function that dies leaves no node claimed and not called.""")


def _cost(cold: Cold, counts: Sequence[Count], scaling: Scaling) -> str:
    alone = _alone(cold, counts)
    together = _together(counts, scaling)
    rows = [_cost_row("nothing", cost.idle())]
    for reports in _MONTHS:
        rows.append(_cost_row(f"{reports:,}, each alone", cost.month(reports, alone)))
        rows.append(_cost_row(f"{reports:,}, in batches of {_COST_BATCH}", cost.month(reports, together)))
    head = [
        "Reports a month",
        "Lambda",
        "queues",
        "ledger",
        "logs",
        "metrics",
        "failures",
        "key, alarm",
        "**US dollars**",
    ]
    return prose(f"""
A month of {cost.HOURS} hours, from the calls counted above and list prices. *Alone*: every report meets a cold
function; *in batches*: a warm one. A storm lies between. Every report is taken for a reboot, with {cost.CHECKS} checks
after it: as many as the defaults make where nobody reports health, each at the price of the report itself, which is
more than it costs.

{table(head, rows)}

Assumptions (US East, no free tier, what AWS lists; check before relying on it): Lambda arm64 {cost.LAMBDA_GB_SECOND}
per GB-second at 512 MB and 0.20 per million requests, init billed; SQS 0.40, DynamoDB writes 0.625 and reads 0.125
(transactions twice), SNS 0.50 per million; mail 2.00 per 100,000; logs 0.50 per GB; a metric 0.30 a month, by the
hour in which it has values; key 1.00 and 0.03 per 10,000 uses; alarm 0.10. EventBridge takes nothing for AWS's own
events, SSM nothing for a standard parameter. {cost.CLUSTERS} clusters with {cost.METRICS_PER_CLUSTER} metrics each;
{cost.FAILING_SHARE:.0%} of the reports fail and are mailed to one person; the queue is polled by {cost.POLLERS}
pollers without a pause: that is *queues* in the row *nothing*. Storage of the ledger and of logs is left out:
cents.""")


def _cost_row(what: str, each: Month) -> list[str]:
    parts = (each.lambda_, each.queues, each.ledger, each.logs, each.metrics, each.failures, each.fixed)
    return [what, *map(dollars, parts), f"**{dollars(each.total)}**"]


def _alone(cold: Cold, counts: Sequence[Count]) -> Invocation:
    seconds = median(start.init_ms + start.first_ms for start in cold.of(OURS)) / 1000
    return _invocation(_count(counts, 1, warm=False), seconds)


def _together(counts: Sequence[Count], scaling: Scaling) -> Invocation:
    point = next(point for point in scaling.by_batch if point.batch == _COST_BATCH)
    return _invocation(_count(counts, _COST_BATCH, warm=True), point.seconds * point.batch / point.reports)


def _count(counts: Sequence[Count], nodes: int, *, warm: bool) -> Count:
    return next(
        each
        for each in counts
        if each.build == OURS and each.nodes == nodes and each.warm == warm and not each.protected
    )


def _invocation(count: Count, seconds: float) -> Invocation:
    return Invocation(
        reports=count.nodes,
        seconds=seconds,
        writes=count.writes,
        reads=count.reads,
        log_bytes=count.log_bytes,
        sqs_calls=count.of("sqs"),
        sns_calls=count.of("sns"),
    )
