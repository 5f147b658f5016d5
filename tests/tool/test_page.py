"""The page in headless Chromium: drawn, quiet, without requests, for phones, paper, keyboards and screen readers."""

import json
import os
import platform
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.tool import nights
from tool.report.page import page
from tool.report.view import KINDS

_PATIENCE = 120  # seconds, for a busy machine: it takes about five
_SCREENS = ("phone", "phone, dark", "desktop", "desktop, dark")
Seen = dict[str, Any]

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="npm has this Chromium for Linux, x86-64"
)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What the browser saw of a bad night, on every screen and on paper, and of a quiet one."""
    files = [tmp_path_factory.mktemp("page") / f"{name}.html" for name in ("night", "quiet")]
    for file, view in zip(files, (nights.view(), nights.view([])), strict=True):
        file.write_text(page(view), encoding="utf-8")
    with TemporaryDirectory() as folder:
        fonts = Path(folder, "fonts.conf")
        fonts.write_text(f"<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>")
        # The browser is unpacked to TMPDIR, with the libraries that it needs if this looks like a Lambda function.
        unpacked = {"TMPDIR": folder, "AWS_EXECUTION_ENV": "AWS_Lambda_nodejs24.x", "FONTCONFIG_FILE": str(fonts)}
        command = ["node", str(Path(__file__).with_name("look.mjs")), *map(str, files)]
        done = subprocess.run(
            command, env=os.environ | unpacked, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    assert done.returncode == 0, done.stderr
    found: Seen = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("screen", [*_SCREENS, "keyboard", "mouse", "print"])
def test_page_is_quiet_and_asks_for_nothing(seen: Seen, screen: str) -> None:
    """No error in the console, no request of any kind."""
    assert (seen[screen]["errors"], seen[screen]["requests"]) == ([], [])


@pytest.mark.parametrize("screen", [*_SCREENS, "print"])
def test_charts_are_drawn_with_every_node_and_kind_of_state(seen: Seen, screen: str) -> None:
    """A bar for each kind of state, a title for each node; the budgets with their limit, where there is one."""
    timeline, research, slurm, training = seen[screen]["charts"]
    nodes = nights.view()["nodes"]
    assert {f"var(--{kind})" for kind in KINDS} <= set(timeline["shapes"])
    assert sum(node["id"] in text for node in nodes for text in timeline["texts"]) == len(nodes)
    assert [("var(--failing)" in chart["shapes"]) for chart in (research, slurm, training)] == [True, False, True]
    assert all(chart["shapes"]["var(--rebooting)"] for chart in (research, slurm, training))
    assert "2 failed or not recovered" in timeline["label"]
    assert "at most 16, with a limit of 20" in training["label"]


@pytest.mark.parametrize("screen", _SCREENS)
def test_page_fits_the_screen_also_with_all_stories_open(seen: Seen, screen: str) -> None:
    """Nothing is scrolled sideways."""
    assert (seen[screen]["overflow"], seen[screen]["overflow_opened"]) == (0, 0)
    assert seen[screen]["opened"] == len(nights.view()["nodes"])


@pytest.mark.parametrize("screen", _SCREENS)
def test_axe_finds_nothing_serious(seen: Seen, screen: str) -> None:
    """Contrast, names, roles and order, with the stories closed and open."""
    assert seen[screen]["violations"] == []


def test_page_is_dark_where_the_reader_wants_it_and_white_on_paper(seen: Seen) -> None:
    """Paper is white for readers of dark screens, too."""
    white = "rgb(255, 255, 255)"
    assert (seen["phone"]["paper"], seen["desktop"]["paper"], seen["print"]["paper"]) == (white, white, white)
    assert seen["phone, dark"]["paper"] == seen["desktop, dark"]["paper"] == "rgb(18, 22, 28)"


def test_keyboard_reaches_the_stories_and_opens_one(seen: Seen) -> None:
    """After a link over all that is before the timeline, and the button that opens all."""
    skip, button, summary = seen["keyboard"]["stops"]
    assert (skip, button) == ("a Skip to the timeline", "button open-all")
    assert summary.startswith("summary i-00000000000000014 in ml-research: not recovered")
    assert seen["keyboard"]["opened_by_key"] == 1


def test_click_on_a_bar_opens_the_story_of_its_node(seen: Seen) -> None:
    """A mouse over it shows the state in words, with its times."""
    assert seen["mouse"]["tip"] == "reported, waiting: 22 Nov 22:54:07 to 22:54:07"
    assert seen["mouse"]["opened_by_click"].startswith("summary i-00000000000000014 in ml-research")


def test_paper_has_all_stories_and_the_screen_is_as_before_afterwards(seen: Seen) -> None:
    """Paper cannot be clicked; the charts are as wide as it is."""
    paper = seen["print"]
    assert paper["opened"] == paper["stories"] == len(nights.view()["nodes"])
    assert (paper["overflow"], paper["opened_afterwards"]) == (0, 0)


def test_text_that_came_with_an_event_is_shown_and_never_run(seen: Seen) -> None:
    """The reason of one node is HTML that would change the title."""
    assert {(seen[screen]["images"], "harmed" in seen[screen]["title"]) for screen in _SCREENS} == {(0, False)}


def test_browser_is_told_to_make_no_request(seen: Seen) -> None:
    """Should a script ever try, its policy refuses."""
    assert seen["blocked"] == "connect-src"


def test_page_of_a_quiet_night_has_no_charts(seen: Seen) -> None:
    """It says so in words."""
    quiet = seen["quiet"]
    assert (quiet["charts"], quiet["errors"], quiet["violations"], quiet["overflow"]) == ([], [], [], 0)
