"""The session that all clients come from: it decides, for all at once, which certificate roots they trust.

It is botocore's own. boto3's would make the same clients, and a tenth of a cold start would be the import of its
resources and transfers.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
from botocore.exceptions import SSLError
from botocore.httpsession import DEFAULT_CA_BUNDLE

from node_remediation import awserrors
from node_remediation.awserrors import Meaning
from node_remediation.sdk import AMAZON_ROOTS

_ALL_ROOTS = Path(DEFAULT_CA_BUNDLE)
_SENT_AGAIN = "sent again with all roots"


class Roots(os.PathLike[str]):
    """The file of certificate roots: the few that AWS uses, until a certificate is not signed by them; then all.

    urllib3 asks for the path when it makes a connection, not when a client is made: what is decided for one client
    holds for the next connection of every other.
    """

    def __init__(self, few: Path, every: Path, *, warn: Callable[[str], object]) -> None:
        self._path = few
        self._every = every
        self._warn = warn

    def __fspath__(self) -> str:
        return str(self._path)

    def on_needs_retry(
        self, *, caught_exception: Exception | None, request_dict: dict[str, Any], **_: object
    ) -> int | None:
        """Answer botocore's `needs-retry`: send again, without a wait, what a certificate stopped; once per request.

        Certificates are checked before a request is sent, so even a reboot is safe to send again.
        """
        if not _is_certificate(caught_exception) or _SENT_AGAIN in request_dict["context"]:
            return None
        request_dict["context"][_SENT_AGAIN] = True
        if self._path != self._every:
            self._path = self._every
            self._warn(f"certificate roots: the few do not do, all are used from now on: {caught_exception}")
        return 0


def open_session(*, partition: str, warn: Callable[[str], object], few: Path | None = None) -> botocore.session.Session:
    """A session whose clients trust few roots in AWS's own partition, and all of botocore's in any other.

    AWS_CA_BUNDLE, `ca_bundle` of the AWS configuration file and REQUESTS_CA_BUNDLE override both.
    """
    core = botocore.session.get_session()
    few = few or _ALL_ROOTS.with_name(AMAZON_ROOTS)
    # Only the asset has the file of the few: whoever runs the sources trusts all.
    if partition == "aws" and few.is_file() and not _is_overridden(core):
        roots = Roots(few, _ALL_ROOTS, warn=warn)
        core.set_config_variable("ca_bundle", roots)
        core.get_component("event_emitter").register("needs-retry", roots.on_needs_retry)
    return core


def _is_overridden(core: botocore.session.Session) -> bool:
    return core.get_config_variable("ca_bundle") is not None or "REQUESTS_CA_BUNDLE" in os.environ


def _is_certificate(error: Exception | None) -> bool:
    return isinstance(error, SSLError) and awserrors.read(error).meaning is Meaning.NOT_SENT
