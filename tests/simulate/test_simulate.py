"""Captured events are played through the function's own code: each decision, its reason, and the counts."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulate.__main__ import main

SAMPLES = Path(__file__).parent.parent / "samples"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BURST = 77
Simulate = Callable[..., dict[str, Any]]


def instance(number: int) -> str:
    return f"i-{number:017x}"


def health(number: int, minutes: float, status: str = "Unhealthy", **more: object) -> dict[str, Any]:
    """Return a node health event as an archive has it."""
    summary = {"HealthStatus": status, "HealthStatusReason": "Xid 79", "RepairAction": None}
    return envelope("aws.sagemaker", "SageMaker HyperPod Cluster Node Health Event", minutes) | {
        "detail": {"ClusterName": "ml-a", "InstanceId": instance(number), "HealthSummary": summary} | more
    }


def alarm(number: int, minutes: float, state: str) -> dict[str, Any]:
    """Return an alarm's change of state as EventBridge carries it."""
    dimensions = {"InstanceId": instance(number), "HyperPodClusterName": "ml-a"}
    return envelope("aws.cloudwatch", "CloudWatch Alarm State Change", minutes) | {
        "detail": {
            "alarmName": "hyperpod-reboot-gpu",
            "alarmTags": {},
            "state": {"value": state, "reason": "threshold", "timestamp": stamp(minutes)},
            "configuration": {"metrics": [{"metricStat": {"metric": {"dimensions": dimensions}}}]},
        }
    }


def envelope(source: str, detail_type: str, minutes: float) -> dict[str, Any]:
    ours = {"account": "111122223333", "region": "us-west-2", "resources": [], "time": stamp(minutes)}
    return ours | {"id": f"{source}-{minutes}", "source": source, "detail-type": detail_type}


def stamp(minutes: float) -> str:
    return (NOON + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")


def lines(file: Path, *events: Mapping[str, Any]) -> str:
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    return str(file)


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., str]:
    def write(name: str = "settings.json", **values: object) -> str:
        file = tmp_path / name
        file.write_text(json.dumps(values))
        return str(file)

    return write


@pytest.fixture
def simulate(capsys: pytest.CaptureFixture[str], settings: Callable[..., str]) -> Simulate:
    """Return a function that plays files with default settings, and returns what `--json` prints."""

    def run(*arguments: str) -> dict[str, Any]:
        given = () if "--settings" in arguments else ("--settings", settings())
        assert main([*arguments, *given, "--json"]) == 0
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    return run


def story(told: Mapping[str, Any], number: int = 1) -> list[tuple[str, str, str]]:
    """Return what was decided about a node: the time of day, the source, the outcome."""
    of_node = [each for each in told["decisions"] if each["node"] == instance(number)]
    return [(each["time"][11:], each["source"], each["outcome"]) for each in of_node]


def test_node_is_reported_and_withdrawn_later_the_whole_incident_is_told(simulate: Simulate, tmp_path: Path) -> None:
    """The clock follows the events, and sweeps carry on with what is due between them."""
    file = lines(tmp_path / "events.jsonl", health(1, 0.5), health(1, 10.25, "Healthy"))

    told = simulate(file)

    assert story(told) == [
        ("12:00:30", "hyperpod", "rebooted"),
        ("12:10:15", "hyperpod", "cleared"),
        ("12:13:00", "sweep", "recovered"),
    ]
    assert told["counts"] == {"reboots": 1, "replacements": 0, "refusals": {}, "ends": {"recovered": 1}}


def test_no_word_comes_after_the_reboot_the_sweep_ends_the_incident(simulate: Simulate, tmp_path: Path) -> None:
    """After the last event the clock goes on until nothing is due; nodes run again, but none says that it is well."""
    told = simulate(lines(tmp_path / "events.jsonl", health(1, 0)))

    assert story(told) == [("12:00:00", "hyperpod", "rebooted"), ("12:45:00", "sweep", "unverified")]


@pytest.mark.parametrize(("state", "end"), [("ALARM", "not_recovered"), ("OK", "recovered")])
def test_alarm_is_asked_after_the_reboot_it_has_the_state_of_its_last_event(
    state: str, end: str, simulate: Simulate, tmp_path: Path, settings: Callable[..., str]
) -> None:
    """An alarm that still rings is a complaint that stands; here a second reboot is not allowed."""
    file = lines(tmp_path / "events.jsonl", alarm(1, 0, "ALARM"), alarm(1, 5, state))

    told = simulate(file, "--settings", settings(max_reboots_per_node=1))

    assert story(told)[0] == ("12:00:00", "alarm:hyperpod-reboot-gpu", "rebooted")
    assert told["counts"]["ends"] == {end: 1}


