"""Picks out of botocore's certificate roots the few that AWS's endpoints lead to.

All 127 are parsed for each new connection: two thirds of what a client's first call costs.
"""

import re
import ssl
from hashlib import sha256
from pathlib import Path

from infra.errors import PackagingError

# SHA-256 fingerprints as https://www.amazontrust.com/repository/ has them.
_AMAZON = {
    "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e": "Amazon Root CA 1",
    "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4": "Amazon Root CA 2",
    "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4": "Amazon Root CA 3",
    "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092": "Amazon Root CA 4",
    "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5": "Starfield Services Root CA - G2",
}
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", re.DOTALL)


def write_amazon_roots(every: Path, target: Path) -> None:
    """Write the certificates of Amazon Trust Services out of the file of all. Raises PackagingError if one is gone."""
    found = {_fingerprint(pem): pem for pem in _CERTIFICATE.findall(every.read_text())}
    if gone := [name for fingerprint, name in _AMAZON.items() if fingerprint not in found]:
        raise PackagingError(f"function asset: botocore's {every.name} has no {', '.join(gone)}")
    target.write_text("".join(found[fingerprint] for fingerprint in _AMAZON))


def _fingerprint(pem: str) -> str:
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
