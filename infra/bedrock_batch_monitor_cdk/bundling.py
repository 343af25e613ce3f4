"""The function's code: the runtime package with its pinned requirements, bundled without Docker."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import jsii
from aws_cdk import AssetHashType, BundlingOptions, IgnoreMode, ILocalBundling
from aws_cdk import aws_lambda as lambda_

import bedrock_batch_monitor
from bedrock_batch_monitor_cdk.packaged import CHECKOUT, packaged

# The runtime package, in a checkout or where it is installed.
SOURCE: Final = Path(bedrock_batch_monitor.__file__).resolve().parent
REQUIREMENTS: Final = packaged("functions/requirements.txt")
_DEPENDENCIES: Final = "function-dependencies"

# The services that the functions create clients for. botocore contains the models of all services,
# which are most of its size. A test compares this with the clients that the code creates.
SERVICE_MODELS: Final = (
    "bedrock",
    "dynamodb",
    "events",
    "s3",
    "sns",
    "stepfunctions",
    "sts",
)

# Files that the bundle leaves out, in the syntax of .gitignore.
EXCLUDED: Final = ("__pycache__", "*.pyc", ".*")

# Lambda's Python 3.14 on arm64. Every requirement is pure Python, so that the same bundle runs in
# the local cloud; --only-binary keeps pip from building anything for this machine instead.
PIP_INSTALL: Final = (
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--require-hashes",
    "--no-compile",
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.14",
    "--platform=manylinux_2_28_aarch64",
    "--platform=manylinux2014_aarch64",
)

PipRunner = Callable[[Sequence[str]], None]


class BundlingError(RuntimeError):
    """The function's requirements could not be installed; the message ends with pip's output."""


def function_code() -> lambda_.Code:
    """The asset of the function, bundled at synthesis unless the CDK skips bundling.

    Its hash covers the sources, their requirements and the way they are bundled, not the result. So
    it is the same on every machine, in a checkout and installed, and known without bundling: the
    CDK bundles only what its output directory does not contain yet.
    """
    requirements = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    return lambda_.Code.from_asset(
        str(SOURCE),
        exclude=list(EXCLUDED),
        ignore_mode=IgnoreMode.GIT,
        asset_hash_type=AssetHashType.SOURCE,
        bundling=BundlingOptions(
            # Required, but used only if local bundling declines, which it never does.
            image=lambda_.Runtime.PYTHON_3_14.bundling_image,
            # Never run: it makes the installed packages and pip's options part of the hash.
            command=[*PIP_INSTALL, *SERVICE_MODELS, requirements],
            local=LocalBundling(),
        ),
    )


@jsii.implements(ILocalBundling)
class LocalBundling:
    """Bundles on this machine, with the pip of the Python that runs the app."""

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        """Fill the output directory; raises `BundlingError`.

        It never returns False, which would make the CDK use Docker.
        """
        bundle(Path(output_dir))
        return True


def dependencies_of(output: Path) -> Path:
    """Where installed requirements are kept, one directory per content of their file.

    A change of our own code installs nothing. In a checkout all syntheses share them, and
    `make clean` removes them; an app with the installed package keeps them next to its assets.
    """
    return (CHECKOUT / "build" if CHECKOUT else output.parent) / _DEPENDENCIES


def run_pip(arguments: Sequence[str]) -> None:
    """Run this Python's pip; raises `BundlingError`."""
    result = subprocess.run(  # noqa: S603 - the arguments are this module's own
        [sys.executable, "-m", "pip", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        message = f"pip could not install the function's requirements:\n{result.stdout.strip()}"
        raise BundlingError(message)


def bundle(
    output: Path,
    *,
    source: Path = SOURCE,
    requirements: Path = REQUIREMENTS,
    dependencies: Path | None = None,
    pip: PipRunner = run_pip,
) -> None:
    """Put the installed requirements and the runtime package into `output`."""
    dependencies = dependencies or dependencies_of(output)
    installed = install_requirements(requirements, dependencies, pip)
    # Compiled files, if the installed code was run, are for the Python that ran it.
    excluded = shutil.ignore_patterns(*EXCLUDED)
    shutil.copytree(installed, output, ignore=excluded, dirs_exist_ok=True)
    shutil.copytree(source, output / source.name, ignore=excluded)


def install_requirements(requirements: Path, dependencies: Path, pip: PipRunner) -> Path:
    """The directory with the installed requirements, created if it does not exist."""
    manner = "\0".join((*PIP_INSTALL, *SERVICE_MODELS))
    key = hashlib.sha256(manner.encode() + requirements.read_bytes()).hexdigest()
    installed = dependencies / key
    if installed.is_dir():
        return installed
    dependencies.mkdir(parents=True, exist_ok=True)
    # Created elsewhere and then renamed, so that an interrupted install never looks complete.
    with tempfile.TemporaryDirectory(dir=dependencies) as name:
        aside = Path(name) / "installed"
        pip([*PIP_INSTALL, f"--requirement={requirements}", f"--target={aside}"])
        _drop_what_names_this_machine(aside)
        _drop_models_of_other_services(aside)
        try:
            aside.rename(installed)
        except OSError:
            # Another synthesis was faster; the result is the same.
            if not installed.is_dir():
                raise
    return installed


def _drop_what_names_this_machine(installed: Path) -> None:
    """Remove the scripts, which name the Python that ran pip, and the files with their hashes."""
    shutil.rmtree(installed / "bin", ignore_errors=True)
    for record in installed.glob("*.dist-info/RECORD"):
        record.unlink()


def _drop_models_of_other_services(installed: Path) -> None:
    """Remove the models of services without a client; shared data stays."""
    for models in (installed / "botocore" / "data", installed / "boto3" / "data"):
        for service in models.glob("*/"):
            if service.name not in SERVICE_MODELS:
                shutil.rmtree(service)
