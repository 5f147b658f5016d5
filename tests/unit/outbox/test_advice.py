"""What a person is told to do, by code; and the table of codes in the documentation."""

from pathlib import Path

import pytest

from node_remediation import codes
from node_remediation.model import Outcome
from node_remediation.outbox.advice import Advice, advice_for
from tests.unit.outbox.makers import KNOWN, LETTERED, TOLD

MESSAGES = (Path(__file__).parents[3] / "docs" / "messages.md").read_text()


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
