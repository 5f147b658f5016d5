"""Sets up, plays the night, redrives its letters, follows nodes to their ends, and tells what held."""

import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from local.aws import PROJECT, LocalAws
from local.demo import script
from local.demo.acting import Actors, SimulatedNode, mode_command
from local.demo.draining import DrainHook
from local.demo.expectations import Expected, Verdict, calls_problems, recovery_problems, strangers, unanswered
from local.demo.looking import Readings, Watch
from local.demo.script import Clusters, Night, Scene, Step
from local.demo.view import Row, Screen, Work, scene_rows, shell
from local.deploy import STACK, deploy
from smoke.stack import find
from tool.report.gather import gather, write_page
from tool.times import now

LOOK_SECONDS = 0.2
_PAGE = "build/night.html"
_HURRIED_SECONDS = 0.5  # once something did not happen in time, what follows is not waited for as long
# `Stack |  3/20 | 8:35:31 PM | CREATE_COMPLETE | AWS::SNS::Topic | Failures/Topic (…)`, as the CDK CLI prints it.
_COUNTER = re.compile(r"^\S+ \| +(\d+)/(\d+) \|")
_REDRIVE_COMMAND = (
    'aws sqs start-message-move-task --source-arn "$DEAD_LETTER_QUEUE_ARN" --destination-arn "$INTAKE_QUEUE_ARN"'
)
_INTRO = (
    "",
    "event or alarm → intake queue → function → SageMaker reboots the node",
    "                                  └ what failed → DLQ, topic, mail",
    "",
    "A CDK stack does that. It is deployed now, to a local AWS with a simulated HyperPod. Then 200 nodes have a bad "
    "night. All that is shown is read from that AWS.",
)
# Changes the deployed stack, for a test that sees that the demonstration notices.
Saboteur = Callable[[LocalAws, Mapping[str, str]], None]


@contextmanager
def local_aws(screen: Screen) -> Iterator[LocalAws]:
    """Run a local AWS that is gone at the end, however it comes."""
    aws = LocalAws()
    try:
        with screen.work(Work("local AWS")) as works:
            aws.start()
            works[-1].detail = aws.endpoint
        yield aws
    finally:
        aws.stop()


def deploy_stack(screen: Screen, aws: LocalAws, context: Mapping[str, str], *, first: bool = True) -> dict[str, str]:
    """Bootstrap, if it is the first time, and deploy; return the stack's outputs."""
    begin = Work("cdk bootstrap", "starting") if first else Work("cdk deploy", "synthesizing")
    with screen.work(begin) as works:

        def read(line: str) -> None:
            if counter := _COUNTER.match(line):
                done, most = int(counter[1]), int(counter[2])
                # Of an update the CLI counts what changes, and then all that it looks at.
                works[-1].detail = f"{done} of {most} resources" if done <= most else "updating"
            elif "bootstrapped" in line:
                works[-1].detail, works[-1].ended = "stack CDKToolkit", time.monotonic()
                works.append(Work("cdk deploy", "synthesizing"))
            elif "Publishing" in line:
                works[-1].detail = "publishing the function's package"

        outputs = deploy(aws, context=context, on_line=read, bootstrap=first)
        works[-1].detail = f"stack {STACK}" if first else f"stack {STACK}, updated"
    return outputs


def show(screen: Screen, saboteur: Saboteur | None, patience: float) -> bool:
    """Set up, play all parts; return whether everything was as it must be."""
    started = time.monotonic()
    screen.say("HyperPod Node Remediation: a night on a local AWS", style="bold")
    screen.say(*_INTRO)
    screen.heading("Setting up: less than half a minute")
    with local_aws(screen) as aws:
        outputs = deploy_stack(screen, aws, script.NIGHT)
        if saboteur:
            saboteur(aws, outputs)
        clusters = Clusters.make(aws)
        _show_clusters(screen, clusters)
        set_up = time.monotonic() - started
        show = _Show(screen, clusters, Actors(aws, outputs), Watch(aws, outputs), patience)
        verdicts = show.play()
        _write_page(aws, time.monotonic() - started)
    held = screen.verdicts(verdicts)
    screen.say(f"The night as a page: {_PAGE}")
    took = f"{time.monotonic() - started:.0f} s, {set_up:.0f} s of them to set up"
    screen.say(f"{took}. Everything is stopped and removed.", style="dim")
    return held


