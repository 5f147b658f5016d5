"""What happened in the night: numbers, states over time, budgets, what was sent; the page as text; the command."""

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from node_remediation.model import ENDS, NodeKey
from node_remediation.policy.record import NodeRecord, State
from tests.tool import nights
from tests.tool.fakes import stack
from tests.unit.policy.makers import ago, incident
from tool import commands
from tool.__main__ import main
from tool.errors import FAILED, OK
from tool.ledger import Reader
from tool.report import view as views
from tool.report.page import page, sentence

ROOT = Path(__file__).resolve().parents[2]


def _node(*records: NodeRecord) -> dict[str, Any]:
    (node,) = nights.view(records)["nodes"]
    assert isinstance(node, dict)
    return node


def _states(node: dict[str, Any]) -> list[tuple[str, float, float]]:
    """Return kinds of state with their beginning and end, in minutes before now."""
    return [(each["kind"], _minutes(each["from"]), _minutes(each["until"])) for each in node["segments"]]


def _minutes(time: str) -> float:
    return (nights.PERIOD.until - datetime.fromisoformat(time)).total_seconds() / 60


def test_numbers_answer_what_happened() -> None:
    """Of a node that waits for approval a person is needed, too; recovery is measured from the first line."""
    assert nights.view()["summary"] == {
        "incidents": 27,
        "nodes": 27,
        "clusters": 3,
        "rebooted": 20,
        "recovered": 17,
        "open": 2,
        "need_a_person": 7,
        "mean_seconds_to_recovery": round((sum(11 + n for n in range(16)) + 38) * 60 / 17),
        "longest_seconds_to_recovery": 38 * 60,
    }


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "No node had an incident."),
        (
            [nights.recovering(1, 30, 12)],
            "1 node of 1 cluster had 1 incident: 1 rebooted, 1 recovered, after 12 min on average. No node needs a "
            "person.",
        ),
        (
            list(nights.night()),
            "27 nodes of 3 clusters had 27 incidents: 20 rebooted, 17 recovered, after 20 min on average. 7 nodes need "
            "a person. 2 incidents are still open.",
        ),
    ],
    ids=["quiet", "one", "bad"],
)
def test_first_sentences_say_it_in_words(records: Sequence[NodeRecord], said: str) -> None:
    """They are what most readers read."""
    assert sentence(nights.view(records)) == said


def test_states_follow_one_another_until_now() -> None:
    """The state after an end goes on: a node that was not recovered still is not."""
    failed = nights.record(
        1,
        nights.opened(1, 60),
        (50, "hyperpod complained again"),
        nights.claimed(40),
        (40, "rebooted: SageMaker started the reboot"),
        (5, "not_recovered: NotRecovered: still in ALARM"),
    )
    assert _states(_node(failed)) == [("waiting", 60, 40), ("rebooting", 40, 5), ("failing", 5, 0)]


def test_open_incident_whose_lines_are_gone_is_seen_in_its_state() -> None:
    """50 lines are kept; the incident itself says since when it is in its state."""
    now = replace(incident(), id=nights.incident_id(1), state=State.REPAIRING, since=ago(9))
    node = _node(replace(nights.record(1, (2, "put off: Throttled")), incident=now))
    assert _states(node) == [("repairing", 9, 0)]
    assert (node["state"], node["incidents"][0]["opened_at"]) == ("repairing", None)


def test_claim_for_a_replacement_is_no_reboot() -> None:
    """Nor does it count as one."""
    replaced = nights.record(
        1,
        nights.opened(1, 60),
        (59, "claimed for a replacement call: 1 of 2 of the cluster in 24h"),
        (58, "replaced: SageMaker started the replacement"),
        (40, "superseded: the node has another instance"),
    )
    node = _node(replaced)
    assert [kind for kind, *_ in _states(node)] == ["waiting", "repairing", "aside"]
    assert node["incidents"][0]["rebooted"] is False


def test_only_what_changed_in_the_period_is_told() -> None:
    """An incident from before that ends in it is cut at its beginning; one that ended before is not told."""
    before = nights.recovering(1, 600, 20)
    assert nights.view([before])["nodes"] == []
    into = _node(nights.recovering(1, 490, 20))
    assert _states(into) == [("rebooting", 480, 470), ("well", 470, 0)]


def test_second_incident_of_the_night_follows_the_first_in_the_same_row() -> None:
    """An end before the period is none of its states."""
    old, first, second = (nights.recovering(n, at, 10) for n, at in ((1, 600), (2, 100), (3, 50)))
    node = _node(replace(first, history=(*old.history, *first.history, *second.history)))
    assert [state for state, *_ in _states(node)] == ["waiting", "rebooting", "well"] * 2
    assert [each["id"] for each in node["incidents"]] == [nights.incident_id(2), nights.incident_id(3)]


