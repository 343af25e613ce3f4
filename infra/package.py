"""Make what can be deployed without the CDK: a template and the functions' archive.

`python infra/package.py [--bucket NAME] [-c key=value ...]` writes both into `build/package`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bedrock_batch_monitor_cdk.stack import STACK_ID
from bedrock_batch_monitor_cdk.standalone import standalone

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "build" / "package"
TEMPLATE = "bedrock-batch-monitor.template.json"
_HASH_CHARACTERS = 16
# The same files make the same archive: ZIP cannot store an earlier date.
_DATE = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def main(arguments: Sequence[str]) -> int:
    """Write the package, and print how to deploy it: the exit status."""
    parser = argparse.ArgumentParser(prog="make package", description=__doc__)
    parser.add_argument("--bucket", help="the bucket that will have the archive of the functions")
    parser.add_argument("-c", "--context", action="append", default=[], metavar="key=value")
    chosen = parser.parse_args(arguments)
    context = dict(one.partition("=")[::2] for one in chosen.context)
    with tempfile.TemporaryDirectory() as name:
        status = _synthesize(Path(name), context)
        if status:
            return status
        archive, template = package(Path(name), PACKAGE, bucket=chosen.bucket)
    sys.stdout.write(_steps(archive, template, chosen.bucket or "YOUR-BUCKET"))
    return 0


def package(assembly: Path, target: Path, *, bucket: str | None) -> tuple[Path, Path]:
    """Write archive and template of a synthesized monitor into a folder, and return their paths.

    What an earlier run left in the folder is removed.
    """
    (code,) = {
        module.parent.parent
        for module in assembly.glob("asset.*/bedrock_batch_monitor/contract.py")
    }
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    content = target / "functions.zip"
    zip_folder(code, content)
    # The name follows from the content, so that CloudFormation notices a change of the code.
    digest = hashlib.sha256(content.read_bytes()).hexdigest()[:_HASH_CHARACTERS]
    archive = content.rename(target / f"bedrock-batch-monitor-functions-{digest}.zip")
    synthesized = json.loads((assembly / f"{STACK_ID}.template.json").read_text(encoding="utf-8"))
    template = target / TEMPLATE
    made = standalone(synthesized, code_key=archive.name, code_bucket=bucket)
    template.write_text(json.dumps(made, separators=(",", ":")) + "\n", encoding="utf-8")
    return archive, template


def zip_folder(folder: Path, archive: Path) -> None:
    """Zip the files of a folder, the same way on every machine."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = _MODE
            made.writestr(entry, file.read_bytes())


def _synthesize(assembly: Path, context: Mapping[str, Any]) -> int:
    project = json.loads((ROOT / "cdk.json").read_text(encoding="utf-8"))["context"]
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps({**project, **context}),
        "CDK_OUTDIR": str(assembly),
    }
    command = [sys.executable, str(ROOT / "app.py")]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode  # noqa: S603


def _steps(archive: Path, template: Path, bucket: str) -> str:
    folder = os.path.relpath(archive.parent)
    return (
        f"{folder}/{archive.name}\n{folder}/{template.name}\n\nTo deploy them:\n"
        f"aws s3 cp {folder}/{archive.name} s3://{bucket}/\n"
        f"aws cloudformation deploy --stack-name {STACK_ID} --capabilities CAPABILITY_NAMED_IAM"
        f" --template-file {folder}/{template.name} --s3-bucket {bucket}"
        f" --parameter-overrides CodeBucket={bucket}\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
