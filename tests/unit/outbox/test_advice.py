"""What a person is told to do, by code; and the table of codes in the documentation."""

import re
from pathlib import Path

import pytest

from node_remediation import codes
from node_remediation.model import Outcome
from node_remediation.outbox.advice import Advice, advice_for, runbook_section
from tests.unit.outbox.makers import KNOWN, LETTERED, TOLD

DOCS = Path(__file__).parents[3] / "docs"
MESSAGES, RUNBOOK = ((DOCS / name).read_text() for name in ("messages.md", "runbook.md"))
SECTIONS = dict(re.findall(r"^### (.+?)\n(.*?)(?=^##|\Z)", RUNBOOK, re.DOTALL | re.MULTILINE))


def of(code: str) -> Advice:
    return advice_for(Outcome.FAILED, code)


def test_each_known_code_has_advice_of_its_own() -> None:
    """A person who is woken by a code reads what to do about just that."""
    found = [of(code) for code in KNOWN]
    assert len({each.words for each in found}) == len({each.text for each in found}) == len(found)
    assert of("BrandNewException") not in found


def test_code_that_is_not_known_still_has_advice() -> None:
    """AWS may answer with a code that is in no documentation."""
    assert "API reference" in of("BrandNewException").text


@pytest.mark.parametrize("code", sorted(codes.THROTTLING))
def test_throttling_is_over_in_a_few_minutes(code: str) -> None:
    """AWS has many codes for it."""
    assert "Wait a few minutes." in of(code).text


@pytest.mark.parametrize("outcome", sorted(set(TOLD) - LETTERED))
def test_outcome_without_a_letter_has_words_of_its_own_whatever_its_code(outcome: Outcome) -> None:
    """A node that is tried again is not to be waited for by hand."""
    assert advice_for(outcome, "InstanceIdInUse") == advice_for(outcome, None) != of("InstanceIdInUse")


@pytest.mark.parametrize("code", [*sorted(KNOWN), "ThrottlingException", "BrandNewException"])
def test_words_leave_room_for_region_node_and_cluster_in_a_subject(code: str) -> None:
    """They say what happened and what to do, and end in no riddle: for several nodes the pronoun is plural."""
    one, many = of(code).line(1), of(code).line(2)
    assert max(len(one), len(many)) <= 43
    assert ", " in one
    assert not one.endswith("them")
    assert many == (f"{one[:-2]}them" if one.endswith(" it") and of(code).do.endswith("{it}") else many)


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_code_is_in_the_table_of_codes_with_its_retryability(code: str) -> None:
    """People look a code up in docs/messages.md, and scripts are written by it."""
    rows = [line.split("|")[1:-1] for line in MESSAGES.split("## Codes")[1].splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if f"`{code}`" in row[0]]
    assert row[-1].strip() == ("yes" if codes.is_retryable(code) else "no")


def test_runbook_has_a_section_for_each_code_and_outcome_that_a_person_can_get_and_no_other() -> None:
    """Each mail leads there: a new code or outcome needs a section, a removed one takes its section along."""
    led_to = {runbook_section(Outcome.FAILED, code) for code in (*KNOWN, "ThrottlingException", "BrandNewException")}
    led_to |= {runbook_section(outcome, code) for outcome, code in TOLD.items()}
    led_to |= {runbook_section(Outcome.FAILED, "InstanceIdInUse", replacing=True)}
    led_to |= {runbook_section(Outcome.DAILY_SUMMARY, None)}
    assert led_to == {name.lower().replace(" ", "-") for name in SECTIONS}


@pytest.mark.parametrize("name", SECTIONS)
def test_section_of_the_runbook_says_what_it_means_where_to_look_what_to_do_and_when_to_escalate(name: str) -> None:
    """In that order, each in words."""
    assert re.findall(r"^- \*\*(.+?)\.\*\* \S", SECTIONS[name], re.MULTILINE) == ["Means", "LOOK", "DO", "Escalate"]


@pytest.mark.parametrize("code", sorted(KNOWN))
def test_code_in_the_table_links_to_its_section(code: str) -> None:
    """The table is for scripts, the runbook for people."""
    assert f"[`{code}`](runbook.md#{runbook_section(Outcome.FAILED, code)})" in MESSAGES
