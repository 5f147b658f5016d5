"""A short run of `make chaos`: under random complaints, cures, duplicates and faults every promise is kept."""

from local.chaos.__main__ import run


def test_chaos_breaks_no_promise() -> None:
    """Faults in a tenth of the function's calls; counted from outside once nothing is due any more."""
    said: list[str] = []
    assert run(1, 15, 0.1, say=said.append) == [], "\n".join(said)
