"""What a person is told to do, by code; and the table of codes in the documentation."""

from pathlib import Path

import pytest

from node_remediation import codes
from node_remediation.outbox.advice import advice_for

OWN = {value for name, value in vars(codes).items() if name.isupper() and isinstance(value, str)}
API = {"InstanceIdInUse", "InstanceIdNotFound", "InvalidInstanceStatus", "InternalServerError"}
CALL = {"ResourceNotFound", "ValidationException", "AccessDeniedException"}
MESSAGES = (Path(__file__).parents[3] / "docs" / "messages.md").read_text()


def test_each_known_code_has_advice_of_its_own() -> None:
    """A person who is woken by a code reads what to do about just that."""
    texts = {code: advice_for(code) for code in OWN | API | CALL}
    assert len(set(texts.values())) == len(texts)
    assert advice_for("BrandNewException") not in texts.values()


def test_code_that_is_not_known_still_has_advice() -> None:
    """AWS may answer with a code that is in no documentation."""
    assert "API reference" in advice_for("BrandNewException")


@pytest.mark.parametrize("code", sorted(codes.THROTTLING))
def test_throttling_is_over_in_a_few_minutes(code: str) -> None:
    """AWS has many codes for it."""
    assert "Redrive in a few minutes." in advice_for(code)


@pytest.mark.parametrize("code", sorted(OWN | API | CALL))
def test_code_is_in_the_table_of_codes_with_its_retryability(code: str) -> None:
    """People look a code up in docs/messages.md, and scripts are written by it."""
    rows = [line.split("|")[1:-1] for line in MESSAGES.split("## Codes")[1].splitlines() if line.startswith("|")]
    (row,) = [row for row in rows if f"`{code}`" in row[0]]
    assert row[-1].strip() == ("yes" if codes.is_retryable(code) else "no")
