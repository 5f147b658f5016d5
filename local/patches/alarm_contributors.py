"""Gap: the emulator knows no DescribeAlarmContributors, and evaluates no alarm of several series.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarmContributors.html
Touches: `cloudwatch.handle_request`, `cloudwatch._alarms`, `cloudwatch._composite_alarms`, `cloudwatch._error`,
`cloudwatch._json_ok`, `cloudwatch._encode_page_token`, `cloudwatch._decode_page_token`.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch

from local.hyperpod.contract import violations

_TARGET = ".DescribeAlarmContributors"
_REASON = "Threshold Crossed: 1 datapoint was greater than the threshold (0.0)."
# Small, so that a client that forgets to page finds out on an alarm of eleven contributors.
_PAGE = 10


@dataclass(frozen=True, slots=True)
class Contributor:
    """Describes a series that is in ALARM; `since` is in seconds since 1970."""

    id: str
    attributes: Mapping[str, str]
    reason: str
    since: float

    def described(self) -> dict[str, Any]:
        """Return the entry of the answer."""
        return {
            "ContributorId": self.id,
            "ContributorAttributes": dict(self.attributes),
            "StateReason": self.reason,
            "StateTransitionedTimestamp": self.since,
        }


_contributors: dict[str, tuple[Contributor, ...]] = {}  # by alarm ARN


def apply() -> None:
    """Add the call."""
    handle = cloudwatch.handle_request

    async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
        if headers.get("x-amz-target", "").endswith(_TARGET):
            return _describe(json.loads(body or b"{}"))
        return await handle(method, path, headers, body, query)

    cloudwatch.handle_request = handle_request


def script(asked: Any) -> dict[str, Any]:
    """Say which contributors of an alarm are in ALARM, in place of those before. Raises ValueError, TypeError.

    {"alarm", "contributors": [{"attributes", "reason"?, "since"?, "id"?}]}. One that was there keeps its `since`,
    unless it is given; an ID follows from the attributes.
    """
    if not isinstance(asked, dict) or asked.keys() != {"alarm", "contributors"}:
        raise ValueError('contributors: takes {"alarm": NAME, "contributors": [...]}')
    name = asked["alarm"]
    if _alarm(name) is None:
        raise ValueError(f"contributors: no alarm {name!r}")
    if not isinstance(asked["contributors"], list):
        raise TypeError("contributors: takes a list")
    since = {known.id: known.since for known in _contributors.get(_arn(name), ())}
    found = tuple(_read(given, since) for given in asked["contributors"])
    _contributors[_arn(name)] = found
    return {"alarm": name, "contributors": [contributor.described() for contributor in found]}


def scripted() -> dict[str, Any]:
    """Return the scripted contributors by their alarm's ARN."""
    return {arn: [contributor.described() for contributor in found] for arn, found in _contributors.items()}


def clear() -> None:
    """Forget all scripted contributors."""
    _contributors.clear()


def _read(given: Any, since: Mapping[str, float]) -> Contributor:
    if not isinstance(given, dict) or not {"attributes"} <= given.keys() <= {"id", "attributes", "reason", "since"}:
        raise ValueError('contributors: each takes {"attributes", "reason"?, "since"?, "id"?}')
    attributes = json.dumps(given["attributes"], sort_keys=True).encode()
    id_ = given.get("id", hashlib.sha256(attributes).hexdigest()[:16])
    contributor = Contributor(
        id_,
        given["attributes"],
        given.get("reason", _REASON),
        given.get("since", since.get(str(id_), round(time.time(), 3))),
    )
    if found := list(violations(_shape(), contributor.described())):
        raise ValueError(f"contributors: {'; '.join(found)}")
    return contributor


@lru_cache
def _shape() -> Shape:
    """Return the AlarmContributor of botocore's model."""
    return ServiceModel(Loader().load_service_model("cloudwatch", "service-2"), "cloudwatch").shape_for(
        "AlarmContributor"
    )


def _describe(request: Mapping[str, Any]) -> Any:
    """Answer with the contributors page by page; none while the alarm is in another state than ALARM."""
    name = request.get("AlarmName")
    alarm = _alarm(name)
    if alarm is None:
        return cloudwatch._error("ResourceNotFoundException", f"Alarm {name} does not exist", 404, use_json=True)
    found = _contributors.get(_arn(name), ()) if alarm["StateValue"] == "ALARM" else ()
    start = _start(request.get("NextToken"))
    if start is None:
        return cloudwatch._error("InvalidNextToken", "The token is not valid", 400, use_json=True)
    end = start + _PAGE
    more = {"NextToken": cloudwatch._encode_page_token(str(end))} if end < len(found) else {}
    page = [contributor.described() for contributor in found[start:end]]
    return cloudwatch._json_ok({"AlarmContributors": page, **more})


def _start(token: str | None) -> int | None:
    """Return where the page begins; None for a token that no answer carried."""
    position = "0" if token is None else cloudwatch._decode_page_token(token) or ""
    return int(position) if position.isdecimal() else None


def _alarm(name: Any) -> dict[str, Any] | None:
    alarm: dict[str, Any] | None = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name)
    return alarm


def _arn(name: Any) -> str:
    return f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}"
