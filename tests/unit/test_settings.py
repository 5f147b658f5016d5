"""Tests the settings: what each takes, from cdk.json, from the command line and from the environment."""

import json
from dataclasses import fields
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation.settings import (
    LEDGER_RETENTION,
    LOG_RETENTION_DAYS,
    MODES,
    ClusterTag,
    Override,
    Settings,
    SettingsError,
    in_words,
    matches,
)

TOPIC = "arn:aws-cn:sns:cn-north-1:111122223333:ops_alarms-1"
names = st.from_regex(r"[A-Za-z0-9](-?[A-Za-z0-9]){0,20}", fullmatch=True)
contexts = st.fixed_dictionaries(
    {},
    optional={
        "clusters": st.lists(names, max_size=3).map(lambda some: [*some, "*"]),
        "default_cluster": st.none() | names,
        "alarm_name_prefixes": st.lists(st.from_regex(r"[^*?$\x00-\x1f]{1,20}", fullmatch=True)),
        "alarm_topic_arns": st.just([]) | st.just([TOPIC]),
        "batch_size": st.integers(1, 10_000),
        "batch_window": st.integers(1, 300).map(lambda seconds: f"{seconds}s"),
        "max_concurrency": st.integers(2, 1_000),
        "notification_emails": st.just(["a@example.com", "b.c+d@example.co.uk"]),
        "operations_topic_arn": st.none() | st.just(TOPIC),
        "daily_summary": st.none() | st.sampled_from(["00:00", "08:30", "23:59"]),
        "event_bus_arn": st.none() | st.just("arn:aws-cn:events:cn-north-1:111122223333:event-bus/team/hub_1.a-b"),
        "runbook_url": st.none() | st.just("https://wiki.example.com/ml/runbook"),
        "notify_rebooted": st.booleans(),
        "cluster_tag": st.none() | st.just("team=ml") | st.just("a:b/c=d=e f"),
        "log_retention_days": st.sampled_from(LOG_RETENTION_DAYS),
        "mode": st.sampled_from(MODES),
        "cooldown": st.integers(1, 60).map(lambda minutes: f"{minutes}m"),
        "max_reboots_per_node": st.integers(1, 100),
        "max_reboots_window": st.integers(3_600, 604_800).map(lambda seconds: f"{seconds}s"),
        "budget_percent": st.integers(1, 100),
        "budget_min_nodes": st.integers(1, 1_000),
        "budget_window": st.integers(60, 10_080).map(lambda minutes: f"{minutes}m"),
        "max_report_age": st.integers(1, 24).map(lambda hours: f"{hours}h"),
        "on_replacement_advised": st.sampled_from(["refuse", "reboot"]),
        "protected_instance_groups": st.lists(names.map(lambda name: f"*{name}*"), max_size=3),
        # Within these no two contradict each other.
        "verify_after": st.integers(1, 2_700).map(lambda seconds: f"{seconds}s"),
        "verify_timeout": st.integers(45, 1_440).map(lambda minutes: f"{minutes}m"),
        "repair_timeout": st.integers(1, 86_400).map(lambda seconds: f"{seconds}s"),
        "retry_attempts": st.integers(0, 9),
        "retry_delay": st.integers(1, 15).map(lambda minutes: f"{minutes}m"),
        "dashboard": st.booleans(),
        "full_sdk": st.booleans(),
    },
)


def test_no_context_gives_the_documented_defaults() -> None:
    """docs/settings.md, which is made from the code, has the same."""
    assert Settings.from_context({}).to_context() == {
        "clusters": ["*"],
        "default_cluster": None,
        "alarm_name_prefixes": ["hyperpod-reboot-"],
        "alarm_topic_arns": [],
        "batch_size": 100,
        "batch_window": "5s",
        "max_concurrency": 5,
        "notification_emails": [],
        "operations_topic_arn": None,
        "runbook_url": None,
        "notify_rebooted": False,
        "recurrence_window": "7d",
        "burst_window": "60s",
        "daily_summary": None,
        "event_bus_arn": None,
        "cluster_tag": None,
        "log_retention_days": 90,
        "mode": "active",
        "cooldown": "30m",
        "max_reboots_per_node": 2,
        "max_reboots_window": "24h",
        "budget_percent": 20,
        "budget_min_nodes": 2,
        "budget_window": "60m",
        "max_report_age": "60m",
        "on_replacement_advised": "refuse",
        "protected_instance_groups": ["*controller*", "*head*", "*login*"],
        "verify_after": "15m",
        "verify_timeout": "45m",
        "healthy_for": "2m",
        "automatic_grace": "5m",
        "overrides": [],
        "ask_timeout": "15m",
        "on_no_answer": "refuse",
        "escalation": "none",
        "replace_budget": 1,
        "repair_timeout": "90m",
        "retry_attempts": 0,
        "retry_delay": "2m",
        "dashboard": True,
        "full_sdk": False,
        "vpc_subnet_ids": [],
        "security_group_ids": [],
        "environment": {},
        "reserved_concurrency": None,
        "permissions_boundary_arn": None,
        "tags": {},
        "retain": False,
        "stack_name": None,
    }


