"""`python -m infra.credentials [CDK options]`: ends with one line where there are no AWS credentials.

`make` asks before a deployment: the CDK CLI would say so only after the synthesis, and not where to get them.
"""

import argparse
import sys
from collections.abc import Sequence

import boto3
from botocore.exceptions import BotoCoreError


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--profile")
    profile = parser.parse_known_args(arguments)[0].profile
    try:
        found = boto3.Session(profile_name=profile).get_credentials()
    except BotoCoreError as error:
        sys.exit(f"AWS credentials: {error}")
    if found is None:
        sys.exit(
            "AWS credentials: none found; use aws configure, aws sso login or export AWS_PROFILE=NAME"
            ' (or make ... ARGS="--profile NAME"), then try again'
        )


if __name__ == "__main__":
    main()
