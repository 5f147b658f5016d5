"""What an operator can set, once, for the stack and the function: context `remediation` in cdk.json.

A setting is one line in `Settings`: its default as an operator would write it, what it takes, what it is for.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from math import ceil
from typing import Any, Generic, NamedTuple, Self, TypeVar

MAX_RECEIVES = 5
FUNCTION_TIMEOUT = timedelta(seconds=60)
METRICS_NAMESPACE = "HyperPodNodeRemediation"
# After how long without a write the ledger forgets an item by itself.
LEDGER_RETENTION = timedelta(hours=168)
# A check is a message that this system sends to itself: Lambda stops a chain of these after about 16 rounds, and SQS
# delays a message by at most 15 minutes.
MOST_ROUNDS = 10
LONGEST_DELAY = timedelta(minutes=15)
MODES = ("active", "observe", "paused")
ENVIRONMENT_VARIABLE = "REMEDIATION_SETTINGS"

# The only values that CloudWatch Logs accepts (PutRetentionPolicy).
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)  # fmt: skip  # noqa: E501

T = TypeVar("T")
Parse = Callable[[object], T]


class SettingsError(ValueError):
    """A setting is unknown or has a value it does not take; one line that a person can act on."""

    def __init__(self, key: str, problem: str) -> None:
        name = f"remediation.{key}" if key else "remediation"
        super().__init__(" ".join(f"{name}: {problem}".split()))


class ClusterTag(NamedTuple):
    """The tag that a cluster must carry before IAM lets the function touch it."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """How one kind of value is read (ValueError if it cannot be), described, and written so that it reads the same."""

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
            # `-c remediation.KEY=VALUE` can only give text.
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

    return Kind(parse, f'a duration from "{least}" to "{most}" such as "90s", "30m", "24h"', in_words)


def _read_duration(value: object) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,9})([smh])", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError
    return timedelta(seconds=int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]])


def in_words(value: timedelta) -> str:
    """In the largest unit that divides it and takes more than one of it: "60m", not "3600s" and not "1h"."""
    seconds = value // timedelta(seconds=1)
    for unit, size in (("h", 3600), ("m", 60)):
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


_NAME = r"(?=.{1,63}$)[A-Za-z0-9](-*[A-Za-z0-9])*"
_PATTERNS = _list_of(_text(r"[A-Za-z0-9*-]{1,63}"), 'HyperPod cluster names, "*" standing for any part', least=1)
_CLUSTER = _optional(Kind(_text(_NAME), "a HyperPod cluster name"))
# A prefix becomes part of ARN patterns in IAM, where these characters would mean more than themselves.
_PREFIXES = _list_of(_text(r"[^*?$\x00-\x1f]{1,255}"), "beginnings of alarm names, without *, ? or $")
# Alarms cannot publish to FIFO topics, whose names end in .fifo.
_TOPICS = _list_of(
    _text(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}"), "ARNs of standard SNS topics"
)
_EMAILS = _list_of(_text(r"[^@\s,]+@[^@\s,]+\.[^@\s,]+"), "e-mail addresses")
_GROUPS = _list_of(_text(r"[A-Za-z0-9*-]{1,63}"), 'instance group names, "*" standing for any part')
# A longer window would be cut short by what the ledger forgets.
_WINDOW = _duration("1s", in_words(LEDGER_RETENTION))
_CHECKED = _duration("1s", in_words(MOST_ROUNDS * LONGEST_DELAY))
_FLAG = Kind(_true_or_false, "true or false")
_TAG = _optional(Kind(_read_tag, 'a tag as "key=value"', lambda tag: f"{tag.key}={tag.value}"))


def _setting(default: object, kind: Kind[T], purpose: str) -> T:
    """A field of Settings; typed as its value, so that the annotation beside it is checked against its kind."""
    metadata = {"kind": kind, "default": default, "purpose": purpose}
    value: T = field(default=kind.parse(default), metadata=metadata)
    return value


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, valid by themselves and together. Raises SettingsError where they contradict each other."""

    # RUF009 fears defaults shared between instances; these are all immutable.

    clusters: tuple[str, ...] = _setting(["*"], _PATTERNS, "clusters whose nodes may be rebooted")
    default_cluster: str | None = _setting(None, _CLUSTER, "the cluster of reports that name none")
    alarm_name_prefixes: tuple[str, ...] = _setting(["hyperpod-"], _PREFIXES, "alarms that report nodes; []: no alarms")
    alarm_topic_arns: tuple[str, ...] = _setting([], _TOPICS, "topics that may feed alarms into the intake queue")
    batch_size: int = _setting(100, _whole(1, 10_000), "most reports that one invocation takes")
    batch_window: timedelta = _setting("5s", _duration("0s", "300s"), "longest wait for a batch to fill")  # noqa: RUF009
    max_concurrency: int = _setting(5, _whole(2, 1_000), "most invocations that read the queue at once")
    notification_emails: tuple[str, ...] = _setting([], _EMAILS, "people who are mailed what failed")
    notify_rebooted: bool = _setting(False, _FLAG, "whether reboots that went well are notified too")
    cluster_tag: ClusterTag | None = _setting(None, _TAG, "only clusters so tagged, by IAM")  # noqa: RUF009
    log_retention_days: int = _setting(90, _one_of(LOG_RETENTION_DAYS), "how long the function's logs are kept")
    mode: str = _setting("active", _word(*MODES), "the mode where the mode parameter does not exist")
    cooldown: timedelta = _setting("30m", _duration("1s", "24h"), "the least time between two reboots of a node")  # noqa: RUF009
    max_reboots_per_node: int = _setting(2, _whole(1, 100), "most reboots of a node in max_reboots_window")
    max_reboots_window: timedelta = _setting("24h", _WINDOW, "the window of max_reboots_per_node")  # noqa: RUF009
    budget_percent: int = _setting(20, _whole(1, 100), "most of a cluster's nodes, in percent, in budget_window")
    budget_min_nodes: int = _setting(2, _whole(1, 1_000), "reboots in budget_window that even a small cluster gets")
    budget_window: timedelta = _setting("60m", _WINDOW, "the window of budget_percent")  # noqa: RUF009
    max_report_age: timedelta = _setting("60m", _duration("1m", "24h"), "longest wait of a report before it is stale")  # noqa: RUF009
    on_replacement_advised: str = _setting("refuse", _word("refuse", "reboot"), "when HyperPod advises replacement")
    protected_instance_groups: tuple[str, ...] = _setting(
        ["*controller*", "*head*", "*login*"], _GROUPS, "instance groups whose nodes are never rebooted"
    )

    verify_after: timedelta = _setting("15m", _CHECKED, "how long after a reboot it is first checked")  # noqa: RUF009
    verify_timeout: timedelta = _setting("45m", _CHECKED, "when a node has not come back")  # noqa: RUF009
    retry_attempts: int = _setting(0, _whole(0, MOST_ROUNDS - 1), "how often a node that was busy is tried again")
    retry_delay: timedelta = _setting("2m", _duration("1s", "15m"), "wait before the first of these, then doubling")  # noqa: RUF009

    def __post_init__(self) -> None:
        if self.batch_size > 10 and self.batch_window < timedelta(seconds=1):  # noqa: PLR2004  # Lambda's own limit
            raise SettingsError("batch_window", 'takes at least "1s" when batch_size is over 10')
        if self.default_cluster is not None and not self.allows(self.default_cluster):
            raise SettingsError("default_cluster", f"takes a cluster that remediation.clusters allows, not {_shown(self.default_cluster)}")  # fmt: skip  # noqa: E501
        for name, window in (("budget_window", self.budget_window), ("max_reboots_window", self.max_reboots_window)):
            if self.cooldown > window:
                most, given = in_words(window), in_words(self.cooldown)
                raise SettingsError("cooldown", f'takes at most {name}, which is "{most}", not "{given}"')
        self._check_rounds()

    def _check_rounds(self) -> None:
        """What the rounds of a chain of checks cannot reach is refused here, not found out at night."""
        after, timeout = in_words(self.verify_after), in_words(self.verify_timeout)
        if self.verify_after > self.verify_timeout:
            raise SettingsError("verify_after", f'takes at most verify_timeout, which is "{timeout}", not "{after}"')
        checks = f"checks come at most {in_words(LONGEST_DELAY)} apart and {MOST_ROUNDS} in a row"
        if self.rounds_to_verify > MOST_ROUNDS:
            raise SettingsError("verify_timeout", f'"{timeout}" is too long with verify_after "{after}": {checks}')
        left = MOST_ROUNDS - self.rounds_to_verify
        if self.retry_attempts > left:
            raise SettingsError("retry_attempts", f'takes at most {left} with verify_after "{after}" and verify_timeout "{timeout}", not {self.retry_attempts}: {checks}')  # fmt: skip  # noqa: E501

    @property
    def rounds_to_verify(self) -> int:
        """How many checks it takes to see a reboot to its end."""
        return ceil(self.verify_after / LONGEST_DELAY) + ceil((self.verify_timeout - self.verify_after) / LONGEST_DELAY)

    @classmethod
    def from_context(cls, context: object) -> Self:
        """From the merged `remediation` context, key to value. Raises SettingsError."""
        if not isinstance(context, Mapping):
            raise SettingsError("", f"takes an object of settings, not {_shown(context)}")
        kinds = {each.name: each.metadata["kind"] for each in fields(cls)}
        return cls(**{key: _parsed(str(key), value, kinds) for key, value in context.items()})

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """What `to_env` wrote. Raises SettingsError."""
        try:
            context = json.loads(environ[ENVIRONMENT_VARIABLE])
        except (KeyError, ValueError) as error:
            raise SettingsError("", f"the environment variable {ENVIRONMENT_VARIABLE} takes a JSON object") from error
        return cls.from_context(context)

    def to_context(self) -> dict[str, object]:
        """As an operator would write it in cdk.json, every key spelled out."""
        return {each.name: each.metadata["kind"].write(getattr(self, each.name)) for each in fields(self)}

    def to_env(self) -> dict[str, str]:
        return {ENVIRONMENT_VARIABLE: json.dumps(self.to_context(), separators=(",", ":"))}

    def allows(self, cluster: str) -> bool:
        return any(matches(pattern, cluster) for pattern in self.clusters)

    def watches(self, alarm: str) -> bool:
        return alarm.startswith(self.alarm_name_prefixes)

    @property
    def only_cluster(self) -> str | None:
        """The one cluster that may be meant where nothing names any."""
        name = self.clusters[0]
        return name if len(self.clusters) == 1 and "*" not in name else None


def matches(pattern: str, name: str) -> bool:
    """Whether the whole name fits a pattern in which only `*` is special."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), name, re.DOTALL) is not None


def _parsed(key: str, value: object, kinds: Mapping[str, Kind[Any]]) -> Any:
    if key not in kinds:
        raise SettingsError(_short(key), f"no such setting; {_similar(key, kinds)}")
    try:
        return kinds[key].parse(value)
    except (ValueError, KeyError) as error:
        raise SettingsError(key, f"takes {kinds[key].takes}, not {_shown(value)}") from error


def _similar(key: str, known: Mapping[str, object]) -> str:
    import difflib  # only for this message: the function's cold start does without  # noqa: PLC0415

    close = difflib.get_close_matches(key, known)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"


def _shown(value: object) -> str:
    return _short(json.dumps(value, ensure_ascii=False, default=str))


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004
