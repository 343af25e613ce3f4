"""The function's bundle: its content, and when pip runs. pip itself is a stub here."""

import importlib.util
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from bedrock_batch_monitor_cdk import bundling
from bedrock_batch_monitor_cdk.bundling import (
    PIP_INSTALL,
    SERVICE_MODELS,
    SOURCE,
    BundlingError,
    LocalBundling,
    PipRunner,
    bundle,
    dependencies_of,
    run_pip,
)

Bundler = Callable[[str, PipRunner], Path]


class StubPip:
    """Installs packages, a script and a record, as pip's --target does."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> None:
        """Install into the --target of the arguments."""
        self.calls.append(list(arguments))
        (target,) = [a.removeprefix("--target=") for a in arguments if a.startswith("--target=")]
        for path in (
            "boto3/__init__.py",
            "boto3/__pycache__/__init__.cpython-311.pyc",
            "boto3/data/ec2/resources.json",
            "boto3-1.dist-info/RECORD",
            "botocore/data/endpoints.json",
            "botocore/data/dynamodb/service-2.json.gz",
            "botocore/data/ec2/service-2.json.gz",
            "bin/jp.py",
        ):
            file = Path(target, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("installed")
        version = Path(next(one for one in arguments if one.startswith("--requirement="))[14:])
        number = version.read_text().rpartition("=")[2]
        Path(target, "boto3-1.dist-info").rename(Path(target, f"boto3-{number}.dist-info"))
        Path(target, f"boto3-{number}.dist-info/METADATA").write_text("installed")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A package with what belongs into the bundle and what does not."""
    root = tmp_path / "package"
    for path in (".hidden/file", "module.py", "__pycache__/module.cpython-311.pyc"):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("pass")
    return root


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """The pins of the package."""
    file = tmp_path / "requirements.txt"
    file.write_text("boto3==1")
    return file


@pytest.fixture
def into(source: Path, requirements: Path, tmp_path: Path) -> Bundler:
    """Bundles into a directory of this name."""

    def make(name: str, pip: PipRunner) -> Path:
        bundle(
            tmp_path / name,
            source=source,
            requirements=requirements,
            dependencies=tmp_path / "cache",
            pip=pip,
        )
        return tmp_path / name

    return make


def files(directory: Path) -> list[str]:
    """The files below a directory."""
    return sorted(
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()
    )


def test_bundle_contains_what_the_functions_need(into: Bundler) -> None:
    """It contains nothing that depends on the machine."""
    output = into("out", StubPip())

    assert files(output) == [
        "boto3-1.dist-info/METADATA",
        "boto3/__init__.py",
        "botocore/data/dynamodb/service-2.json.gz",
        "botocore/data/endpoints.json",
        "package/module.py",
    ]


def test_packages_without_scripts_are_bundled(into: Bundler) -> None:
    """Pip makes the folder of scripts only if a package has one."""
    pip = StubPip()

    def without_scripts(arguments: Sequence[str]) -> None:
        pip(arguments)
        (target,) = (a[9:] for a in arguments if a.startswith("--target="))
        shutil.rmtree(Path(target, "bin"))

    assert files(into("out", without_scripts)) == files(into("other", StubPip()))


def test_model_of_every_client_is_in_the_bundle() -> None:
    """Without its model, the client of a service could not be created."""
    made = {
        service
        for file in SOURCE.rglob("*.py")
        for service in re.findall(r"\.(?:create_)?client\(\s*\"([\w-]+)\"", file.read_text())
    }
    assert made == set(SERVICE_MODELS)


def test_requirements_of_a_checkout_are_kept_for_all_syntheses(tmp_path: Path) -> None:
    """`make clean` removes them with everything else in `build`."""
    found = {dependencies_of(tmp_path / output) for output in ("one/asset", "other/asset")}
    assert {path.parent for path in found} == {Path(__file__).parents[2] / "build"}


def test_pip_installs_pinned_wheels_for_the_platform_of_lambda(
    into: Bundler, requirements: Path
) -> None:
    """It checks the hashes, on every machine."""
    pip = StubPip()
    into("out", pip)

    (call,) = pip.calls
    assert call[: len(PIP_INSTALL)] == list(PIP_INSTALL)
    assert f"--requirement={requirements}" in call
    assert {"--require-hashes", "--only-binary=:all:", "--python-version=3.14"} <= set(call)
    assert "--platform=manylinux2014_aarch64" in call


