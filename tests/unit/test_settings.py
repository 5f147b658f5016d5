"""The settings: what each takes, from cdk.json, from the command line and from the environment."""

import json
import subprocess
import sys
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_remediation import settings as module
from node_remediation.settings import LOG_RETENTION_DAYS, ClusterTag, Settings, SettingsError, matches

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
        "notify_rebooted": st.booleans(),
        "cluster_tag": st.none() | st.just("team=ml") | st.just("a:b/c=d=e f"),
        "log_retention_days": st.sampled_from(LOG_RETENTION_DAYS),
    },
)


def test_no_context_gives_the_documented_defaults() -> None:
    """As the design's table has them."""
    assert Settings.from_context({}).to_context() == {
        "clusters": ["*"],
        "default_cluster": None,
        "alarm_name_prefixes": ["hyperpod-"],
        "alarm_topic_arns": [],
        "batch_size": 100,
        "batch_window": "5s",
        "max_concurrency": 5,
        "notification_emails": [],
        "notify_rebooted": False,
        "cluster_tag": None,
        "log_retention_days": 90,
    }


@given(contexts)
def test_settings_survive_the_environment_exactly(context: dict[str, object]) -> None:
    """What the stack writes is what the function reads."""
    settings = Settings.from_context(context)
    assert Settings.from_env(settings.to_env()) == settings


@given(contexts)
def test_settings_survive_cdk_json_exactly(context: dict[str, object]) -> None:
    """And come out as an operator would write them."""
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
        ("notify_rebooted", "true", True),
        ("notify_rebooted", "False", False),
        ("cluster_tag", "team=ml=1", ClusterTag("team", "ml=1")),
        ("cluster_tag", "null", None),
        ("log_retention_days", "7", 7),
    ],
)
def test_text_from_the_command_line_is_read_by_the_keys_kind(key: str, text: str, value: object) -> None:
    """`-c remediation.KEY=VALUE` can give nothing else."""
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
        ("notify_rebooted", "yes"),
        ("notify_rebooted", 1),
        ("cluster_tag", "team"),
        ("cluster_tag", "=ml"),
        ("cluster_tag", ["team=ml"]),
        ("log_retention_days", 91),
    ],
)
def test_wrong_value_is_refused_in_one_line_that_names_the_key_and_what_it_takes(key: str, value: object) -> None:
    """Whatever JSON can hold."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_context({key: value})
    line = str(raised.value)
    assert line.startswith(f"remediation.{key}: takes ")
    assert ", not " in line
    assert "\n" not in line


def test_error_reads_as_documented() -> None:
    """Word for word, once."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_context({"batch_size": "many"})
    assert str(raised.value) == 'remediation.batch_size: takes a whole number from 1 to 10000, not "many"'


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)))
def test_any_context_is_read_or_refused_in_one_line(context: dict[str, object]) -> None:
    """Nothing that an operator can write ends in a traceback."""
    try:
        Settings.from_context(context)
    except SettingsError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  # either way is right


@pytest.mark.parametrize("key", [each.name for each in fields(Settings)])
@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_any_value_of_a_key_is_read_or_refused_in_one_line(key: str, value: object) -> None:
    """The same, for keys that there are."""
    try:
        Settings.from_context({key: value})
    except SettingsError as error:
        assert str(error).startswith("remediation.")  # noqa: PT017  # either way is right
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("batch_sise", "did you mean batch_size"),
        ("notification_email", "did you mean notification_emails"),
        ("zzz", "there are clusters, default_cluster"),
    ],
)
def test_unknown_key_is_refused_with_what_may_have_been_meant(key: str, says: str) -> None:
    """Or all there are, when nothing is close."""
    with pytest.raises(SettingsError, match=rf"^remediation\.{key}: no such setting; {says}"):
        Settings.from_context({key: 1})


@pytest.mark.parametrize("context", [None, "all", ["clusters"], 1])
def test_context_that_is_no_object_is_refused(context: object) -> None:
    """As when `-c remediation=…` replaced it whole."""
    with pytest.raises(SettingsError, match=r"^remediation: takes an object of settings, not "):
        Settings.from_context(context)


def test_batch_over_ten_takes_a_window() -> None:
    """Lambda refuses the one without the other; at deployment, minutes later."""
    with pytest.raises(SettingsError, match=r'^remediation\.batch_window: takes at least "1s" when batch_size'):
        Settings.from_context({"batch_size": 11, "batch_window": "0s"})
    assert Settings.from_context({"batch_size": 10, "batch_window": "0s"}).batch_size == 10


def test_default_cluster_that_is_not_allowed_is_refused() -> None:
    """Every report that names no cluster would be refused."""
    with pytest.raises(SettingsError, match=r"^remediation\.default_cluster: takes a cluster that .* allows"):
        Settings.from_context({"clusters": "train-*", "default_cluster": "lab"})


@pytest.mark.parametrize("environ", [{}, {"REMEDIATION_SETTINGS": "{"}, {"REMEDIATION_SETTINGS": "[]"}])
def test_environment_without_settings_is_refused(environ: dict[str, str]) -> None:
    """The function must not run on defaults that nobody deployed."""
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
    """Letters count as they are."""
    assert matches(pattern, name) is fits


@given(st.text(), st.text(), st.text())
def test_pattern_with_a_star_fits_what_begins_and_ends_like_it(before: str, between: str, after: str) -> None:
    """Whatever is between, line breaks included."""
    pattern = f"{before.replace('*', '')}*{after.replace('*', '')}"
    assert matches(pattern, pattern.replace("*", between))


def test_settings_allow_a_cluster_that_any_pattern_fits() -> None:
    """And no other."""
    settings = Settings(clusters=("train-*", "lab"))
    assert [settings.allows(name) for name in ("train-a", "lab", "prod", "")] == [True, True, False, False]


def test_every_setting_says_what_it_is_for() -> None:
    """Its line is its documentation."""
    assert not [each.name for each in fields(Settings) if not each.metadata["purpose"]]


def test_module_loads_nothing_that_a_cold_start_would_pay_for() -> None:
    """The standard library's lighter half; difflib and boto3 are for others."""
    code = "import sys, node_remediation.settings; print(*sorted({'boto3', 'botocore', 'difflib'} & set(sys.modules)))"
    root = Path(module.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-S", "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
