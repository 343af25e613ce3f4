"""A stand-in for Amazon Bedrock's batch inference API, which follows botocore's model of it.

`StandIn` is the server: a test adds jobs to it, advances its clock and sets faults. `Control` does
the same with a stand-in in another process.
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