@given(contexts)
def test_settings_survive_the_environment_exactly(context: dict[str, object]) -> None:
    """The function reads what the stack writes: those that it needs, where they are not the default."""
    settings = Settings.from_context(context)
    read, default = Settings.from_env(settings.to_env()), Settings()
    of_stack = {each.name for each in fields(Settings) if each.metadata["of_stack"]}
    for each in fields(Settings):
        source = default if each.name in of_stack else settings
        assert getattr(read, each.name) == getattr(source, each.name)
    written = json.loads(settings.to_env()["REMEDIATION_SETTINGS"])
    changed = {each.name for each in fields(Settings) if getattr(settings, each.name) != getattr(default, each.name)}
    assert written.keys() == changed - of_stack


def test_settings_that_the_function_does_not_need_stay_out_of_its_environment() -> None:
    """No mail address is in a place that anyone with lambda:GetFunctionConfiguration can read."""
    of_stack = [each.name for each in fields(Settings) if each.metadata["of_stack"]]
    assert of_stack == [
        "alarm_topic_arns",
        "batch_size",
        "batch_window",
        "max_concurrency",
        "notification_emails",
        "operations_topic_arn",
        "event_bus_arn",
        "cluster_tag",
        "log_retention_days",
        "dashboard",
        "full_sdk",
        "vpc_subnet_ids",
        "security_group_ids",
        "environment",
        "reserved_concurrency",
        "permissions_boundary_arn",
        "tags",
        "retain",
        "stack_name",
    ]


def test_settings_that_are_too_long_for_lambda_are_refused_at_synth() -> None:
    """Lambda's limit of 4 KB would fail the deploy, after minutes."""
    names = [f"team-{number:02}-{'x' * 50}" for number in range(80)]
    settings = Settings.from_context({"clusters": names, "protected_instance_groups": ["a"]})
    with pytest.raises(SettingsError) as raised:
        settings.to_env()
    assert str(raised.value).startswith(
        "remediation.clusters: is too long: the function's settings and environment take "
    )
    assert Settings.from_context({"clusters": names[:40]}).to_env()


def test_environment_that_is_too_long_for_lambda_is_refused_at_synth() -> None:
    """The limit is on all variables together, names included."""
    with pytest.raises(
        SettingsError, match=r"^remediation\.environment: is too long: .* take 3003 bytes, of at most 3000"
    ):
        Settings.from_context({"environment": {"A" * 500: "x" * 2_501}}).to_env()
    assert Settings.from_context({"environment": {"A" * 500: "x" * 2_498}}).to_env()


