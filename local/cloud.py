"""The whole local cloud in one: Bedrock's stand-in, the emulator, and the app deployed to it."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from local.bedrock import StandIn
from local.deployment import Deployment, deploy, deploy_member
from local.emulator import Emulator


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running emulator, the Bedrock that its functions call, and the monitor deployed there."""

    bedrock: StandIn
    emulator: Emulator
    monitor: Deployment


@contextlib.contextmanager
def local_cloud(
    *,
    bedrock: StandIn | None = None,
    context: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    enforce_iam: bool = True,
    members: Iterable[tuple[str, str]] = (),
) -> Iterator[Cloud]:
    """Start a local cloud with the app in it (about ten seconds); everything is removed at the end.

    *bedrock* is a stand-in that is not started yet, by default in real time. *context* are
    settings of the app. *environment* are more variables for the functions, such as
    `{"AWS_ENDPOINT_URL_DYNAMODB": proxy_url}`. With *enforce_iam* the functions may do only what
    their roles allow. *members* are the accounts and regions to which the second stack is
    deployed.

    Raises EmulatorError and DeployError as `Emulator.start` and `deploy` do.
    """
    with bedrock or StandIn() as stand_in:
        variables = {"AWS_ENDPOINT_URL_BEDROCK": stand_in.endpoint_url, **(environment or {})}
        with Emulator(environment=variables) as emulator:
            stand_in.account_of = emulator.account_of
            monitor = deploy(emulator, context=context)
            deploy_member(monitor, members)
            if enforce_iam:
                emulator.enforce_iam()
            yield Cloud(bedrock=stand_in, emulator=emulator, monitor=monitor)
