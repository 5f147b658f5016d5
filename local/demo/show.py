"""Runs the demonstration from the empty machine to the verdict, part by part."""

import time
from collections.abc import Callable, Mapping

from rich.console import Console

from local.aws import LocalAws
from local.demo.aftermath import follow_nodes
from local.demo.checks import Verdict
from local.demo.clusters import make_clusters
from local.demo.marks import heading, say
from local.demo.night import plan_night
from local.demo.play import Performance
from local.demo.readings import Readings
from local.demo.redrive import redrive
from local.demo.report import show_letters, show_mail, show_numbers, show_verdicts
from local.demo.setup import deploy_stack, local_aws
from local.demo.stage import BUDGET_SECONDS, NIGHT, READER, Stage, listen_to_bus, subscribe_to_topic
from local.demo.verdicts import judge_night, judge_redrive
from local.demo.watch import Watch


def show(console: Console, saboteur: Callable[[LocalAws, Mapping[str, str]], None] | None, patience: float) -> bool:
    """Set up, play, report, redrive, follow; return whether everything was as it must be."""
    started = time.monotonic()
    say(console, "HyperPod Node Remediation: a night on a local AWS", style="bold")
    heading(console, "Setting up")
    with local_aws(console) as aws:
        outputs = deploy_stack(console, aws, NIGHT)
        if saboteur:
            saboteur(aws, outputs)
        stage, watch = _set_stage(console, aws, outputs)
        set_up = time.monotonic()
        performance = Performance(console, stage, watch, plan_night(stage.clusters, outputs), patience)
        held = _perform(console, performance)
    took, of_it = time.monotonic() - started, set_up - started
    say(console, "", f"{took:.0f} s, {of_it:.0f} s of them to set up. Everything is stopped and removed.")
    return held


def _set_stage(console: Console, aws: LocalAws, outputs: Mapping[str, str]) -> tuple[Stage, Watch]:
    stage = Stage(aws, outputs, make_clusters(aws))
    watch = Watch(aws, outputs, topic_queue=subscribe_to_topic(aws, outputs), bus_queue=listen_to_bus(aws))
    say(console, "Clusters:")
    say(
        console,
        *(f"  {cluster.name:<12} {len(cluster.nodes):>3} nodes, {cluster.about}" for cluster in stage.clusters.all),
    )
    say(
        console,
        f"Subscribed to the topic: {READER}, and a queue to read it from",
        "So that no one waits: batch_window is 1s instead of 5s, cooldown and budget_window are "
        f"{BUDGET_SECONDS}s instead of 30m and 60m, the sweep comes every second instead of every minute; and because "
        "a running function remembers the mode for up to a minute, a pause comes with new function instances",
    )
    return stage, watch


def _perform(console: Console, performance: Performance) -> bool:
    night = performance.night
    heading(console, "The night")
    seen = performance.play(night.scenes)
    show_numbers(console, seen)
    show_mail(console, seen.mails)
    show_letters(console, seen.letters)
    verdicts = judge_night(night, seen)
    if seen.letters_of(night.busy.instance_id):
        after = redrive(performance, seen)
        _show_later_mail(console, after)
        verdicts += [*judge_redrive(night, seen, after), *follow_nodes(performance)]
    else:
        verdicts.append(Verdict("the redrive", ("there is no letter of the node in use to redrive",)))
    return show_verdicts(console, verdicts)


def _show_later_mail(console: Console, after: Readings) -> None:
    say(console, "")
    for mail in after.mails:
        say(console, f"Another mail to {mail.to}: {mail.subject}")