@given(contexts)
def test_settings_survive_cdk_json_exactly(context: dict[str, object]) -> None:
    """Settings are written as an operator writes them."""
    settings = Settings.from_context(context)
    assert Settings.from_context(json.loads(json.dumps(settings.to_context()))) == settings


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("clusters", "train-*, lab", ("train-*", "lab")),
        ("clusters", '["a", "b"]', ("a", "b")),
        ("clusters", "a,b,a", ("a", "b")),
        ("alarm_name_prefixes", "", ()),
        ("alarm_name_prefixes", "[]", ()),
        ("alarm_topic_arns", TOPIC, (TOPIC,)),
        ("default_cluster", "null", None),
        ("default_cluster", "", None),
        ("default_cluster", "lab-1", "lab-1"),
        ("batch_size", "10000", 10_000),
        ("batch_window", "5m", timedelta(minutes=5)),
        ("max_concurrency", "2", 2),
        ("runbook_url", "https://wiki.example.com/runbook?v=2", "https://wiki.example.com/runbook?v=2"),
        ("runbook_url", "", None),
        ("notify_rebooted", "true", True),
        ("notify_rebooted", "False", False),
        ("recurrence_window", "168h", timedelta(days=7)),
        ("recurrence_window", "2d", timedelta(days=2)),
        ("burst_window", "0s", timedelta(0)),
        ("burst_window", "10m", timedelta(minutes=10)),
        ("cluster_tag", "team=ml=1", ClusterTag("team", "ml=1")),
        ("cluster_tag", "null", None),
        ("log_retention_days", "7", 7),
        ("mode", "observe", "observe"),
        ("cooldown", "90s", timedelta(seconds=90)),
        ("max_reboots_per_node", "1", 1),
        ("max_reboots_window", "168h", timedelta(days=7)),
        ("budget_percent", "100", 100),
        ("budget_min_nodes", "1", 1),
        ("budget_window", "30m", timedelta(minutes=30)),
        ("max_report_age", "60s", timedelta(minutes=1)),
        ("on_replacement_advised", "reboot", "reboot"),
        ("verify_after", "1s", timedelta(seconds=1)),
        ("verify_timeout", "24h", timedelta(days=1)),
        ("repair_timeout", "1s", timedelta(seconds=1)),
        ("repair_timeout", "24h", timedelta(days=1)),
        ("retry_attempts", "9", 9),
        ("retry_delay", "15m", timedelta(minutes=15)),
        ("dashboard", "false", False),
        ("full_sdk", "true", True),
        ("protected_instance_groups", "head, *-db*", ("head", "*-db*")),
        ("protected_instance_groups", "", ()),
        ("protected_instance_groups", "[]", ()),
    ],
)
def test_text_from_the_command_line_is_read_by_the_keys_kind(key: str, text: str, value: object) -> None:
    """`-c remediation.KEY=VALUE` gives text only."""
    assert getattr(Settings.from_context({key: text}), key) == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clusters", []),
        ("clusters", ""),
        ("clusters", "a?"),
        ("clusters", "arn:aws:sagemaker:us-east-1:111122223333:cluster/abc"),
        ("clusters", None),
        ("clusters", [1]),
        ("clusters", "[a"),
        ("clusters", {"a": 1}),
        ("default_cluster", "lab*"),
        ("alarm_name_prefixes", [""]),
        ("alarm_name_prefixes", "a,,b"),
        ("alarm_name_prefixes", "hyperpod-*"),
        ("alarm_name_prefixes", "${aws:username}"),
        ("alarm_topic_arns", "ops-alarms"),
        ("alarm_topic_arns", f"{TOPIC}.fifo"),
        ("batch_size", 0),
        ("batch_size", 10_001),
        ("batch_size", "many"),
        ("batch_size", 1.5),
        ("batch_size", True),
        ("batch_size", None),
        ("batch_size", "٣"),
        ("batch_window", 5),
        ("batch_window", "5"),
        ("batch_window", "301s"),
        ("batch_window", "-1s"),
        ("batch_window", "1.5m"),
        ("batch_window", "9" * 30 + "h"),
        ("max_concurrency", 1),
        ("max_concurrency", 1_001),
        ("notification_emails", "oncall"),
        ("notification_emails", "a b@example.com"),
        ("runbook_url", "wiki.example.com"),
        ("runbook_url", "https://wiki.example.com/a page"),
        ("runbook_url", "https://wiki.example.com/page#part"),
        ("notify_rebooted", "yes"),
        ("recurrence_window", "169h"),
        ("recurrence_window", "8d"),
        ("recurrence_window", "0s"),
        ("burst_window", "601s"),
        ("burst_window", "1w"),
        ("notify_rebooted", 1),
        ("cluster_tag", "team"),
        ("cluster_tag", "=ml"),
        ("cluster_tag", ["team=ml"]),
        ("log_retention_days", 91),
        ("mode", "on"),
        ("mode", "Active"),
        ("mode", None),
        ("mode", ["active"]),
        ("cooldown", "0s"),
        ("cooldown", "0.5s"),
        ("cooldown", "-30m"),
        ("cooldown", "25h"),
        ("cooldown", 1_800),
        ("max_reboots_per_node", 0),
        ("max_reboots_per_node", -1),
        ("max_reboots_window", "0m"),
        ("max_reboots_window", "169h"),
        ("max_reboots_window", "604801s"),
        ("budget_percent", 0),
        ("budget_percent", "0"),
        ("budget_percent", -20),
        ("budget_percent", 101),
        ("budget_percent", "20%"),
        ("budget_percent", 0.2),
        ("budget_min_nodes", 0),
        ("budget_min_nodes", -2),
        ("budget_window", "0h"),
        ("budget_window", "169h"),
        ("budget_window", None),
        ("max_report_age", "59s"),
        ("max_report_age", "25h"),
        ("on_replacement_advised", "replace"),
        ("on_replacement_advised", True),
        ("verify_after", "0s"),
        ("verify_after", "25h"),
        ("verify_timeout", 45),
        ("verify_timeout", "0s"),
        ("verify_timeout", "86401s"),
        ("repair_timeout", "0s"),
        ("repair_timeout", "25h"),
        ("repair_timeout", None),
        ("retry_attempts", -1),
        ("retry_attempts", 10),
        ("retry_attempts", "two"),
        ("retry_attempts", True),
        ("retry_delay", "0s"),
        ("retry_delay", "16m"),
        ("dashboard", "no"),
        ("full_sdk", "yes"),
        ("full_sdk", 1),
        ("protected_instance_groups", None),
        ("protected_instance_groups", [""]),
        ("protected_instance_groups", "head?"),
        ("protected_instance_groups", ["a b"]),
    ],
)
def test_wrong_value_is_refused_in_one_line_that_names_the_key_and_what_it_takes(key: str, value: object) -> None:
    """A value can be anything that JSON can hold."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_context({key: value})
    line = str(raised.value)
    assert line.startswith(f"remediation.{key}: takes ")
    assert ", not " in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("context", "line"),
    [
        ({"batch_size": "many"}, 'remediation.batch_size: takes a whole number from 1 to 10000, not "many"'),
        ({"mode": "off"}, 'remediation.mode: takes one of active, observe, paused, not "off"'),
        ({"budget_percent": 0}, "remediation.budget_percent: takes a whole number from 1 to 100, not 0"),
        (
            {"budget_window": "8760h"},
            'remediation.budget_window: takes a duration from "1s" to "7d" such as "90s", "30m", "7d", not "8760h"',
        ),
        ({"cooldown": "2h"}, 'remediation.cooldown: takes at most budget_window, which is "60m", not "2h"'),
        (
            {"cooldown": "91m", "budget_window": "24h", "max_reboots_window": "5400s"},
            'remediation.cooldown: takes at most max_reboots_window, which is "90m", not "91m"',
        ),
        (
            {"verify_after": "46m"},
            'remediation.verify_after: takes at most verify_timeout, which is "45m", not "46m"',
        ),
        (
            {"verify_timeout": "25h"},
            'remediation.verify_timeout: takes a duration from "1s" to "24h" such as "90s", "30m", "7d", not "25h"',
        ),
    ],
)
def test_error_reads_as_documented(context: dict[str, object], line: str) -> None:
    """There is one case for each kind of value and each contradiction."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_context(context)
    assert str(raised.value) == line


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)))
def test_any_context_is_read_or_refused_in_one_line(context: dict[str, object]) -> None:
    """No input of an operator ends in a traceback."""
    try:
        Settings.from_context(context)
    except SettingsError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # either way is right


