"""The examples' files, their templates, and all of them deployed around one monitor."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_cdk
import pytest

from local.bedrock import StandIn
from local.cdk import cdk_deploy
from local.deployment import Deployment, Outputs
from local.emulator import Emulator
from tests.component.conftest import cloud

__all__ = ["cloud"]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
_HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this directory in one worker: they share one deployment."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("examples"))


def names_of(path: str) -> dict[str, Any]:
    """What a file below `examples/` defines."""
    return runpy.run_path(str(EXAMPLES / path))


@pytest.fixture(scope="session")
def synthesize(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Callable[[aws_cdk.App], object]], dict[str, Any]]:
    """The templates of the stacks that a function adds to an app, by stack."""

    def templates(add: Callable[[aws_cdk.App], object]) -> dict[str, Any]:
        app = aws_cdk.App(
            context={"aws:cdk:bundling-stacks": []},
            outdir=str(tmp_path_factory.mktemp("cdk.out")),
        )
        add(app)
        return {stack.stack_name: stack.template for stack in app.synth().stacks}

    return templates


@dataclass(frozen=True)
class Deployed:
    """A local cloud with the monitor of `examples/own-cdk-app`, and all other examples on it."""

    bedrock: StandIn
    emulator: Emulator
    monitor: Deployment
    outputs: Mapping[str, Mapping[str, str]]


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """The examples as `cdk deploy` deploys them, IAM enforced."""
    with StandIn() as bedrock:
        variables = {"AWS_ENDPOINT_URL_BEDROCK": bedrock.endpoint_url}
        with Emulator(environment=variables) as emulator:
            cdk_deploy(emulator, _HERE / "deployment", stack="*")
            emulator.enforce_iam()
            stacks = emulator.client("cloudformation").describe_stacks()["Stacks"]
            outputs = {
                stack["StackName"]: {
                    output["OutputKey"]: output["OutputValue"]
                    for output in stack.get("Outputs", [])
                }
                for stack in stacks
            }
            own = outputs["Pipeline"]
            monitor = Deployment(
                emulator,
                Outputs(
                    jobs_table_name=own["JobsTableName"],
                    history_table_name=own["HistoryTableName"],
                    event_bus_name=own["EventBusName"],
                    monitor_function_name=own["MonitorFunctionName"],
                    dead_letter_queue_url=own["DeadLetterQueueUrl"],
                    failed_polls_queue_url=own["FailedPollsQueueUrl"],
                    dashboard_name=own["DashboardName"],
                ),
            )
            yield Deployed(bedrock=bedrock, emulator=emulator, monitor=monitor, outputs=outputs)
