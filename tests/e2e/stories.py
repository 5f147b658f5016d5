"""Stories that are played side by side on one deployed system, so that what each waits for is waited for once."""

import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tests.e2e.system import PATIENCE, Cluster, System, eventually

Condition = Callable[[], object]
# What a story yields it waits for; the last is `quiet`: from there on nothing more can come.
Story = Generator[Condition, None, None]
ENDS = ("recovered", "not_recovered", "superseded")
_QUEUED = tuple(f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed"))


def quiet() -> bool:
    """Waited for by a story that is over: no story goes on, and the intake queue holds no message, due or delayed."""
    return False  # the stage knows


@dataclass(eq=False)
class Scene:
    """One story's cluster, and what is seen of it; `first` is the node that most stories are about."""

    system: System
    stage: "Stage"
    cluster: Cluster

    @property
    def first(self) -> str:
        return self.cluster.nodes[0]

    # -- what happens

    def breaks(self, node: str | None = None, **how: Any) -> None:
        """The node turns sick, and HyperPod says so."""
        self._admin("nodes/break", node, how)

    def heals(self, node: str | None = None) -> None:
        self._admin("nodes/heal", node, {})

    def scripts(self, node: str | None = None, **what: Any) -> None:
        self._admin("nodes/set", node, what)

    def _admin(self, path: str, node: str | None, what: dict[str, Any]) -> None:
        body = {"cluster": self.cluster.name, "node": node or self.first} | what
        self.system.aws.admin("POST", f"/_local/hyperpod/{path}", body)

    @property
    def alarm(self) -> str:
        """The name of this cluster's alarm."""
        return f"hyperpod-{self.cluster.name}"

    def alarm_is(self, state: str) -> None:
        """The alarm of the first node takes on a state, and its event goes out."""
        names = {"ClusterName": self.cluster.eks, "InstanceId": self.first}
        dimensions = [{"Name": name, "Value": value} for name, value in names.items()]
        self._put_alarm(MetricName="node_unhealthy", Namespace="Health", Dimensions=dimensions, Statistic="Maximum")
        self.set_state(state)

    def series_are(self, *nodes: str) -> None:
        """The alarm has a series for each node; it is in ALARM because of these."""
        query = "SELECT MAX(node_unhealthy) FROM Health GROUP BY ClusterName, InstanceId"
        self._put_alarm(Metrics=[{"Id": "q1", "Expression": query, "Period": 60, "ReturnData": True}])
        self.set_state("ALARM" if nodes else "OK")
        found = [{"attributes": {"ClusterName": self.cluster.name, "InstanceId": node}} for node in nodes]
        self.system.aws.admin("POST", "/_local/contributors", {"alarm": self.alarm, "contributors": found})

    def _put_alarm(self, **watched: Any) -> None:
        comparison = {"Threshold": 1, "ComparisonOperator": "GreaterThanOrEqualToThreshold", "EvaluationPeriods": 1}
        period = {} if "Metrics" in watched else {"Period": 60}
        self.stage.cloudwatch.put_metric_alarm(AlarmName=self.alarm, **comparison, **period, **watched)

    def set_state(self, state: str) -> None:
        self.stage.cloudwatch.set_alarm_state(AlarmName=self.alarm, StateValue=state, StateReason="set by a test")

    # -- what is seen

    def lines(self, outcome: str, *, node: str | None = None, **fields: str) -> list[dict[str, Any]]:
        """The log's lines of an outcome of this cluster's nodes."""
        wanted = {"cluster": self.cluster.name, "outcome": outcome} | ({"node": node} if node else {}) | fields
        return [line for line in self.stage.log if wanted.items() <= line.items()]

    def seen(self, outcome: str, *, count: int = 1, node: str | None = None, **fields: str) -> Condition:
        return lambda: len(self.lines(outcome, node=node, **fields)) >= count

    def ends(self) -> list[tuple[str, str]]:
        """Each end that a node came to."""
        return [(line["node"], line["outcome"]) for end in ENDS for line in self.lines(end)]

    def checks(self, node: str | None = None) -> list[int]:
        """The rounds of all checks of a node, or of every node of this cluster."""
        mine = [line for line in self.stage.log if line.get("cluster") == self.cluster.name and "check" in line]
        return [int(line["check"]) for line in mine if node in (None, line["node"])]

    def reboots(self) -> list[str]:
        return self.system.reboots(self.cluster)

    def told(self) -> list[dict[str, Any]]:
        """What the topic's subscriber got: `attributes`, `subject` and the JSON `message`."""
        return self.system.notifications(self.cluster.name, count=0)

    def kinds(self) -> list[str]:
        return [each["attributes"]["Kind"] for each in self.told()]

    def letters(self) -> list[dict[str, Any]]:
        """The dead letters' bodies."""
        return [json.loads(letter["body"]) for letter in self.system.letters(count=0, ClusterName=self.cluster.name)]

    def mail(self, subject: str) -> str:
        """The one mail with a subject that begins like this, after the cluster's name."""
        beginning = f"HyperPod {self.cluster.name}: {subject}"
        [mail] = [mail for mail in self.system.aws.mail() if mail["subject"] == beginning]
        text: str = mail["message"]
        return text

    def metric(self, name: str) -> list[float]:
        """All values of a metric of this cluster."""
        found = [line for line in self.stage.metrics if line.get("Cluster") == self.cluster.name and name in line]
        values = [line[name] if isinstance(line[name], list) else [line[name]] for line in found]
        return [float(value) for several in values for value in several]


Teller = Callable[[Scene], Story]


class Stage:
    """Plays stories: each in turn as far as it can go, over and over, until all are over and the queue is empty."""

    def __init__(self, system: System, tellers: Sequence[tuple[Teller, dict[str, Any]]]) -> None:
        self.system = system
        self.log: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []
        self.cloudwatch = system.aws.client("cloudwatch")
        self.scenes = {teller: Scene(system, self, system.cluster(**cluster)) for teller, cluster in tellers}
        self._troubles: dict[Teller, BaseException] = {}

    def play(self) -> None:
        """All stories, to their ends."""
        stories = {teller: teller(scene) for teller, scene in self.scenes.items()}
        waiting = {teller: self._resume(teller, story) for teller, story in stories.items()}
        deadline = time.monotonic() + PATIENCE

        def go_on() -> bool:
            self._look()
            for teller, story in stories.items():
                condition = waiting[teller]
                if condition is None or condition is quiet:
                    continue
                if condition():
                    waiting[teller] = self._resume(teller, story)
                elif time.monotonic() > deadline:
                    waiting[teller] = self._resume(teller, story, AssertionError(f"not seen within {PATIENCE:g} s"))
            return all(condition in (None, quiet) for condition in waiting.values())

        eventually(go_on, patience=2 * PATIENCE)
        eventually(lambda: not any(self.queued().values()))
        self._look()
        for teller, story in stories.items():
            self._resume(teller, story)

    def _resume(self, teller: Teller, story: Story, trouble: BaseException | None = None) -> Condition | None:
        """Go on with a story; what it waits for next, None where it is over or came to grief: its test tells."""
        try:
            return story.throw(trouble) if trouble else next(story)
        except StopIteration:
            return None
        except Exception as error:
            self._troubles[teller] = error
            return None

    def _look(self) -> None:
        lines = self.system.json_lines()
        self.log = [line for line in lines if "level" in line]
        self.metrics = [line for line in lines if "_aws" in line]

    def finish(self, teller: Teller) -> None:
        """Raise what a story came to grief with, and tell what the log has of it."""
        trouble = self._troubles.get(teller)
        if trouble:
            cluster = self.scenes[teller].cluster.name
            mine = [line for line in self.log if cluster in json.dumps(line)]
            shown = ("timestamp", "node", "outcome", "code", "check", "report_time", "event_id", "reason")
            trouble.add_note("\n".join(" ".join(str(line.get(key)) for key in shown) for line in mine))
            raise trouble

    def queued(self) -> dict[str, int]:
        """How many messages the intake queue holds, by their state."""
        url = self.system.outputs["IntakeQueueUrl"]
        attributes = self.system.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_QUEUED))["Attributes"]
        return {name: int(attributes[name]) for name in _QUEUED}

    @contextmanager
    def events_of_alarms_lost(self) -> Iterator[None]:
        """Meanwhile no alarm's event reaches the queue; stories take turns, so it concerns only who asks for it."""
        self._events.disable_rule(Name=self._alarm_rule)
        yield
        self._events.enable_rule(Name=self._alarm_rule)

    @cached_property
    def _events(self) -> Any:
        return self.system.aws.client("events")

    @cached_property
    def _alarm_rule(self) -> str:
        [name] = [
            rule["Name"] for rule in self._events.list_rules()["Rules"] if "aws.cloudwatch" in rule["EventPattern"]
        ]
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
