"""Plays the scripted night, scene by scene, and waits for what each leads to."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console, RenderableType

from local.demo.checks import Expected, not_well, problems, unanswered
from local.demo.marks import kept_up_to_date
from local.demo.night import Night
from local.demo.readings import Readings
from local.demo.scenery import scene_view
from local.demo.stage import Stage
from local.demo.step import Scene
from local.demo.watch import Watch

LOOK_SECONDS = 0.2
_HURRIED_SECONDS = 0.5  # once something did not happen in time, what follows is not waited for as long
_NOTHING = Readings()


@dataclass(slots=True)
class Performance:
    """Plays a night; `patience` in seconds is how long each scene may take."""

    console: Console
    stage: Stage
    watch: Watch
    night: Night
    patience: float

    def play(self, scenes: Sequence[Scene], *, first: int = 1, after: Readings = _NOTHING) -> Readings:
        """Play all scenes, their steps numbered from `first` on; return what was seen since `after`."""
        readings, number = after, first
        for scene in scenes:
            readings = self._play_scene(scene, partial(scene_view, list(enumerate(scene, start=number))), after)
            number += len(scene)
        return readings.since(after)

    def _play_scene(self, scene: Scene, view: Callable[[Readings], RenderableType], after: Readings) -> Readings:
        for step in scene:
            step.play(self.stage)
        expected = [one for step in scene for one in step.expected]

        def is_over(seen: Readings) -> bool:
            return not is_open(expected, seen) and not any(unanswered(seen))

        return self.wait(lambda seen: is_over(seen.since(after)), lambda seen: view(seen.since(after)))

    def wait(self, is_over: Callable[[Readings], bool], view: Callable[[Readings], RenderableType]) -> Readings:
        """Look, and show what is seen, until it is over or patience runs out; return the last look."""
        readings = self.watch.look()
        deadline = time.monotonic() + self.patience
        with kept_up_to_date(self.console, lambda: view(readings)):
            while not is_over(readings):
                if time.monotonic() > deadline:
                    self.patience = min(self.patience, _HURRIED_SECONDS)
                    break
                time.sleep(LOOK_SECONDS)
                readings = self.watch.look()
                self.stage.calm(readings.well)
        return readings


def is_open(expected: Sequence[Expected], readings: Readings) -> bool:
    """Tell whether something is still to come.

    An empty intake queue keeps one scene's batch from mixing with the next's.
    """
    return readings.waiting > 0 or bool(problems(expected, readings)) or any(not_well(expected, readings))