@pytest.mark.parametrize("key", [each.name for each in fields(Settings)])
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_value_of_a_key_is_read_or_refused_in_one_line(key: str, value: object) -> None:
    """The test above with the keys that exist."""
    try:
        Settings.from_context({key: value})
    except SettingsError as error:
        assert str(error).startswith("remediation.")  # noqa: PT017  # either way is right
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("batch_sise", "did you mean remediation.batch_size, which takes a whole number from 1 to 10000?"),
        ("BATCH_SIZE", "did you mean remediation.batch_size, which takes a whole number from 1 to 10000?"),
        ("notification_email", "did you mean remediation.notification_emails, which takes e-mail addresses?"),
        ("full_skd", "did you mean remediation.full_sdk, which takes true or false?"),
        ("zzz", f"there are {', '.join(Settings().to_context())}"),
    ],
)
def test_unknown_key_is_refused_with_what_was_probably_meant_and_what_that_takes(key: str, line: str) -> None:
    """If no setting is similar, the error lists all of them."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_context({key: 1})
    assert str(raised.value) == f"remediation.{key}: no such setting; {line}"


@pytest.mark.parametrize("context", [None, "all", ["clusters"], 1])
def test_context_that_is_no_object_is_refused(context: object) -> None:
    """`-c remediation=…` replaces the whole object."""
    with pytest.raises(SettingsError, match=r"^remediation: takes an object of settings, not "):
        Settings.from_context(context)


def test_batch_over_ten_takes_a_window() -> None:
    """Lambda requires it, but would refuse it only at deployment, minutes later."""
    with pytest.raises(SettingsError, match=r'^remediation\.batch_window: takes at least "1s" when batch_size'):
        Settings.from_context({"batch_size": 11, "batch_window": "0s"})
    assert Settings.from_context({"batch_size": 10, "batch_window": "0s"}).batch_size == 10


def test_default_cluster_that_is_not_allowed_is_refused() -> None:
    """Else every report that names no cluster would be refused later."""
    with pytest.raises(SettingsError, match=r"^remediation\.default_cluster: takes a cluster that .* allows"):
        Settings.from_context({"clusters": "train-*", "default_cluster": "lab"})


@pytest.mark.parametrize("window", ["budget_window", "max_reboots_window"])
def test_cooldown_may_be_as_long_as_a_window_but_no_longer(window: str) -> None:
    """With a longer cooldown the window's limit would have no effect."""
    others = {"budget_window": "24h", "max_reboots_window": "24h"}
    assert Settings.from_context({**others, window: "45m", "cooldown": "2700s"}).cooldown == timedelta(minutes=45)
    with pytest.raises(SettingsError, match=rf"^remediation\.cooldown: takes at most {window}, "):
        Settings.from_context({**others, window: "45m", "cooldown": "2701s"})