def test_pip_runs_once_per_requirements(into: Bundler, source: Path, requirements: Path) -> None:
    """A change in our own code installs nothing; a change of the requirements does."""
    pip = StubPip()
    first = into("first", pip)
    (source / "module.py").write_text("changed")
    second = into("second", pip)
    assert len(pip.calls) == 1
    assert files(first) == files(second)
    assert (second / "package" / "module.py").read_text() == "changed"

    requirements.write_text("boto3==2")
    into("third", pip)
    assert len(pip.calls) == 2


def test_failed_install_leaves_nothing_to_reuse(into: Bundler, tmp_path: Path) -> None:
    """The next synthesis does not use an incomplete install."""
    stub = StubPip()

    def broken(arguments: Sequence[str]) -> None:
        stub(arguments)
        raise BundlingError

    with pytest.raises(BundlingError):
        into("out", broken)

    assert list((tmp_path / "cache").iterdir()) == []


def test_empty_install_is_never_reused(into: Bundler, tmp_path: Path) -> None:
    """Pip can succeed and install nothing, as with PIP_DRY_RUN: the bundle would have no boto3."""

    def idle(arguments: Sequence[str]) -> None:
        (target,) = [a.removeprefix("--target=") for a in arguments if a.startswith("--target=")]
        Path(target).mkdir(parents=True)

    with pytest.raises(BundlingError, match="pip installed nothing for boto3==1, although it"):
        into("out", idle)

    assert list((tmp_path / "cache").iterdir()) == []


def test_incomplete_install_of_an_earlier_version_is_replaced(
    into: Bundler, tmp_path: Path
) -> None:
    """An earlier install is reused only if it contains every requirement."""
    pip = StubPip()
    into("first", pip)
    (kept,) = (tmp_path / "cache").iterdir()
    shutil.rmtree(kept / "boto3-1.dist-info")
    into("second", pip)

    assert len(pip.calls) == 2
    assert "boto3-1.dist-info/METADATA" in files(tmp_path / "second")


def environment(tmp_path: Path, content: str = "") -> dict[str, str]:
    """What leads pip elsewhere: variables, and a configuration file with the same."""
    file = tmp_path / "pip.conf"
    file.write_text(content)
    return {
        "PIP_CONFIG_FILE": str(file),
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "elsewhere"),
        "PIP_PREFIX": str(tmp_path / "elsewhere"),
        "PIP_ROOT": str(tmp_path / "elsewhere"),
        "PIP_DRY_RUN": "1",
    }


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package that pip installs without a network."""
    file = tmp_path / "tiny-1-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr(
            "tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n"
        )
        archive.writestr("tiny-1.dist-info/RECORD", "")
    return file


CONFIGURED = "[install]\nuser = true\nprefix = {0}\nroot = {0}\ntarget = {0}\n"


@pytest.mark.parametrize("without", [None, "pip"])
def test_settings_of_pip_do_not_move_the_bundle(
    tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch, without: str | None
) -> None:
    """Real pip, or the one that Python contains, installs to --target with any configuration."""
    elsewhere = tmp_path / "elsewhere"
    for name, value in environment(tmp_path, CONFIGURED.format(elsewhere)).items():
        monkeypatch.setenv(name, value)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == without else find_spec(name)
    )
    options = [one for one in PIP_INSTALL if one != "--require-hashes"]
    run_pip([*options, "--no-index", "--no-deps", str(wheel), f"--target={tmp_path / 'target'}"])

    assert (tmp_path / "target" / "tiny.py").is_file()
    assert not elsewhere.exists()


def test_python_without_pip_has_an_error_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no pip, and the wheel of pip was removed from Python."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(BundlingError, match="has no pip, which installs the function's req"):
        run_pip(["install"])


def test_pip_failure_is_quoted_in_the_error() -> None:
    """The error contains the output of pip, which the user needs."""
    with pytest.raises(BundlingError) as caught:
        run_pip(["install", "--no-such-option"])

    first, *quoted = str(caught.value).splitlines()
    assert first == "pip could not install the function's requirements:"
    assert "no such option: --no-such-option" in quoted


def test_bundling_on_this_machine_never_leads_to_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CDK runs Docker if local bundling returns False."""
    made: list[Path] = []
    monkeypatch.setattr(bundling, "bundle", made.append)

    assert LocalBundling().try_bundle(str(tmp_path), image="not used") is True
    assert made == [tmp_path]