@pytest.mark.parametrize("open_", [False, True])
def test_time_axis_is_of_the_time_in_which_something_changed(open_: bool) -> None:
    """With a little after it, to see the last state; up to now where something is open."""
    one = nights.recovering(1, 200, 100)
    if open_:
        one = replace(one, incident=replace(incident(), id="open", state=State.OPEN, since=ago(90)))
    axis = nights.view([one])["axis"]
    assert (_minutes(axis["from"]), _minutes(axis["until"])) == (200, 0 if open_ else 88)


def test_most_troubled_nodes_are_first() -> None:
    """What failed, what was refused, what waits for a person; then the rest."""
    assert [node["kind"] for node in nights.view()["nodes"]][:8] == [
        "failing", "failing", "refused", "refused", "refused", "asked", "unproven", "rebooting",
    ]  # fmt: skip


def test_budget_is_what_was_spent_within_any_window_of_the_period() -> None:
    """The most at a time, with its first moment, and how often it said no."""
    spent = [nights.record(n, nights.opened(n, at), cluster="ml-a", reboots=(ago(at),)) for n, at in ((1, 70), (2, 40))]
    later = nights.record(3, nights.opened(3, 5), (5, "refused: ClusterBudgetExceeded: 2 of 2"), cluster="ml-a")
    other = nights.recovering(4, 100, 10, cluster="ml-b")
    told = views.report([*spent, later, other], {"ml-a": 2}, settings=nights.SETTINGS, period=nights.PERIOD)
    (budget,) = told["budgets"]
    assert [(_minutes(at), spent) for at, spent in budget["steps"]] == [(480, 0), (70, 1), (40, 2), (10, 1)]
    assert (budget["peak"], budget["peak_at"], budget["reboots"], budget["refused"]) == (
        2,
        "2026-11-23T01:34:07Z",
        2,
        1,
    )


def test_same_that_was_sent_of_several_nodes_at_a_time_is_one_row() -> None:
    """A notification tells of all nodes of a cluster; what is about no node has none."""
    pair = [nights.record(n, nights.opened(n, 9), (8, "sent: letter and notification, Paused")) for n in (1, 2)]
    cluster = NodeRecord(NodeKey("ml-a", ""), version=1, history=((ago(7), "sent: notification, resumed"),))
    long_ago = nights.record(3, (900, "sent: notification, recovered"))
    view = nights.view([*pair, cluster, long_ago])
    assert [(each["cluster"], each["parts"], each["about"], len(each["nodes"])) for each in view["told"]] == [
        ("ml-research", "letter and notification", "Paused", 2),
        ("ml-a", "notification", "resumed", 0),
    ]
    assert len(view["nodes"]) == 2


def test_every_state_and_end_has_a_kind_with_words() -> None:
    """One without would not be seen in the chart."""
    assert set(views.KIND_OF) == {*State, *ENDS}
    assert set(views.KIND_OF.values()) == set(views.KINDS)


class _Text(HTMLParser):
    """Collects elements, and the text outside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.said: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.said.append(data)


def _read(html: str) -> _Text:
    text = _Text()
    text.feed(html)
    return text


def test_page_says_everything_as_text_and_escapes_what_came_with_events() -> None:
    """Also in the data that the charts are drawn from."""
    html = page(nights.view())
    read = _read(html)
    said = " ".join(read.said)
    assert f"refused: ProtectedNode: {nights.HARMFUL}" in said
    assert {"img", "b"} & set(read.tags) == set()
    assert read.tags.count("script") == 3
    for node in nights.view()["nodes"]:
        for line in node["incidents"][0]["lines"]:
            assert line["text"] in said


def test_name_that_is_harmful_html_is_text_wherever_it_is_shown() -> None:
    """A cluster's name and an ID come from events."""
    harmful = replace(nights.recovering(1, 30, 9), key=NodeKey(nights.HARMFUL, nights.HARMFUL), group=nights.HARMFUL)
    read = _read(page(nights.view([harmful]) | {"cluster": nights.HARMFUL}))
    assert ({"img", "b"} & set(read.tags), read.tags.count("script")) == (set(), 3)


def test_control_characters_of_an_event_are_not_in_the_page() -> None:
    """They are spaces, in the data they are escaped."""
    bad = nights.record(1, nights.opened(1, 5), (4, "refused: a\x00b\x1b[31m\u2028c"))
    assert not set("\x00\x1b") & set(page(nights.view([bad])))


