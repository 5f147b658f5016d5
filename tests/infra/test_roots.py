"""The few certificate roots: exactly Amazon's, out of botocore's own file."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from infra import function_asset as packaging
from infra.errors import PackagingError
from infra.roots import write_amazon_roots
from node_remediation.sdk import AMAZON_ROOTS


@pytest.fixture(scope="module")
def botocore() -> Path:
    return packaging.function_asset() / "botocore"


def _names(path: Path) -> set[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    subjects: Any = [each["subject"] for each in context.get_ca_certs()]
    return {value for subject in subjects for ((key, value),) in subject if key == "commonName"}


def test_few_roots_are_those_of_amazon_trust_services(botocore: Path) -> None:
    """As OpenSSL reads them."""
    assert _names(botocore / AMAZON_ROOTS) == {
        "Amazon Root CA 1",
        "Amazon Root CA 2",
        "Amazon Root CA 3",
        "Amazon Root CA 4",
        "Starfield Services Root Certificate Authority - G2",
    }
    assert (botocore / AMAZON_ROOTS).read_text().count("BEGIN CERTIFICATE") == 5


def test_all_roots_stay_in_the_asset(botocore: Path) -> None:
    """For other partitions, and for the day on which the few do not do."""
    assert len(_names(botocore / "cacert.pem")) > 100


def test_root_that_is_gone_fails_the_build_in_one_line(botocore: Path, tmp_path: Path) -> None:
    """By its fingerprint: a certificate of the same name is another one."""
    third = (botocore / AMAZON_ROOTS).read_text().split("-----END CERTIFICATE-----")[2]
    signature = third.splitlines()[-1]
    every = tmp_path / "cacert.pem"
    every.write_text((botocore / "cacert.pem").read_text().replace(signature, signature.swapcase()))
    with pytest.raises(PackagingError, match=r"^function asset: botocore's cacert.pem has no Amazon Root CA 3$"):
        write_amazon_roots(every, tmp_path / "few.pem")
    assert not (tmp_path / "few.pem").exists()
