# ruff: noqa: E402, INP001 - a program that has to find the examples first
"""Every example that is a CDK app, around one monitor: what the deployed tests deploy."""

import sys
from pathlib import Path

from aws_cdk import App

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
for folder in EXAMPLES.iterdir():
    sys.path.append(str(folder))

from consumer_in_another_account import ConsumerBus, RuleToConsumer
from own_cdk_app import Pipeline
from rule_to_lambda import RuleToLambda
from rule_to_sqs import RuleToSqs
from rule_to_step_functions import RuleToStepFunctions

from bedrock_batch_monitor_cdk import MonitorConfig

BUS = "monitor"
# The emulator delivers to a bus of the same account only.
ACCOUNT = "000000000000"

app = App()
# Without discovery, so that the monitor knows of no job but what a test tracks.
pipeline = Pipeline(app, "Pipeline", config=MonitorConfig(discovery=False, event_bus_name=BUS))
consumer_bus = ConsumerBus(app, "ConsumerBus", monitor_account=ACCOUNT)
for stack in (
    RuleToSqs(app, "RuleToSqs", event_bus_name=BUS),
    RuleToLambda(app, "RuleToLambda", event_bus_name=BUS),
    RuleToStepFunctions(app, "RuleToStepFunctions", event_bus_name=BUS),
    RuleToConsumer(app, "RuleToConsumer", event_bus_name=BUS, consumer_account=ACCOUNT),
):
    stack.add_dependency(pipeline)
    stack.add_dependency(consumer_bus)
app.synth()