def test_page_is_the_same_for_the_same_records_and_time() -> None:
    """Two readers compare it."""
    assert page(nights.view()) == page(nights.view(list(nights.night())))


def test_chart_has_the_first_hundred_nodes_and_the_stories_all() -> None:
    """And the page says so."""
    html = page(nights.view([nights.recovering(n, 300 - n, 9) for n in range(120)]))
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html)
    assert len(json.loads(data)["nodes"]) == 100
    assert html.count("<details") == 120
    assert "The first 100 of 120 nodes are shown." in html


def test_chart_library_is_the_one_that_npm_pins_with_its_licence() -> None:
    """`tool/report` has copies, so that an installed tool has them."""
    installed = ROOT / "node_modules" / "echarts"
    for file, copy in (("dist/echarts.common.min.js", "echarts.common.min.js"), ("LICENSE", "echarts-LICENSE"),
                       ("NOTICE", "echarts-NOTICE")):  # fmt: skip
        assert (ROOT / "tool" / "report" / copy).read_bytes() == (installed / file).read_bytes()
    pinned = json.loads((ROOT / "package.json").read_text())["devDependencies"]["echarts"]
    assert json.loads((installed / "package.json").read_text())["version"] == pinned


def test_everything_that_the_page_is_made_of_is_installed_with_the_tool() -> None:
    """A file that is no package data is missing after `pipx install`."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["tool.report"]
    folder = ROOT / "tool" / "report"
    assert {each.name for each in folder.iterdir() if each.is_file() and each.suffix != ".py"} == {
        each.name for pattern in patterns for each in folder.glob(pattern)
    }


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command on the ledger of the night, in an empty folder."""

    monkeypatch.setattr(commands, "connect", lambda *_, **__: stack(**dict.fromkeys(("dynamodb", "sagemaker"))))
    monkeypatch.setattr(commands, "now", lambda: nights.PERIOD.until)
    monkeypatch.setattr(Reader, "all", lambda _: list(nights.night()))
    monkeypatch.setattr(Reader, "limit", lambda *_: 20)
    monkeypatch.chdir(tmp_path)

    def running(line: str) -> tuple[int, str, str]:
        status = main(line.split())
        return status, *capsys.readouterr()

    return running


def test_command_writes_the_page_and_says_in_a_line_what_happened(run: Any, tmp_path: Path) -> None:
    """Without options of the last day, to a file in the current folder."""
    status, out, _ = run("report")
    assert (status, out.count("\n")) == (OK, 1)
    assert out.startswith("hyperpod-remediation-report.html: 27 nodes of 3 clusters had 27 incidents: 20 rebooted")
    assert "<title>Nodes from 2026-11-22 02:14 to 2026-11-23 02:14 UTC" in (
        tmp_path / "hyperpod-remediation-report.html"
    ).read_text(encoding="utf-8")


def test_command_takes_cluster_time_and_file(run: Any, tmp_path: Path) -> None:
    """Of ml-slurm there were two incidents, one of them in the last 140 minutes."""
    status, out, _ = run("report --cluster ml-slurm --since 140m -o night.html")
    assert (status, out) == (
        OK,
        "night.html: 1 node of 1 cluster had 1 incident: 1 rebooted, 0 recovered. 1 node needs a person.\n",
    )
    assert "UTC, Stack, us-east-1, ml-slurm</title>" in (tmp_path / "night.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("more", "files"), [("", []), (" -o night.html", ["night.html"])])
def test_json_goes_to_standard_output_and_a_page_is_written_only_if_asked_for(
    run: Any, tmp_path: Path, more: str, files: list[str]
) -> None:
    """Like the tool's other commands."""
    status, out, _ = run(f"report --json{more}")
    assert (status, json.loads(out)["summary"]["incidents"]) == (OK, 27)
    assert [each.name for each in tmp_path.iterdir()] == files


def test_file_that_cannot_be_written_is_one_line(run: Any) -> None:
    """With the name of the file, and why."""
    assert run("report -o missing/night.html") == (
        FAILED, "", "hyperpod-remediation: missing/night.html cannot be written: No such file or directory\n"
    )  # fmt: skip


def test_limits_are_looked_up_of_clusters_that_spent_something(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up is a call of SageMaker each."""
    asked: list[str] = []
    monkeypatch.setattr(Reader, "limit", lambda _, name: asked.append(name))
    assert run("report --since 20m")[0] == OK
    assert asked == ["ml-research"]
