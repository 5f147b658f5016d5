"""Plays the scripted night, waits for what it leads to, frees the busy node and redrives the dead letters."""

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console, RenderableType

from local.demo.checks import Expected, Fate, Verdict, most_calls, not_well, problems, strangers, verdict
from local.demo.marks import heading, kept_up_to_date, say
from local.demo.night import Night, Scene
from local.demo.readings import Readings
from local.demo.scenery import nodes_view, scene_view
from local.demo.stage import READER, Stage
from local.demo.watch import Watch

_LOOK_SECONDS = 0.2
_HURRIED_SECONDS = 0.5  # once something did not happen in time, what follows is not waited for as long


@dataclass(slots=True)
class Performance:
    """A night being played; `patience` in seconds is how long each scene may take."""

    console: Console
    stage: Stage
    watch: Watch
    night: Night
    patience: float

    def play(self) -> Readings:
        """All scenes; returns the last look."""
        readings, number = self.watch.look(), 0
        for scene in self.night.scenes:
            numbered = list(enumerate(scene, start=number + 1))
            number += len(scene)
            readings = self._play_scene(scene, partial(scene_view, numbered))
        return readings

    def _play_scene(self, scene: Scene, view: Callable[[Readings], RenderableType]) -> Readings:
        for step in scene:
            step.play(self.stage)
        expected = [one for step in scene for one in step.expected]
        return self._wait(lambda seen: not _open(expected, seen), view)

    def redrive(self, before: Readings) -> Readings:
        """Free the busy node and put all dead letters back on the intake queue; what was seen since then."""
        self.stage.set_node(self.night.busy, in_use=False)
        command = self.stage.outputs["RedriveCommand"]
        heading(self.console, "The redrive")
        say(self.console, f"The other operation on {self.night.busy.instance_id} is over. An operator runs:", "")
        self.console.print(f"  {command}", soft_wrap=True, markup=False, highlight=False)
        say(self.console, "")
        options = shlex.split(command)
        source, destination = (options[options.index(name) + 1] for name in ("--source-arn", "--destination-arn"))
        self._move_all(source, destination)
        expected = self.night.after_redrive
        after = self._wait(
            lambda seen: not _open(expected, seen.since(before)),
            lambda seen: nodes_view(expected, seen.since(before)),
        )
        return after.since(before)

    def _move_all(self, source: str, destination: str) -> None:
        """Move a queue's messages to another, and look at neither meanwhile: a message that is held is not moved."""
        sqs, deadline = self.stage.aws.client("sqs"), time.monotonic() + self.patience
        sqs.start_message_move_task(SourceArn=source, DestinationArn=destination)
        while time.monotonic() < deadline:
            if sqs.list_message_move_tasks(SourceArn=source)["Results"][0]["Status"] != "RUNNING":
                return
            time.sleep(_LOOK_SECONDS)

    def _wait(self, is_over: Callable[[Readings], bool], view: Callable[[Readings], RenderableType]) -> Readings:
        """Look, and show what is seen, until it is over or patience runs out: the last look."""
        readings = self.watch.look()
        deadline = time.monotonic() + self.patience
        with kept_up_to_date(self.console, lambda: view(readings)):
            while not is_over(readings):
                if time.monotonic() > deadline:
                    self.patience = min(self.patience, _HURRIED_SECONDS)
                    break
                time.sleep(_LOOK_SECONDS)
                readings = self.watch.look()
        return readings


def _open(expected: Sequence[Expected], readings: Readings) -> bool:
    """Whether something is still to come; an empty intake queue keeps one scene's batch from mixing with the next's."""
    return readings.waiting > 0 or bool(problems(expected, readings))


def judge_night(night: Night, readings: Readings) -> list[Verdict]:
    """What the night must have come to."""
    expected, groups = night.expected, night.groups
    calls = [call for call in readings.calls if call.started]
    too_many = [f"{len(calls)} calls rebooted something"] if len(calls) > most_calls(groups) else []
    failed = [one.node for one in expected if one.fate is Fate.FAILED]
    unnamed = [f"{READER} got no mail that names {n}" for n in failed if not any(n in m.text for m in readings.mails)]
    return [
        verdict(f"{sum(groups)} nodes were rebooted, each once", Fate.REBOOTED, expected, readings),
        Verdict(f"that took at most {most_calls(groups)} calls", tuple(too_many)),
        Verdict("they are all healthy again", tuple(not_well(expected, readings))),
        verdict(
            f"{len(failed)} could not be: in the DLQ and on the topic, in SageMaker's words",
            Fate.FAILED,
            expected,
            readings,
        ),
        Verdict(f"{READER} got mail that names them", tuple(unnamed)),
        verdict("the node of the muted alarm was left alone", Fate.LEFT_ALONE, expected, readings),
        Verdict("nothing happened to any other node", tuple(strangers(expected, readings))),
    ]


def judge_redrive(night: Night, readings: Readings) -> list[Verdict]:
    """What the redrive must have come to."""
    expected = night.after_redrive
    return [
        verdict("redrive: the node that was in use is rebooted", Fate.REBOOTED, expected, readings),
        verdict("the others failed again: back in the DLQ, and on the topic", Fate.FAILED, expected, readings),
        Verdict("nothing else came of the redrive", tuple(strangers(expected, readings))),
    ]