def test_verify_after_may_be_as_long_as_verify_timeout_but_no_longer() -> None:
    """A node that is not verified before the time-out could never be recovered."""
    settings = Settings.from_context({"verify_after": "24h", "verify_timeout": "24h", "retry_attempts": 9})
    assert settings.verify_after == settings.verify_timeout == timedelta(days=1)
    with pytest.raises(SettingsError, match=r"^remediation\.verify_after: takes at most verify_timeout, "):
        Settings.from_context({"verify_after": "16m", "verify_timeout": "15m"})


def test_no_window_is_longer_than_the_ledger_remembers() -> None:
    """Else a reboot would be forgotten before its window ends."""
    longest = Settings.from_context({"budget_window": "7d", "max_reboots_window": "168h", "recurrence_window": "7d"})
    assert (longest.budget_window, longest.max_reboots_window) == (timedelta(hours=168),) * 2
    assert longest.budget_window <= LEDGER_RETENTION


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"),
        (60, "60s"),
        (90, "90s"),
        (120, "2m"),
        (3_600, "60m"),
        (3_601, "3601s"),
        (5_400, "90m"),
        (7_200, "2h"),
        (86_400, "24h"),
        (90_000, "25h"),
        (172_800, "2d"),
        (604_800, "7d"),
    ],
)
def test_duration_is_written_as_a_person_would(seconds: int, words: str) -> None:
    """The unit is the largest that divides it more than once."""
    assert in_words(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize("environ", [{}, {"REMEDIATION_SETTINGS": "{"}, {"REMEDIATION_SETTINGS": "[]"}])
def test_environment_without_settings_is_refused(environ: dict[str, str]) -> None:
    """The function must not run with defaults that differ from the deployment."""
    with pytest.raises(SettingsError):
        Settings.from_env(environ)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "anything", True),
        ("*", "", True),
        ("train-*", "train-a", True),
        ("train-*", "my-train-a", False),
        ("*-a", "train-a", True),
        ("t*n-*a", "train-b-a", True),
        ("lab", "lab", True),
        ("lab", "LAB", False),
        ("lab", "lab2", False),
        ("la?", "lab", False),
        ("la[b]", "lab", False),
        ("l.b", "lab", False),
    ],
)
def test_pattern_fits_the_whole_name_and_only_the_star_is_special(pattern: str, name: str, fits: bool) -> None:
    """Upper and lower case differ."""
    assert matches(pattern, name) is fits


@given(st.text(), st.text(), st.text())
def test_pattern_with_a_star_fits_what_begins_and_ends_like_it(before: str, between: str, after: str) -> None:
    """The star also stands for line breaks."""
    pattern = f"{before.replace('*', '')}*{after.replace('*', '')}"
    assert matches(pattern, pattern.replace("*", between))


def test_settings_allow_a_cluster_that_any_pattern_fits() -> None:
    """It allows no other."""
    settings = Settings(clusters=("train-*", "lab"))
    assert [settings.allows(name) for name in ("train-a", "lab", "prod", "")] == [True, True, False, False]


def test_every_setting_says_what_it_is_for() -> None:
    """The line of a setting is its documentation."""
    assert not [each.name for each in fields(Settings) if not each.metadata["purpose"]]


