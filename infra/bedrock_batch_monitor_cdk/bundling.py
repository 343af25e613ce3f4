"""The function's code: the runtime package with its pinned requirements, bundled without Docker."""

from __future__ import annotations

import hashlib
import importlib.resources
import importlib.util
import os
import re
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
    "service-quotas",
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
    # Options of a configuration file that would lead somewhere else than to --target.
    "--no-user",
    "--prefix=",
    f"--root={os.sep}",
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=3.14",
    "--platform=manylinux_2_28_aarch64",
    "--platform=manylinux2014_aarch64",
)

_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
# Where pip installs to and from; an index, a certificate and a proxy are the user's to choose.
_PIP_VARIABLES: Final = frozenset(
    ("PIP_USER", "PIP_PREFIX", "PIP_ROOT", "PIP_TARGET", "PIP_DRY_RUN", "PIP_REQUIREMENT")
)
_PIP_WHEEL: Final = "_bundled/pip-*.whl"

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
    """Run this Python's pip, or the one that Python itself contains; raises `BundlingError`.

    The configuration of pip applies, so that an index and a certificate of your own work.
    """
    result = subprocess.run(  # noqa: S603 - the arguments are this module's own
        [sys.executable, *_pip(), *arguments],
        env={name: text for name, text in os.environ.items() if name not in _PIP_VARIABLES},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        message = f"pip could not install the function's requirements:\n{result.stdout.strip()}"
        raise BundlingError(message)


def _pip() -> Sequence[str]:
    """How to start pip. An environment that `uv venv` made has none, but Python has its wheel."""
    if importlib.util.find_spec("pip") is not None:
        return ("-m", "pip")
    if importlib.util.find_spec("ensurepip") is not None:
        folder = Path(str(importlib.resources.files("ensurepip")))
        found = sorted(map(str, folder.glob(_PIP_WHEEL)))
        if found:
            # A wheel is a zip file, which Python can import from and run.
            return (f"{found[-1]}/pip",)
    message = (
        f"{sys.executable} has no pip, which installs the function's requirements: install it, for "
        "example with `uv pip install pip` or `apt-get install python3-venv`"
    )
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
    if installed.is_dir() and not missing_from(installed, requirements):
        return installed
    shutil.rmtree(installed, ignore_errors=True)
    dependencies.mkdir(parents=True, exist_ok=True)
    # Created elsewhere and then renamed, so that an interrupted install never looks complete.
    with tempfile.TemporaryDirectory(dir=dependencies) as name:
        aside = Path(name) / "installed"
        pip([*PIP_INSTALL, f"--requirement={requirements}", f"--target={aside}"])
        if missing := missing_from(aside, requirements):
            message = (
                f"pip installed nothing for {', '.join(missing)}, although it reported success: "
                "look at the settings of pip in its configuration and in the environment with "
                "`pip config list`"
            )
            raise BundlingError(message)
        _drop_what_names_this_machine(aside)
        _drop_models_of_other_services(aside)
        try:
            aside.rename(installed)
        except OSError:
            # Another synthesis was faster; the result is the same.
            if not installed.is_dir():
                raise
    return installed


def missing_from(installed: Path, requirements: Path) -> list[str]:
    """The pinned requirements that a directory does not contain, as `name==version`.

    A bundle that lacks one would fail only when the function runs.
    """
    pins = _PIN.findall(requirements.read_text())
    found = {path.name.lower() for path in installed.glob("*.dist-info")}
    return [
        f"{name}=={version}"
        for name, version in pins
        if f"{re.sub('[-_.]+', '_', name)}-{version}.dist-info".lower() not in found
    ]


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
