"""Error messages in one line: what happened, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from botocore import exceptions as sdk
from botocore.exceptions import BotoCoreError, ClientError

from bedrock_batch_monitor.adapters.dynamodb.items import InvalidItemError
from bedrock_batch_monitor.adapters.errors import ServiceError
from bedrock_batch_monitor.domain.plain_text import quoted

_SHOWN_CHARACTERS: Final = 120
FAILED: Final = 1
BAD_USAGE: Final = 2

# The operations that bbm calls, as IAM names their actions.
_ACTIONS: Final = {
    "DescribeStacks": "cloudformation:DescribeStacks",
    "BatchGetItem": "dynamodb:BatchGetItem",
    "GetItem": "dynamodb:GetItem",
    "GetObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "PutItem": "dynamodb:PutItem",
    "Query": "dynamodb:Query",
    "Scan": "dynamodb:Scan",
    "UpdateItem": "dynamodb:UpdateItem",
    "PutEvents": "events:PutEvents",
    "Invoke": "lambda:InvokeFunction",
}
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_NOT_ACCEPTED: Final = frozenset(
    {
        "AuthFailure",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_BUSY: Final = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ServiceException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_NO_ANSWER: Final = (
    sdk.ConnectionError,
    sdk.HTTPClientError,
)
_NO_LOGIN: Final = (
    sdk.NoCredentialsError,
    sdk.PartialCredentialsError,
    sdk.CredentialRetrievalError,
)
_LOGIN_EXPIRED: Final = (
    sdk.LoginRefreshRequired,
    sdk.LoginTokenLoadError,
    sdk.SSOTokenLoadError,
    sdk.UnauthorizedSSOTokenError,
    sdk.TokenRetrievalError,
)
_SIGN_IN: Final = (
    "sign in again (`aws sso login` or `aws login`) or name another profile (--profile)"
)
_ACTION_IN_MESSAGE: Final = re.compile(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)")


class Problem(Exception):  # noqa: N818 - the message for the user, not an error of the code
    """An error that ends a command. Its text is one line with the remedy."""

    exit_code = FAILED


class UsageProblem(Problem):
    """An error in the arguments of the command."""

    exit_code = BAD_USAGE


def explain(  # noqa: PLR0911 - a case for each kind of error
    error: Exception, *, stack: str, region: str | None
) -> Problem | None:
    """Turn what botocore and the runtime raise into a `Problem`; None for what is a defect of bbm.

    `stack` and `region` are what the command worked with, for the remedies that name them.
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, ServiceError):
        # The runtime wraps what botocore raised; the remedy depends on the original.
        if isinstance(error.__cause__, Exception):
            return explain(error.__cause__, stack=stack, region=region)
        return Problem(str(error))
    if isinstance(error, InvalidItemError):
        return Problem(f"an item of the tables cannot be read: {error}")
    if isinstance(error, ClientError):
        return _of_answer(error, stack, region)
    if isinstance(error, BotoCoreError):
        return _of_sdk(error)
    return None


def is_transient(error: Exception) -> bool:
    """Whether the same call can succeed a moment later: no answer, or a busy service."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code") in _BUSY
    return isinstance(error, _NO_ANSWER)


def is_denied(error: Exception) -> bool:
    """Whether the caller is not allowed to make the call."""
    if not isinstance(error, ClientError):
        return False
    return error.response.get("Error", {}).get("Code") in _DENIED


def unknown_job(name: str) -> Problem:
    """The problem that no job in the tables has this ARN, id or name."""
    return Problem(
        f"no job {quoted(name, _SHOWN_CHARACTERS)} in the jobs table: `bbm jobs --all` lists all "
        "jobs, and `bbm track <ARN>` tracks a job"
    )


def _of_sdk(error: BotoCoreError) -> Problem:  # noqa: PLR0911 - a case for each kind of error
    if isinstance(error, sdk.ProfileNotFound):
        return Problem(f"{error}: `aws configure list-profiles` lists the profiles")
    if isinstance(error, _NO_LOGIN):
        return Problem(
            "no AWS credentials found: name a profile (--profile, AWS_PROFILE), sign in "
            "(`aws sso login`) or configure credentials (`aws configure`)"
        )
    if isinstance(error, _LOGIN_EXPIRED):
        return Problem(f"the AWS session has expired: {_SIGN_IN}")
    if isinstance(error, sdk.NoRegionError):
        return Problem(
            "no AWS Region is set: use --region or set AWS_REGION (without one, `cdk` deploys to "
            "us-east-1)"
        )
    if isinstance(error, sdk.InvalidRegionError):
        return Problem(f"{error}: a Region looks like us-east-1")
    if isinstance(error, _NO_ANSWER):
        return Problem(
            f"no answer from AWS ({error}): check the network, the Region (--region) and "
            "AWS_ENDPOINT_URL if it is set"
        )
    return Problem(
        f"the AWS SDK failed ({type(error).__name__}: {error}): run the command again with --debug"
    )


def _of_answer(  # noqa: PLR0911 - a case for each kind of error
    error: ClientError, stack: str, region: str | None
) -> Problem:
    details: Mapping[str, str] = error.response.get("Error", {})  # type: ignore[assignment]
    code, message = details.get("Code", "Unknown"), details.get("Message", "")
    operation = error.operation_name
    if operation == "DescribeStacks" and code == "ValidationError":
        return stack_missing(stack, region)
    if code in _DENIED:
        named = _ACTION_IN_MESSAGE.search(message)
        action = named[1] if named else _ACTIONS.get(operation, operation)
        return Problem(
            f"no permission for {action}: ask for this permission for your role or user ({message})"
        )
    if code in _EXPIRED:
        return Problem(f"the AWS session has expired: {_SIGN_IN}")
    if code in _NOT_ACCEPTED:
        return Problem(
            f"AWS does not accept these credentials ({code}): check the profile (--profile, "
            "AWS_PROFILE) and the access keys in the environment"
        )
    if code == "ResourceNotFoundException":
        return Problem(
            f"a resource in the outputs of stack {stack} does not exist ({message}): deploy the "
            "stack again with `make deploy`"
        )
    if code in _BUSY:
        return Problem(f"AWS is busy ({operation}: {code}): try again in a moment")
    return Problem(f"AWS refused {_ACTIONS.get(operation, operation)}: {code}: {message}")


def stack_missing(stack: str, region: str | None) -> Problem:
    """The problem that the stack does not exist in the Region."""
    return Problem(
        f"no stack {stack} in {region or 'this Region'}: name its Region (--region) or its name "
        "(--stack), or deploy it with `make deploy`"
    )