OVERRIDES = [
    {"reason": "Xid 45*", "wait": "10m"},
    {"cluster": "ml-*", "instance_group": "gpu-*", "source": "alarm:hyperpod-reboot-*", "action": "ask"},
    {"source": "request", "action": "none"},
]


@pytest.mark.parametrize("given_", [OVERRIDES, json.dumps(OVERRIDES)])
def test_overrides_are_read_from_both_and_written_as_they_were(given_: object) -> None:
    """In cdk.json a list, on the command line its JSON."""
    settings = Settings.from_context({"overrides": given_})
    assert settings.overrides[0] == Override(reason="Xid 45*", wait=timedelta(minutes=10))
    assert settings.to_context()["overrides"] == OVERRIDES
    assert Settings.from_env(settings.to_env()).overrides == settings.overrides
    assert (settings.by_group, Settings().by_group) == (True, False)


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ("ask", "takes a list of objects with the fields cluster, instance_group, source, reason, wait, action"),
        ({"action": "ask"}, "takes a list of objects with the fields cluster, instance_group, source, reason, wait"),
        (
            ["ask"],
            'entry 1: takes an object with the fields cluster, instance_group, source, reason, wait, action, not "ask"',
        ),
        ([{}, {"acton": "ask"}], "entry 2: acton: no such field; there are cluster, instance_group, source, reason"),
        ([{"action": "drain"}], 'entry 1: action: takes one of reboot, ask, replace, none, not "drain"'),
        ([{"wait": "2 min"}], 'entry 1: wait: takes a duration from "0s" to "24h" such as "90s", "30m", "7d", not "2'),
        ([{"source": "alert"}], "entry 1: source: takes hyperpod, request, alarm:NAME, alert:NAME or *, not"),
        (
            [{"cluster": "ml_a"}],
            'entry 1: cluster: takes a HyperPod cluster name, "*" standing for any part, not "ml_a"',
        ),
        ([{"reason": 79}], "entry 1: reason: takes a text"),
        ([{"source": "request", "wait": "1m"}], "entry 1: wait: takes nothing with source request"),
    ],
)
def test_wrong_override_is_one_line_that_names_entry_and_field(given_: object, problem: str) -> None:
    """A list of rules is where mistakes are made."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_context({"overrides": given_})
    assert str(raised.value).startswith(f"remediation.overrides: {problem}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        ({"vpc_subnet_ids": "subnet-1"}, "vpc_subnet_ids: takes IDs of subnets"),
        (
            {"vpc_subnet_ids": "subnet-0123456789abcdef0"},
            "security_group_ids: takes at least one, as a function in a VPC",
        ),
        ({"security_group_ids": "sg-0123456789abcdef0"}, "vpc_subnet_ids: takes at least one, as a function in a VPC"),
        ({"environment": []}, "environment: takes an object of texts, not []"),
        ({"environment": {"LEDGER_TABLE": "x"}}, "environment: LEDGER_TABLE: is no name that it takes"),
        ({"environment": {"AWS_REGION": "x"}}, "environment: AWS_REGION: is no name that it takes"),
        ({"environment": {"TZ": "x"}}, "environment: TZ: is no name that it takes"),
        ({"environment": {"A": "x"}}, "environment: A: is no name that it takes"),
        ({"environment": {"AB": 1}}, "environment: AB: takes a text, not 1"),
        ({"tags": {"aws:x": "y"}}, "tags: aws:x: is no name that it takes"),
        ({"reserved_concurrency": 2}, "reserved_concurrency: takes a whole number from 3 to 10000, or null, not 2"),
        ({"reserved_concurrency": 5}, "reserved_concurrency: takes more than max_concurrency, which is 5"),
        ({"permissions_boundary_arn": "x"}, "permissions_boundary_arn: takes the ARN of a managed policy"),
        ({"stack_name": "1st"}, "stack_name: takes a name of letters, digits and hyphens, or null"),
    ],
)
def test_wrong_rule_of_a_company_is_one_line(context: dict[str, object], problem: str) -> None:
    """It names the setting, and in an object the name."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_context(context)
    assert str(raised.value).startswith(f"remediation.{problem}")


def test_objects_are_read_from_the_command_line_as_json() -> None:
    """As in cdk.json."""
    settings = Settings.from_context({"tags": '{"team": "ml"}', "environment": '{"AWS_CA_BUNDLE": "/opt/ca.pem"}'})
    assert settings.tags == (("team", "ml"),)
    assert settings.to_context()["environment"] == {"AWS_CA_BUNDLE": "/opt/ca.pem"}
