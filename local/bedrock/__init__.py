"""A stand-in for Amazon Bedrock's batch inference API, which follows botocore's model of it.

with StandIn(clock=ManualClock(), seed=7) as bedrock:
client = boto3.client("bedrock", endpoint_url=bedrock.endpoint_url)
arn = bedrock.add_job(script=Script.ending("Failed"))
bedrock.clock.advance(60)
"""

from local.bedrock.clock import ManualClock, SimulatedClock
from local.bedrock.control import Control, ControlError
from local.bedrock.errors import ModelMismatchError
from local.bedrock.lifecycle import ENDINGS, Phase, Script
from local.bedrock.server import StandIn
from local.bedrock.service import OK

__all__ = [
    "ENDINGS",
    "OK",
    "Control",
    "ControlError",
    "ManualClock",
    "ModelMismatchError",
    "Phase",
    "Script",
    "SimulatedClock",
    "StandIn",
]