def _write_page(aws: LocalAws, seconds: float) -> None:
    """Write what the ledger tells of the demonstration, as `hyperpod-remediation report` does."""
    file = PROJECT / _PAGE
    file.parent.mkdir(exist_ok=True)
    stack = find(STACK, aws.region, aws.client)
    write_page(gather(stack, None, since=timedelta(seconds=seconds), now=now()), file)


def _show_clusters(screen: Screen, clusters: Clusters) -> None:
    screen.say(*(f"   {c.name:<12} {len(c.nodes):>3} nodes, {about}" for c, about in clusters.about()))
    screen.say(
        "",
        "So that no one waits: batch_window is 1s instead of 5s, cooldown and budget_window are "
        f"{script.BUDGET_SECONDS}s instead of 30m and 60m, healthy_for is 1s instead of 2m, the sweep comes every "
        "second instead of every minute; and a pause comes with new function instances, as a running one remembers the "
        "mode for up to a minute.",
        style="dim",
    )


@dataclass(slots=True)
class _Show:
    """Plays the parts one after the other; `patience` in seconds is how long each scene may take."""

    screen: Screen
    clusters: Clusters
    actors: Actors
    watch: Watch
    patience: float
    played: int = 0

    def play(self) -> list[Verdict]:
        night = script.plan_night(self.clusters, self.actors.outputs)
        self.screen.heading("The night: less than a minute")
        seen = self._play(night.scenes, Readings())
        self.screen.numbers(seen)
        self.screen.mails(seen.mails)
        self.screen.letters(seen.letters)
        verdicts, last = _judge_night(night, seen), [*unanswered(seen)]
        if not seen.letters_of(night.busy.id):
            missing = Verdict("the redrive", ["there is no letter of the node in use to redrive"])
            return [*verdicts, missing, Verdict(_one_outcome(seen), last)]
        redriven, redrive = self._redrive(night, seen)
        ended, endings = self._follow()
        asked, asking, verdicts_asked = self._ask()
        steps = [step for scene in endings for step in scene]
        parts = ((night.steps, seen), (redrive, redriven), (steps, ended), (asking, asked))
        others = [problem for part, read in parts for problem in strangers(_expected(part), read)]
        return [
            *verdicts,
            *_judge_redrive(redrive, redriven),
            *_by_claim(steps, ended),
            *verdicts_asked,
            Verdict("TimeToRecovery has a value for each that recovered", [*recovery_problems(ended)]),
            Verdict(_one_outcome(seen, ended, asked), [*last, *unanswered(ended), *unanswered(asked)]),
            Verdict("nothing happened to any other node", others),
        ]

    def _play(self, scenes: Sequence[Scene], before: Readings) -> Readings:
        """Play scenes, each until all is as it must be; return what was seen since before."""
        seen = before
        for scene in scenes:
            for step in scene:
                step.play(self.actors)
            seen = self._wait(scene, before)
        return seen.since(before)

    def _wait(self, scene: Scene, before: Readings) -> Readings:
        """Look, and show what is seen, until nothing is open or patience runs out; return the last look.

        An empty intake queue keeps one scene's batch from mixing with the next's.
        """
        numbered = list(enumerate(scene, start=self.played + 1))
        self.played += len(scene)
        seen, deadline = self.watch.look(), time.monotonic() + self.patience

        def view(runs: bool) -> list[Row]:
            return scene_rows(numbered, seen.since(before), runs=runs)

        def is_open() -> bool:
            now = seen.since(before)
            return now.waiting > 0 or any(step.problems(now) for step in scene) or any(unanswered(now))

        with self.screen.live(view):
            while is_open():
                if time.monotonic() > deadline:
                    self.patience = min(self.patience, _HURRIED_SECONDS)
                    break
                time.sleep(LOOK_SECONDS)
                seen = self.watch.look()
                self.actors.follow(seen)
        return seen

    def _redrive(self, night: Night, seen: Readings) -> tuple[Readings, Scene]:
        """End what kept nodes from being rebooted, and put all letters back on the intake queue."""
        say, before = self.screen.say, self.watch.look()
        self.screen.heading("The redrive")
        self.actors.set_node(night.busy, in_use=False)
        say(f"The other operation on {night.busy.id} is over. An operator ends the pause;")
        say("for letters that come back it is over at once:", *shell(mode_command(self.actors.outputs, "active")))
        self.actors.set_mode("active")
        self._await_budget(night, seen)
        say("Then the letters get another try:", *shell(_REDRIVE_COMMAND), "")
        self.actors.redrive(self.watch.observer, self.patience)
        redrive = script.plan_redrive(night, seen)
        after = self._wait(redrive, before).since(before)
        return after, redrive

    def _await_budget(self, night: Night, seen: Readings) -> None:
        """Wait until the budget's window has passed since the reboots, by the simulator's own clock."""
        nodes = {one.node for one in night.budget.expected}
        spent_at = max((call.time for call in seen.calls if nodes & set(call.started)), default=0.0)
        free_at = spent_at + script.BUDGET_SECONDS
        with self.screen.work(Work("budget")) as [line]:
            while (left := free_at - time.time()) > 0:
                line.detail = f"ml-research: {script.BUDGET_NODES} nodes, spent; free again in {left:.0f} s"
                time.sleep(min(left, LOOK_SECONDS))
            line.detail = f"ml-research: free, {script.BUDGET_SECONDS} s after it was spent"

    def _follow(self) -> tuple[Readings, tuple[Scene, ...]]:
        """Update the stack so that looks come after seconds, and follow nodes to their ends."""
        screen, endings = self.screen, script.plan_endings(self.clusters)
        screen.heading("Do they come back? Less than a minute")
        changed = [
            f"-c {shlex.quote(f'{key}={value}')}"
            for key, value in script.ENDINGS.items()
            if script.NIGHT.get(key) != value
        ]
        screen.say("So that no one waits for 45 minutes, looks come soon, and retries are allowed:")
        screen.say(*shell(" ".join(["cdk deploy", *changed])), "")
        deploy_stack(screen, self.actors.aws, script.ENDINGS, first=False)
        before = self.watch.look()
        # The longest tale takes a cooldown and a time-out, besides what everything takes.
        self.patience *= 2
        ended = self._play(endings, before)
        screen.recoveries(ended)
        given_up = [
            line["node"] for line in ended.log if line["state"] == "not_recovered" and ended.started(line["node"])
        ]
        for mail in [mail for mail in ended.mails if given_up and given_up[0] in mail.text][-1:]:
            screen.mail(mail)
        return ended, endings

    def _ask(self) -> tuple[Readings, Scene, list[Verdict]]:
        """Let a person, and the drain hook of the examples, answer proposed reboots."""
        screen, before = self.screen, self.watch.look()
        screen.heading("Ask first: a person and a drain hook answer")
        screen.say(
            "For alarms named hyperpod-reboot-ask-* a reboot is only proposed (setting overrides). People are asked "
            "by mail, scripts by a queue on the topic; both answer with a message. The script here is "
            "examples/hooks/slurm_drain.py; scontrol is a stand-in.",
            "",
        )
        worker = SimulatedNode(self.clusters.slurm, self.clusters.slurm.nodes[3])
        with DrainHook(self.actors.aws, self.actors.outputs, worker) as hook:
            self.actors.followers.append(hook.follow)
            scene = script.plan_asking(self.clusters, hook)
            asked = self._play((scene,), before)
            self.actors.followers.clear()
            verdicts = _by_claim(scene, asked)
        screen.say("", "What the hook printed:", *(f"    {line}" for line in hook.said))
        return asked, scene, verdicts


