"""Plays stories side by side on one deployed system, so that what each of them waits for is waited for once."""

import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from local.observing import ENDS
from local.staging import SimulatedCluster
from tests.e2e.system import PATIENCE, System, eventually

Condition = Callable[[], object]
# A story waits for what it yields; the last is `quiet`: from there on nothing more can come.
Story = Generator[Condition, None, None]
_LOOK_SECONDS = 0.2
LOST_ANSWER = {"service": "sagemaker", "action": "BatchReboot", "after": True, "reset": True}


def quiet() -> bool:
    """Wait until all stories have come this far, the intake queue is empty and nothing in the ledger is due."""
    return False  # the stage knows


@dataclass(eq=False)
class StoryScene:
    """One story's cluster, and what is seen of it; `first` is the node that most stories are about."""

    system: System
    stage: "Stage"
    cluster: SimulatedCluster

    @property
    def first(self) -> str:
        return self.cluster.nodes[0]

    # -- what happens

    def breaks(self, node: str | None = None, **how: Any) -> None:
        """Make the node sick; HyperPod says so."""
        self._admin("nodes/break", node, how)

    def heals(self, node: str | None = None) -> None:
        """Make the node well; HyperPod says so."""
        self._admin("nodes/heal", node, {})

    def scripts(self, node: str | None = None, **what: Any) -> None:
        """Script how the node answers (local.hyperpod.scripting)."""
        self._admin("nodes/set", node, what)

    def _admin(self, path: str, node: str | None, what: dict[str, Any]) -> None:
        body = {"cluster": self.cluster.name, "node": node or self.first} | what
        self.system.aws.admin("POST", f"/_local/hyperpod/{path}", body)

    def meets(self, **fault: Any) -> None:
        """Inject a fault of the function's calls that name this cluster."""
        self.system.aws.faults({"body": self.cluster.name} | fault)

    @property
    def alarm(self) -> str:
        """The name of this cluster's alarm."""
        return f"hyperpod-reboot-{self.cluster.name}"

    def alarm_is(self, state: str, *, name: str | None = None) -> None:
        """Make an alarm of the first node, by default this cluster's, take on a state; its event goes out."""
        names = {"ClusterName": self.cluster.eks, "InstanceId": self.first}
        dimensions = [{"Name": each, "Value": value} for each, value in names.items()]
        watched = {"MetricName": "node_unhealthy", "Namespace": "Health", "Statistic": "Maximum"}
        self._put_alarm(name or self.alarm, **watched, Dimensions=dimensions)
        self.set_state(state, name=name)

    def series_are(self, *nodes: str) -> None:
        """Make the alarm have a series for each node; it is in ALARM because of these."""
        query = "SELECT MAX(node_unhealthy) FROM Health GROUP BY ClusterName, InstanceId"
        self._put_alarm(self.alarm, Metrics=[{"Id": "q1", "Expression": query, "Period": 60, "ReturnData": True}])
        self.set_state("ALARM" if nodes else "OK")
        found = [{"attributes": {"ClusterName": self.cluster.name, "InstanceId": node}} for node in nodes]
        self.system.aws.admin("POST", "/_local/contributors", {"alarm": self.alarm, "contributors": found})

    def _put_alarm(self, name: str, **watched: Any) -> None:
        comparison = {"Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "EvaluationPeriods": 1}
        period = {} if "Metrics" in watched else {"Period": 60}
        self.stage.cloudwatch.put_metric_alarm(AlarmName=name, **comparison, **period, **watched)

    def set_state(self, state: str, *, name: str | None = None) -> None:
        self.stage.cloudwatch.set_alarm_state(
            AlarmName=name or self.alarm, StateValue=state, StateReason="set by a test"
        )

    # -- what is seen

    def reports(self, outcome: str, **fields: str) -> list[dict[str, Any]]:
        """Return the log's lines of this cluster's reports with an outcome."""
        return self._lines(outcome=outcome, **fields)

    def changes(self, state: str, **fields: str) -> list[dict[str, Any]]:
        """Return the log's lines of this cluster's incidents that came to a state or end."""
        return self._lines(state=state, **fields)

    def _lines(self, **fields: str) -> list[dict[str, Any]]:
        wanted = {"cluster": self.cluster.name} | fields
        return [line for line in self.stage.log if wanted.items() <= line.items()]

    def reported(self, outcome: str, *, count: int = 1, **fields: str) -> Condition:
        """Return the condition that so many reports had an outcome."""
        return lambda: len(self.reports(outcome, **fields)) >= count

    def became(self, state: str, *, count: int = 1, **fields: str) -> Condition:
        """Return the condition that so many incidents came to a state or end."""
        return lambda: len(self.changes(state, **fields)) >= count

    def awaits(self, condition: Condition) -> None:
        """Wait here and now, so that no other story goes on meanwhile."""

        def look() -> object:
            self.stage.look()
            return condition()

        eventually(look)

    def ends(self) -> list[tuple[str, str]]:
        """Return the node and the end of each incident that ended."""
        return [(line["node"], line["state"]) for end in ENDS for line in self.changes(end)]

    def tale(self, incident: str) -> list[str]:
        """Return all that the log tells of an incident, in its order: outcomes of reports, and states."""
        lines = self._lines(incident=incident)
        return [f"report {line['outcome']}" if "outcome" in line else f"incident {line['state']}" for line in lines]

    def reboots(self) -> list[str]:
        return self.system.reboots(self.cluster)

    def told(self) -> list[dict[str, Any]]:
        """Return what the topic's subscriber got: `attributes`, `subject` and the JSON `message`."""
        return self.system.notifications(self.cluster.name, count=0)

    def kinds(self) -> list[str]:
        return [each["attributes"]["Kind"] for each in self.told()]

    def letters(self) -> list[dict[str, Any]]:
        """Return the letters' bodies."""
        return [json.loads(letter["body"]) for letter in self.system.letters(count=0, ClusterName=self.cluster.name)]

    def mail(self, subject: str) -> str:
        """Return the text, in one line, of the one mail about the first node whose subject ends so."""
        wanted = f"{self.cluster.name} {self.first}: {subject}"
        [mail] = [mail for mail in self.system.aws.mail() if mail["subject"].endswith(wanted)]
        return " ".join(mail["message"].split())

    def metric(self, name: str) -> list[float]:
        """Return all values of a metric of this cluster."""
        found = [line for line in self.stage.metrics if line.get("Cluster") == self.cluster.name and name in line]
        values = [line[name] if isinstance(line[name], list) else [line[name]] for line in found]
        return [float(value) for several in values for value in several]


Teller = Callable[[StoryScene], Story]


class Stage:
    """Plays stories: each in turn as far as it can go, over and over, until all are over and nothing is due."""

    def __init__(self, system: System, tellers: Sequence[tuple[Teller, dict[str, Any]]]) -> None:
        self.system = system
        self.log: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []
        self.cloudwatch = system.aws.client("cloudwatch")
        self.scenes = {teller: StoryScene(system, self, system.cluster(**cluster)) for teller, cluster in tellers}
        self._troubles: dict[Teller, BaseException] = {}

    def play(self, *, patience: float = PATIENCE) -> None:
        """Play all stories to their ends; they may wait so long, in seconds, and then as long again to be quiet."""
        stories = {teller: teller(scene) for teller, scene in self.scenes.items()}
        waiting = {teller: self._resume(teller, story) for teller, story in stories.items()}
        deadline = time.monotonic() + patience

        def go_on() -> bool:
            self.look()
            for teller, story in stories.items():
                condition = waiting[teller]
                if condition is None or condition is quiet:
                    continue
                if condition():
                    waiting[teller] = self._resume(teller, story)
                elif time.monotonic() > deadline:
                    waiting[teller] = self._resume(teller, story, AssertionError(f"not seen within {patience:g} s"))
            return all(condition in (None, quiet) for condition in waiting.values())

        eventually(go_on, patience=2 * patience)
        deadline = time.monotonic() + patience
        while not self.is_quiet() and time.monotonic() < deadline:  # a test of its own sees that it is
            time.sleep(_LOOK_SECONDS)
        self.look()
        for teller, story in stories.items():
            self._resume(teller, story)

    def is_quiet(self) -> bool:
        """Tell whether nothing more can come: no message in the intake queue, nothing due in the ledger."""
        return not any(self.system.queued().values()) and not self.system.due()

    def _resume(self, teller: Teller, story: Story, trouble: BaseException | None = None) -> Condition | None:
        """Go on with a story; return what it waits for next, None where it is over or failed: its test tells."""
        try:
            return story.throw(trouble) if trouble else next(story)
        except StopIteration:
            return None
        except Exception as error:  # noqa: BLE001  whatever it is, it is this story's own
            self._troubles[teller] = error
            return None

    def look(self) -> None:
        """Read what the function has printed so far."""
        lines = self.system.json_lines()
        self.log = [line for line in lines if "level" in line]
        self.metrics = [line for line in lines if "_aws" in line]

    def finish(self, teller: Teller) -> None:
        """Raise what a story failed with, and show what the log tells of it."""
        trouble = self._troubles.get(teller)
        if trouble:
            cluster = self.scenes[teller].cluster.name
            mine = [line for line in self.log if cluster in json.dumps(line)]
            shown = ("timestamp", "node", "outcome", "state", "code", "report_time", "event_id", "reason")
            trouble.add_note("\n".join(" ".join(str(line[key]) for key in shown if key in line) for line in mine))
            raise trouble

    @contextmanager
    def events_of_alarms_lost(self) -> Iterator[None]:
        """Let EventBridge pass on no alarm's event meanwhile."""
        self._events.disable_rule(Name=self._alarm_rule)
        yield
        self._events.enable_rule(Name=self._alarm_rule)

    @cached_property
    def _events(self) -> Any:
        return self.system.aws.client("events")

    @cached_property
    def _alarm_rule(self) -> str:
        rules = self._events.list_rules()["Rules"]
        [name] = [rule["Name"] for rule in rules if "aws.cloudwatch" in rule.get("EventPattern", "")]
        return str(name)


def story(nodes: int = 10, **options: Any) -> Callable[[Teller], Callable[[Stage], None]]:
    """Make a test of a story that has a cluster of so many nodes for itself."""

    def make(teller: Teller) -> Callable[[Stage], None]:
        def test(stage: Stage) -> None:
            stage.finish(teller)

        test.__name__, test.__qualname__, test.__doc__ = teller.__name__, teller.__qualname__, teller.__doc__
        # Slow enough for the events after it to have a later second than those before it, as real ones do.
        test.__dict__["story"] = (teller, {"nodes": nodes, "reboot_seconds": 1.2} | options)
        return test

    return make


def chosen(items: Sequence[Any], module: str) -> list[tuple[Teller, dict[str, Any]]]:
    """Return the stories of a module among the tests that were chosen."""
    functions = [getattr(item, "function", None) for item in items if item.module.__name__ == module]
    return [function.__dict__["story"] for function in functions if "story" in getattr(function, "__dict__", {})]