def test_composite_alarm_complains_for_the_node_of_its_child(simulate: Simulate, tmp_path: Path) -> None:
    """The child alarm's own event tells which node it is about."""
    child = "arn:aws:cloudwatch:us-west-2:111122223333:alarm:hyperpod-reboot-gpu"
    parent = alarm(1, 1, "ALARM")
    parent["detail"] |= {"alarmName": "hyperpod-reboot-any", "configuration": {"alarmRule": "ALARM(x)"}}
    parent["detail"]["state"]["reasonData"] = json.dumps({"triggeringAlarms": [{"arn": child}]})

    told = simulate(lines(tmp_path / "events.jsonl", alarm(1, 0, "ALARM"), parent))

    assert story(told)[:2] == [
        ("12:00:00", "alarm:hyperpod-reboot-gpu", "rebooted"),
        ("12:01:00", "alarm:hyperpod-reboot-any", "duplicate"),
    ]


def test_samples_of_this_project_are_played_each_has_its_outcome(simulate: Simulate) -> None:
    """Whole JSON files of every form are events: EventBridge envelopes and an alarm's Lambda action."""
    told = simulate(*map(str, sorted(SAMPLES.glob("*.json"))))

    outcomes = [(each["time"][:10], each["outcome"], each["code"]) for each in told["decisions"]]
    assert len(outcomes) == len(list(SAMPLES.glob("*.json")))
    assert ("2021-10-25", "failed", "ValidationException") in outcomes  # its ID is none that an instance can have
    assert {outcome for _, outcome, _ in outcomes} == {"failed", "ignored", "deferred"}


@pytest.mark.parametrize(("wait", "reboots"), [(None, 20), ("10m", 0)])
def test_burst_of_nodes_is_withdrawn_only_a_wait_reboots_none(
    wait: str | None, reboots: int, simulate: Simulate, tmp_path: Path, settings: Callable[..., str]
) -> None:
    """77 nodes are reported at once and are well five minutes later: without a wait the budget is spent."""
    reported = [health(number, 0) for number in range(BURST)]
    withdrawn = [health(number, 5, "Healthy") for number in range(BURST)]
    file = lines(tmp_path / "burst.jsonl", *reported, *withdrawn)
    overrides = [{"source": "hyperpod", "wait": wait}] if wait else []

    counts = simulate(file, "--settings", settings(overrides=overrides))["counts"]

    refused = {} if wait else {"ClusterBudgetExceeded": BURST - reboots}
    ends = {"cleared": BURST} if wait else {"recovered": reboots, "refused": BURST - reboots}
    assert counts == {"reboots": reboots, "replacements": 0, "refusals": refused, "ends": ends}


def test_override_that_replaces_is_counted_apart_and_its_budget_refuses_the_second(
    simulate: Simulate, tmp_path: Path, settings: Callable[..., str]
) -> None:
    """Nothing is rebooted, and the instance is gone at the first look."""
    file = lines(tmp_path / "two.jsonl", health(1, 0), health(2, 1))

    counts = simulate(file, "--settings", settings(overrides=[{"action": "replace"}]))["counts"]

    expected = {"ReplaceBudgetExceeded": 1}
    ends = {"refused": 1, "superseded": 1}
    assert counts == {"reboots": 0, "replacements": 1, "refusals": expected, "ends": ends}


def test_clusters_of_other_sizes_and_recovery_are_assumed_by_options(simulate: Simulate, tmp_path: Path) -> None:
    """The budget is a share of `--nodes`; with `--recovery Automatic`, HyperPod's repair is waited for."""
    repaired = health(1, 0)
    repaired["detail"]["HealthSummary"]["RepairAction"] = "Reboot"
    file = lines(tmp_path / "events.jsonl", repaired, *(health(number, 0) for number in range(2, 9)))

    assert simulate(file, "--nodes", "15")["counts"]["reboots"] == 3
    assert story(simulate(file, "--recovery", "Automatic"))[0][2] == "deferred"


@pytest.mark.parametrize("group", ["login", "Login-1"])
def test_protected_group_is_named_by_another_event_its_node_is_refused(
    simulate: Simulate, tmp_path: Path, group: str
) -> None:
    """A health event has no instance group; a cluster event of the same node tells it."""
    details = {
        "ClusterName": "ml-a",
        "InstanceId": instance(1),
        "InstanceGroupName": group,
        "ResourceType": "Instance",
    }
    started = envelope("aws.sagemaker", "SageMaker HyperPod Cluster Event", 9)
    started["detail"] = {"EventDetails": details | {"Description": "has Started"}}

    told = simulate(lines(tmp_path / "events.jsonl", health(1, 0), started))

    assert told["counts"]["refusals"] == {"ProtectedNode": 1}


def test_event_carries_the_mark_of_a_replay_it_is_judged_like_a_new_one(simulate: Simulate, tmp_path: Path) -> None:
    """An archive is exported by a replay, which the function itself would refuse as stale."""
    told = simulate(lines(tmp_path / "events.jsonl", health(1, 0) | {"replay-name": "export"}))

    assert told["counts"]["reboots"] == 1


