"""Defines the settings and the constants that the stack and the function share.

An operator sets them in the context `remediation` in cdk.json. Each setting is one line in `Settings`: its default as
written in cdk.json, the values that it takes, and its purpose.
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar

MAX_RECEIVES = 5
FUNCTION_TIMEOUT = timedelta(seconds=60)
# It uses a tenth. More memory gives more CPU: with 512 MB, a sweep over 10,000 nodes does not end in its time.
FUNCTION_MEMORY_MB = 1_024
METRICS_NAMESPACE = "HyperPodNodeRemediation"
# The longest window of a limit: the ledger keeps the reboots of a node and of a cluster at least as long.
LEDGER_RETENTION = timedelta(hours=168)
# The sweep: the event that the stack's schedule sends to the function, and the index that the function then reads.
SWEEP_SOURCE = "hyperpod.node-remediation"
SWEEP_DETAIL_TYPE = "HyperPod Node Remediation Sweep"
# The event that the stack's schedule sends daily the way that reports go.
CANARY_DETAIL_TYPE = "HyperPod Node Remediation Canary"
# The events that tell other systems of an incident's state.
STATE_CHANGE_DETAIL_TYPE = "HyperPod Node Incident State Change"
SWEEP_EVERY = timedelta(minutes=1)
INDEX_NAME = "due"
SHARDS = 8
# From the least strict to the strictest.
MODES = ("active", "observe", "paused")
ENVIRONMENT_VARIABLE = "REMEDIATION_SETTINGS"
# Lambda takes 4 KB of environment variables in all; the rest is for the names of queues, topic and table.
MOST_ENVIRONMENT = 3_000  # bytes

# The only values that CloudWatch Logs accepts (PutRetentionPolicy).
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)  # fmt: skip  # noqa: E501

ACTIONS = ("reboot", "ask", "replace", "none")

T = TypeVar("T")
Parse = Callable[[object], T]


class SettingsError(ValueError):
    """Reports, in one line, a setting that is unknown or has a value that it does not take."""

    def __init__(self, key: str, problem: str) -> None:
        name = f"remediation.{key}" if key else "remediation"
        super().__init__(" ".join(f"{name}: {problem}".split()))


@dataclass(frozen=True, slots=True)
class ClusterTag:
    """Names the tag that a cluster must have before IAM lets the function reboot its nodes."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Override:
    """Says what is done about some complaints in place of a reboot at once; each pattern takes `*`.

    `source` is hyperpod, alarm:NAME, alert:NAME or request; `reason` is the complaint's. The complaint must stand for
    `wait`; then the `action` is reboot, ask (a person or a script approves), replace or none.
    """

    cluster: str = "*"
    instance_group: str = "*"
    source: str = "*"
    reason: str = "*"
    wait: timedelta = timedelta(0)
    action: str = "reboot"

    def matches(self, *, cluster: str, group: str, source: str, reason: str) -> bool:
        """Tell whether it is meant for a complaint; `group` is empty where the node's is not known."""
        pairs = (self.cluster, cluster), (self.instance_group, group), (self.source, source), (self.reason, reason)
        return all(matches(pattern, value) for pattern, value in pairs)