def _expected(steps: Sequence[Step]) -> list[Expected]:
    return [one for step in steps for one in step.expected]


def _by_claim(steps: Sequence[Step], seen: Readings) -> list[Verdict]:
    """Return a verdict for each claim, of all steps that belong to it."""
    problems: dict[str, list[str]] = {}
    for step in steps:
        problems.setdefault(step.claim, []).extend(step.problems(seen))
    return [Verdict(claim, found) for claim, found in problems.items()]


def _judge_night(night: Night, seen: Readings) -> list[Verdict]:
    reboots = [step.rebooted for step in night.steps if step.rebooted]
    total = Verdict(f"{sum(reboots)} nodes were rebooted, each once", [*calls_problems(reboots, seen)])
    return [total, *_by_claim(night.steps, seen)]


def _judge_redrive(redrive: Scene, seen: Readings) -> list[Verdict]:
    back = sum(not fate.reboots for one in _expected(redrive) for fate in one.fates)
    hidden = [] if seen.delayed == back else [f"{seen.delayed} letters wait in the dead-letter queue"]
    claim = f"redrive: the {back} letters that are back stay invisible for 15 minutes"
    return [*_by_claim(redrive, seen), Verdict(claim, hidden)]


def _one_outcome(*seen: Readings) -> str:
    return f"each of the {sum(len(part.events) for part in seen)} events came to exactly one outcome"
