"""Merges the settings of cdk.json with those of the command line."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import fields

from infra.errors import ContextError
from node_remediation.settings import Settings, suggestion

CONTEXT = "remediation"
_SETTINGS = frozenset(each.name for each in fields(Settings))
# The least similarity of a misspelt prefix: "remedation" reaches it, "remote" and "region" do not.
_SIMILAR = 0.75


def merged_context(context: Mapping[str, object]) -> object:
    """Put each `-c remediation.KEY=VALUE` into the `remediation` object. Raises ContextError."""
    for key in context:
        _refuse_misspelt(key)
    settings = context.get(CONTEXT, {})
    overrides = {key.partition(".")[2]: value for key, value in context.items() if key.startswith(f"{CONTEXT}.")}
    return {**settings, **overrides} if isinstance(settings, Mapping) else settings


def _refuse_misspelt(key: str) -> None:
    """Raise ContextError for a key that would be ignored although it was probably meant as a setting.

    Other keys are allowed: the CDK and an operator's ~/.cdk.json add their own.
    """
    if key == CONTEXT or key.startswith((f"{CONTEXT}.", "@", "aws:")):
        return
    prefix, _, name = re.sub(r"[^A-Za-z0-9]", ".", key, count=1).partition(".")
    if prefix.lower().startswith(CONTEXT) or difflib.get_close_matches(prefix.lower(), [CONTEXT], cutoff=_SIMILAR):
        meant = suggestion(name) if name else f"did you mean {CONTEXT}, which takes an object of settings?"
        raise ContextError(f"{key}: no such setting; {meant}")
    name = key.rpartition(".")[2]
    if name in _SETTINGS:
        raise ContextError(f"{key}: no such setting; {suggestion(name)}")