class EntryError(ValueError):
    """Reports, in one line, the entry and the field of a list that are wrong."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """Parses a kind of value (ValueError if it is wrong), describes it, and writes it so that it parses to the same."""

    parse: Parse[T]
    takes: str
    write: Callable[[Any], object] = lambda value: value


def _text(pattern: str) -> Parse[str]:
    def parse(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise ValueError

    return parse


def _list_of(parse_item: Parse[str], takes: str, *, least: int = 0) -> Kind[tuple[str, ...]]:
    def items(value: object) -> list[object]:
        if isinstance(value, str):
            # `-c remediation.KEY=VALUE` gives text only.
            value = json.loads(value) if value.startswith("[") else [part.strip() for part in value.split(",") if value]
        if isinstance(value, list | tuple):
            return list(value)
        raise ValueError

    def parse(value: object) -> tuple[str, ...]:
        parsed = tuple(dict.fromkeys(parse_item(item) for item in items(value)))
        if len(parsed) < least:
            raise ValueError
        return parsed

    return Kind(parse, takes, list)


def _optional(kind: Kind[T]) -> Kind[T | None]:
    def parse(value: object) -> T | None:
        return None if value in (None, "", "null") else kind.parse(value)

    return Kind(parse, f"{kind.takes}, or null", lambda value: None if value is None else kind.write(value))


def _number(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]+", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _whole(least: int, most: int) -> Kind[int]:
    return Kind(lambda value: _within(_number(value), least, most), f"a whole number from {least} to {most}")


def _one_of(allowed: tuple[int, ...]) -> Kind[int]:
    def parse(value: object) -> int:
        return allowed[allowed.index(_number(value))]

    return Kind(parse, f"one of {', '.join(map(str, allowed))}")


def _word(*allowed: str) -> Kind[str]:
    def parse(value: object) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return Kind(parse, f"one of {', '.join(allowed)}")


def _within(value: Any, least: Any, most: Any) -> Any:
    if not least <= value <= most:
        raise ValueError
    return value


def _duration(least: str, most: str) -> Kind[timedelta]:
    def parse(value: object) -> timedelta:
        return _within(_read_duration(value), _read_duration(least), _read_duration(most))  # type: ignore[no-any-return]

    return Kind(parse, f'a duration from "{least}" to "{most}" such as "90s", "30m", "7d"', in_words)


def _read_duration(value: object) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    return timedelta(seconds=int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])


def in_words(value: timedelta) -> str:
    """Write a duration in the largest unit that divides it more than once: "60m", not "3600s" and not "1h"."""
    seconds = value // timedelta(seconds=1)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds > size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _true_or_false(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[str(value).lower()]


def _read_tag(value: object) -> ClusterTag:
    match = re.fullmatch(r"([\w .:/+\-@]{1,128})=([\w .:/=+\-@]{0,256})", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    return ClusterTag(key=match[1], value=match[2])


def _read_overrides(value: object) -> tuple[Override, ...]:
    if isinstance(value, str):  # `-c remediation.overrides=JSON` gives text
        value = json.loads(value or "[]")
    if not isinstance(value, list | tuple):
        raise EntryError(f"takes a list of objects with the fields {', '.join(_OVERRIDE)}, not {_shown(value)}")
    return tuple(_read_override(f"entry {number}", entry) for number, entry in enumerate(value, start=1))


def _read_override(name: str, entry: object) -> Override:
    if not isinstance(entry, Mapping):
        raise EntryError(f"{name}: takes an object with the fields {', '.join(_OVERRIDE)}, not {_shown(entry)}")
    read = {}
    for field_, value in entry.items():
        kind = _OVERRIDE.get(field_)
        if kind is None:
            raise EntryError(f"{name}: {_short(str(field_))}: no such field; there are {', '.join(_OVERRIDE)}")
        try:
            read[field_] = kind.parse(value)
        except ValueError as error:
            raise EntryError(f"{name}: {field_}: takes {kind.takes}, not {_shown(value)}") from error
    override = Override(**read)
    if override.source == "request" and override.wait:
        raise EntryError(f"{name}: wait: takes nothing with source request, which is judged at once")
    return override


def _write_override(override: Override) -> dict[str, object]:
    changed = {each.name: getattr(override, each.name) for each in fields(Override)}
    return {name: _OVERRIDE[name].write(value) for name, value in changed.items() if value != getattr(Override(), name)}


# Names that the stack sets itself, and those that Lambda reserves ("Defined runtime environment variables").
_OWN_VARIABLES = re.compile(
    rf"{ENVIRONMENT_VARIABLE}|INTAKE_QUEUE_URL|DEAD_LETTER_QUEUE_URL|FAILURE_TOPIC_ARN|EVENT_BUS|LEDGER_TABLE|MODE_PARAMETER"
    r"|_HANDLER|_X_AMZN_TRACE_ID|AWS_(?:DEFAULT_REGION|REGION|EXECUTION_ENV|LAMBDA_.*|ACCESS_KEY.*|SECRET_ACCESS_KEY"
    r"|SESSION_TOKEN)|LAMBDA_TASK_ROOT|LAMBDA_RUNTIME_DIR|TZ"
)


def _pairs(name: str, value: str, *, refused: re.Pattern[str] | None = None) -> Parse[tuple[tuple[str, str], ...]]:
    """Return a parser of an object whose names and values match the patterns."""

    def parse(given: object) -> tuple[tuple[str, str], ...]:
        if isinstance(given, str):
            given = json.loads(given or "{}")
        if not isinstance(given, Mapping):
            raise EntryError(f"takes an object of texts, not {_shown(given)}")
        for key, text in given.items():
            if not re.fullmatch(name, key) or (refused and refused.fullmatch(key)):
                raise EntryError(f"{_short(key)}: is no name that it takes")
            if not isinstance(text, str) or not re.fullmatch(value, text):
                raise EntryError(f"{_short(key)}: takes a text, not {_shown(text)}")
        return tuple(sorted(given.items()))

    return parse


_NAME = r"(?=.{1,63}$)[A-Za-z0-9](-*[A-Za-z0-9])*"
_PATTERNS = _list_of(_text(r"[A-Za-z0-9*-]{1,63}"), 'HyperPod cluster names, "*" standing for any part', least=1)
_CLUSTER = _optional(Kind(_text(_NAME), "a HyperPod cluster name"))
# A prefix becomes part of ARN patterns in IAM, where these characters have a special meaning.
_PREFIXES = _list_of(_text(r"[^*?$\x00-\x1f]{1,255}"), "beginnings of alarm names, without *, ? or $")
# Alarms cannot publish to FIFO topics, whose names end in .fifo.
_TOPIC_ARN = _text(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}")
_TOPICS = _list_of(_TOPIC_ARN, "ARNs of standard SNS topics")
_TOPIC = _optional(Kind(_TOPIC_ARN, "the ARN of a standard SNS topic"))
_BUS = _optional(
    Kind(
        _text(r"arn:aws[a-z-]*:events:[a-z0-9-]+:[0-9]{12}:event-bus/[/.\-_A-Za-z0-9]{1,256}"),
        "the ARN of an event bus",
    )
)
_EMAILS = _list_of(_text(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+"), "e-mail addresses")
_GROUPS = _list_of(_text(r"[A-Za-z0-9*-]{1,63}"), 'instance group names, "*" standing for any part')
_OVERRIDE: Mapping[str, Kind[Any]] = {
    "cluster": Kind(_text(r"[A-Za-z0-9*-]{1,63}"), 'a HyperPod cluster name, "*" standing for any part'),
    "instance_group": Kind(_text(r"[A-Za-z0-9*-]{1,63}"), 'an instance group name, "*" standing for any part'),
    "source": Kind(
        _text(r"\*|hyperpod|request|(?:alarm|alert):.{1,255}"), "hyperpod, request, alarm:NAME, alert:NAME or *"
    ),
    "reason": Kind(_text(r"[^\x00-\x1f]{1,200}"), 'a text, "*" standing for any part'),
    "wait": _duration("0s", "24h"),
    "action": _word(*ACTIONS),
}
_OVERRIDES = Kind(
    _read_overrides,
    f"a list of objects with the fields {', '.join(_OVERRIDE)}",
    lambda overrides: [_write_override(each) for each in overrides],
)
_WINDOW = _duration("1s", in_words(LEDGER_RETENTION))
_UP_TO_A_DAY = _duration("1s", "24h")
_SUBNETS = _list_of(_text(r"subnet-[0-9a-f]{8,17}"), "IDs of subnets, subnet-…")
_SECURITY_GROUPS = _list_of(_text(r"sg-[0-9a-f]{8,17}"), "IDs of security groups, sg-…")
_VARIABLES = Kind(_pairs(r"[A-Za-z][A-Za-z0-9_]+", r"[^\x00]*", refused=_OWN_VARIABLES), "an object of texts", dict)
_TAGS = Kind(_pairs(r"(?!aws:)[\w .:/=+\-@]{1,128}", r"[\w .:/=+\-@]{0,256}"), "an object of texts", dict)
_BOUNDARY = _optional(
    Kind(_text(r"arn:aws[a-z-]*:iam::(?:[0-9]{12}|aws):policy/[\w+=,.@/-]{1,512}"), "the ARN of a managed policy")
)
_STACK_NAME = _optional(Kind(_text(r"[A-Za-z][A-Za-z0-9-]{0,127}"), "a name of letters, digits and hyphens"))
_CONCURRENCY = _optional(_whole(3, 10_000))
_URL = _optional(Kind(_text(r"https?://[^\s#]{1,400}"), "a URL without #"))
_TIME_OF_DAY = _optional(Kind(_text(r"([01][0-9]|2[0-3]):[0-5][0-9]"), 'a time of day in UTC such as "08:00"'))
_FLAG = Kind(_true_or_false, "true or false")
_TAG = _optional(Kind(_read_tag, 'a tag as "key=value"', lambda tag: f"{tag.key}={tag.value}"))


def _setting(default: object, kind: Kind[T], purpose: str, *, of_stack: bool = False) -> T:
    """Make a field of Settings. Its type is the value's, so that mypy checks the field's annotation.

    `of_stack` marks a setting that the function does not need.
    """
    metadata = {"kind": kind, "default": default, "purpose": purpose, "of_stack": of_stack}
    value: T = field(default=kind.parse(default), metadata=metadata)
    return value


@dataclass(frozen=True, slots=True)
class Settings:
    """Holds all settings. Raises SettingsError if two of them contradict each other."""

    clusters: tuple[str, ...] = _setting(["*"], _PATTERNS, "HyperPod clusters whose nodes may be rebooted")
    default_cluster: str | None = _setting(None, _CLUSTER, "the cluster of reports that name no cluster")
    alarm_name_prefixes: tuple[str, ...] = _setting(
        ["hyperpod-reboot-"], _PREFIXES, "alarms whose names begin so report nodes; []: none does"
    )
    alarm_topic_arns: tuple[str, ...] = _setting(
        [], _TOPICS, "topics that alarms publish to, which feed the intake queue", of_stack=True
    )
    batch_size: int = _setting(100, _whole(1, 10_000), "most messages in one invocation", of_stack=True)
    batch_window: timedelta = _setting("5s", _duration("0s", "300s"), "longest wait for a batch to fill", of_stack=True)
    max_concurrency: int = _setting(
        5, _whole(2, 1_000), "most invocations that read the queue at the same time", of_stack=True
    )
    notification_emails: tuple[str, ...] = _setting(
        [], _EMAILS, "e-mail addresses subscribed to the failure topic", of_stack=True
    )
    operations_topic_arn: str | None = _setting(
        None, _TOPIC, "topic for alarms on this system itself, in place of the failure topic", of_stack=True
    )
    event_bus_arn: str | None = _setting(
        None, _BUS, "event bus for state changes of incidents; null: the account's default bus", of_stack=True
    )
    runbook_url: str | None = _setting(
        None, _URL, "where your team hosts docs/runbook.md: each mail links to its section there"
    )
    notify_rebooted: bool = _setting(False, _FLAG, "whether successful reboots are notified too")
    daily_summary: str | None = _setting(None, _TIME_OF_DAY, "when a summary of the last 24 hours is sent; null: never")
    recurrence_window: timedelta = _setting(
        "7d", _WINDOW, "the third incident of a node with the same reason in this time is notified as recurring"
    )
    burst_window: timedelta = _setting(
        "60s", _duration("0s", "10m"), "how long notices of a burst are gathered after the first; 0s: not at all"
    )
    cluster_tag: ClusterTag | None = _setting(None, _TAG, "a tag that IAM requires of each cluster", of_stack=True)
    log_retention_days: int = _setting(
        90, _one_of(LOG_RETENTION_DAYS), "how long the function's logs are kept", of_stack=True
    )
    mode: str = _setting("active", _word(*MODES), "the mode where the mode parameter gives none")
    cooldown: timedelta = _setting("30m", _UP_TO_A_DAY, "the least time between two reboots of a node")
    max_reboots_per_node: int = _setting(2, _whole(1, 100), "most reboots of a node in max_reboots_window")
    max_reboots_window: timedelta = _setting("24h", _WINDOW, "the window of max_reboots_per_node")
    budget_percent: int = _setting(
        20, _whole(1, 100), "most reboots in budget_window, in percent of the cluster's nodes"
    )
    budget_min_nodes: int = _setting(2, _whole(1, 1_000), "reboots in budget_window that even a small cluster gets")
    budget_window: timedelta = _setting("60m", _WINDOW, "the window of budget_percent")
    max_report_age: timedelta = _setting("60m", _duration("1m", "24h"), "longest wait in the intake queue")
    on_replacement_advised: str = _setting(
        "refuse", _word("refuse", "reboot"), "if HyperPod advises a replacement but does not do it"
    )
    protected_instance_groups: tuple[str, ...] = _setting(
        ["*controller*", "*head*", "*login*"], _GROUPS, "instance groups whose nodes are never rebooted"
    )
    verify_after: timedelta = _setting("15m", _UP_TO_A_DAY, "how often a rebooted node is looked at")
    verify_timeout: timedelta = _setting("45m", _UP_TO_A_DAY, "how long a rebooted node has to recover")
    healthy_for: timedelta = _setting(
        "2m", _duration("0s", "24h"), "how long a rebooted node must stay healthy before it has recovered"
    )
    automatic_grace: timedelta = _setting(
        "5m", _duration("0s", "24h"), "how long an alarm alone waits for HyperPod's own repair, if Automatic"
    )
    overrides: tuple[Override, ...] = _setting(
        [], _OVERRIDES, "other actions for some complaints; the first match wins"
    )
    ask_timeout: timedelta = _setting("15m", _UP_TO_A_DAY, "how long an answer to a proposed reboot is waited for")
    on_no_answer: str = _setting("refuse", _word("refuse", "reboot"), "what an unanswered proposal comes to")
    escalation: str = _setting(
        "none",
        _word("none", "replace"),
        "whether nodes that a reboot did not help are replaced, which destroys their volumes",
    )
    replace_budget: int = _setting(1, _whole(1, 100), "most replacements in a cluster in 24 hours")
    repair_timeout: timedelta = _setting("90m", _UP_TO_A_DAY, "how long a repair or replacement has to succeed")
    retry_attempts: int = _setting(0, _whole(0, 9), "automatic retries of a node that was busy")
    retry_delay: timedelta = _setting("2m", _duration("1s", "15m"), "wait before the first retry; it doubles each time")
    dashboard: bool = _setting(True, _FLAG, "whether the stack has a CloudWatch dashboard", of_stack=True)
    full_sdk: bool = _setting(False, _FLAG, "whether the asset ships the whole SDK, as pip installs it", of_stack=True)
    vpc_subnet_ids: tuple[str, ...] = _setting([], _SUBNETS, "subnets of the function; []: in no VPC", of_stack=True)
    security_group_ids: tuple[str, ...] = _setting(
        [], _SECURITY_GROUPS, "security groups of the function, if it is in a VPC", of_stack=True
    )
    environment: tuple[tuple[str, str], ...] = _setting(
        {}, _VARIABLES, "further environment variables of the function, such as AWS_CA_BUNDLE", of_stack=True
    )
    reserved_concurrency: int | None = _setting(
        None, _CONCURRENCY, "invocations of the account that are kept for the function", of_stack=True
    )
    permissions_boundary_arn: str | None = _setting(
        None, _BOUNDARY, "permissions boundary of every role of the stack", of_stack=True
    )
    tags: tuple[tuple[str, str], ...] = _setting({}, _TAGS, "tags of every resource of the stack", of_stack=True)
    retain: bool = _setting(
        False, _FLAG, "whether ledger, queues, key and logs survive the deletion of the stack", of_stack=True
    )
    stack_name: str | None = _setting(
        None, _STACK_NAME, "the stack's name, in place of HyperPodNodeRemediation", of_stack=True
    )

    def __post_init__(self) -> None:
        if self.batch_size > 10 and self.batch_window < timedelta(seconds=1):  # noqa: PLR2004  # Lambda's own limit
            raise SettingsError("batch_window", 'takes at least "1s" when batch_size is over 10')
        if self.default_cluster is not None and not self.allows(self.default_cluster):
            raise SettingsError(
                "default_cluster",
                f"takes a cluster that remediation.clusters allows, not {_shown(self.default_cluster)}",
            )
        if bool(self.vpc_subnet_ids) is not bool(self.security_group_ids):
            missing = "security_group_ids" if self.vpc_subnet_ids else "vpc_subnet_ids"
            raise SettingsError(missing, "takes at least one, as a function in a VPC has subnets and security groups")
        # The sweep and alarms invoke the function beside those that read the queue.
        if self.reserved_concurrency is not None and self.reserved_concurrency <= self.max_concurrency:
            raise SettingsError(
                "reserved_concurrency", f"takes more than max_concurrency, which is {self.max_concurrency}"
            )
        self._check_at_most("cooldown", "budget_window")
        self._check_at_most("cooldown", "max_reboots_window")
        self._check_at_most("verify_after", "verify_timeout")

    def _check_at_most(self, key: str, other: str) -> None:
        value, most = getattr(self, key), getattr(self, other)
        if value > most:
            raise SettingsError(key, f'takes at most {other}, which is "{in_words(most)}", not "{in_words(value)}"')

    @classmethod
    def from_context(cls, context: object) -> Self:
        """Parse the merged `remediation` context. Raises SettingsError."""
        if not isinstance(context, Mapping):
            raise SettingsError("", f"takes an object of settings, not {_shown(context)}")
        return cls(**{key: _parsed(str(key), value) for key, value in context.items()})

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Parse what `to_env` wrote. Raises SettingsError."""
        try:
            context = json.loads(environ[ENVIRONMENT_VARIABLE])
        except (KeyError, ValueError) as error:
            raise SettingsError("", f"the environment variable {ENVIRONMENT_VARIABLE} takes a JSON object") from error
        return cls.from_context(context)

    def to_context(self) -> dict[str, object]:
        """Write every setting as an operator writes it in cdk.json."""
        return {each.name: each.metadata["kind"].write(getattr(self, each.name)) for each in fields(self)}

    def to_env(self) -> dict[str, str]:
        """Write the function's own settings that differ from their defaults.

        Raises SettingsError beyond MOST_ENVIRONMENT bytes.
        """
        kept = [
            each for each in fields(self) if not each.metadata["of_stack"] and getattr(self, each.name) != each.default
        ]
        written = {each.name: each.metadata["kind"].write(getattr(self, each.name)) for each in kept}
        text = json.dumps(written, separators=(",", ":"))
        own = "".join(name + value for name, value in self.environment)
        if (size := len(text.encode()) + len(own.encode())) > MOST_ENVIRONMENT:
            sizes = {**{name: len(json.dumps(value)) for name, value in written.items()}, "environment": len(own)}
            raise SettingsError(
                max(sizes, key=lambda name: sizes[name]),
                f"is too long: the function's settings and environment take {size} bytes, of at most "
                f"{MOST_ENVIRONMENT}",
            )
        return {ENVIRONMENT_VARIABLE: text}

    def allows(self, cluster: str) -> bool:
        return any(matches(pattern, cluster) for pattern in self.clusters)

    def protects(self, group: str) -> bool:
        """Tell whether nodes of an instance group are never rebooted; in any case, as people write Login or login."""
        return any(matches(pattern.lower(), group.lower()) for pattern in self.protected_instance_groups)

    @property
    def by_group(self) -> bool:
        """Tell whether what is done about a node depends on its instance group."""
        return any(each.instance_group != "*" for each in self.overrides)

    @property
    def replaces(self) -> bool:
        """Tell whether nodes may be replaced at all."""
        return self.escalation == "replace" or any(each.action == "replace" for each in self.overrides)

    def watches(self, alarm: str) -> bool:
        return alarm.startswith(self.alarm_name_prefixes)

    @property
    def only_cluster(self) -> str | None:
        """Return the cluster if exactly one is allowed: a report that names no cluster must mean it."""
        name = self.clusters[0]
        return name if len(self.clusters) == 1 and "*" not in name else None


def matches(pattern: str, name: str) -> bool:
    """Tell whether the whole name fits the pattern, in which only `*` is special."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def suggestion(key: str) -> str:
    """Name the setting that was probably meant and what it takes, or name all settings if none is similar."""
    kinds = _kinds()
    close = difflib.get_close_matches(key.lower(), kinds, n=1)
    if not close:
        return f"there are {', '.join(kinds)}"
    return f"did you mean remediation.{close[0]}, which takes {kinds[close[0]].takes}?"


def _kinds() -> Mapping[str, Kind[Any]]:
    return {each.name: each.metadata["kind"] for each in fields(Settings)}


def _parsed(key: str, value: object) -> Any:
    kind = _kinds().get(key)
    if kind is None:
        raise SettingsError(_short(key), f"no such setting; {suggestion(key)}")
    try:
        return kind.parse(value)
    except EntryError as error:
        raise SettingsError(key, str(error)) from error
    except (ValueError, KeyError) as error:
        raise SettingsError(key, f"takes {kind.takes}, not {_shown(value)}") from error


def _shown(value: object) -> str:
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004