def test_request_has_no_time_it_comes_right_after_the_event_before_it(simulate: Simulate, tmp_path: Path) -> None:
    """A request as people send it need not have one."""
    asked = {"source": "hyperpod.node-remediation", "detail-type": "HyperPod Node Reboot Requested"}
    asked["detail"] = {"ClusterName": "ml-a", "NodeIds": [instance(1)], "Reason": "maintenance"}  # type: ignore[assignment]

    told = simulate(lines(tmp_path / "events.jsonl", health(2, 5), asked))

    assert story(told)[0] == ("12:05:00", "request", "rebooted")


def test_two_settings_only_what_differs_is_told(
    tmp_path: Path, settings: Callable[..., str], simulate: Simulate, capsys: pytest.CaptureFixture[str]
) -> None:
    """Side by side: the node that both reboot is left out, the other has a column for each."""
    spared = health(2, 0) | {"id": "2"}
    spared["detail"]["HealthSummary"]["HealthStatusReason"] = "Xid 45"
    file = lines(tmp_path / "events.jsonl", health(1, 0), spared)
    one, other = settings("now.json"), settings("new.json", overrides=[{"reason": "*Xid 45*", "action": "none"}])

    told = simulate(file, "--settings", one, "--settings", other)

    assert {each["node"] for pair in told["differences"] for each in pair if each} == {instance(2)}
    assert [[each and each["outcome"] for each in pair] for pair in told["differences"]] == [
        ["rebooted", "refused"],
        ["unverified", None],
    ]
    assert [each["reboots"] for each in told["counts"]] == [2, 1]
    assert main([file, "--settings", one, "--settings", other]) == 0
    table = capsys.readouterr().out
    assert "refused Excluded: " in table
    assert instance(1) not in table


def test_same_events_are_played_twice_the_text_is_the_same(
    tmp_path: Path, settings: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the order in which the loop carries on nor the IDs of its writes show."""
    burst = [health(number, number % 7, ClusterName=f"ml-{number % 3}") for number in range(60)]
    file = lines(tmp_path / "events.jsonl", *burst)

    texts = []
    for _ in range(2):
        main([file, "--settings", settings()])
        texts.append(capsys.readouterr().out)

    assert texts[0] == texts[1]
    assert "  reboots   60" in texts[0]
    assert "  ends      60 unverified" in texts[0]


def test_lines_and_files_that_are_no_events_are_named_and_the_others_played(
    tmp_path: Path, settings: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each on standard error, with file and line; the exit status says that something was left out."""
    mixed, broken, missing = tmp_path / "mixed.jsonl", tmp_path / "broken.json", tmp_path / "missing.json"
    mixed.write_text(f'{json.dumps(health(1, 0))}\n{{"half":\n\n["list"]\n')
    broken.write_text('{\n "id": "1",\n "detail"\n}\n')

    assert main([str(mixed), str(broken), str(missing), "--settings", settings()]) == 1

    printed = capsys.readouterr()
    problems = printed.err.splitlines()
    assert [line.partition(" is not JSON")[0] for line in problems] == [
        f"simulate: {mixed}:2:",
        f"simulate: {mixed}:4: takes an event, a JSON object",
        f"simulate: {broken}:",
        f"simulate: {missing}: No such file or directory",
    ]
    assert instance(1) in printed.out


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"cooldwn": "1m"}', "remediation.cooldwn: no such setting; did you mean remediation.cooldown"),
        ('{"context": {"remediation": {"mode": "off"}}}', "remediation.mode: takes one of"),
        ("{", "is not JSON"),
    ],
)
def test_settings_are_wrong_one_line_names_the_file_and_nothing_is_played(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cdk.json and an object of settings are checked as the synth checks them."""
    file = tmp_path / "wrong.json"
    file.write_text(text)

    assert main([str(SAMPLES / "node-health.documented.json"), "--settings", str(file)]) == 1

    printed = capsys.readouterr()
    assert printed.err.startswith(f"simulate: {file}: {problem}")
    assert len(printed.err.splitlines()) == 1
    assert not printed.out


@pytest.mark.parametrize("wrong", [["--nodes", "0"], ["--settings", "a", "--settings", "b", "--settings", "c"]])
def test_option_is_wrong_usage_is_told(wrong: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse tells it, with exit status 2."""
    with pytest.raises(SystemExit) as ended:
        main(["events.jsonl", *wrong])

    assert ended.value.code == 2
    assert f"argument {wrong[0]}: " in capsys.readouterr().err


def test_default_settings_are_those_of_this_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without `--settings`, cdk.json holds."""
    assert main([lines(tmp_path / "events.jsonl", health(1, 0))]) == 0

    assert str(Path(__file__).parent.parent.parent / "cdk.json") in capsys.readouterr().out
