"""The real bundle under CPython 3.14, Lambda's Python, as WebAssembly (npm `pyodide`) in Node."""

import json
import subprocess
from pathlib import Path

from bedrock_batch_monitor_cdk.bundling import SERVICE_MODELS, bundle
from tests.infra.conftest import ROOT

# Compiles every file, imports every module of the runtime, and makes every client.
PROGRAM = f"""
import compileall, importlib, json, os, pkgutil, sys, warnings
warnings.simplefilter("error")
sys.path.insert(0, "/bundle")
compiled = compileall.compile_dir("/bundle", quiet=2, workers=1)
import boto3, botocore
import bedrock_batch_monitor
modules = [one.name for one in
           pkgutil.walk_packages(bedrock_batch_monitor.__path__, "bedrock_batch_monitor.")
           if ".handlers." not in one.name]
os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1")
for name in modules:
    importlib.import_module(name)
clients = [boto3.client(name).meta.service_model.service_name for name in {list(SERVICE_MODELS)!r}]
json.dumps({{"python": sys.version.split()[0], "compiled": compiled, "modules": modules,
            "clients": clients, "boto3": boto3.__file__}})
"""
START = """
const {loadPyodide} = await import('pyodide');
const python = await loadPyodide();
python.FS.mkdir('/bundle');
python.FS.mount(python.FS.filesystems.NODEFS, {root: process.argv[1]}, '/bundle');
const said = await python.runPythonAsync(process.argv[2]);
process.stdout.write(`\\nRESULT ${said}\\n`);
process.exit(0);
"""


def test_bundle_runs_on_the_python_of_lambda(tmp_path: Path) -> None:
    """Every file compiles, every module imports without a warning, and every client is created."""
    output = tmp_path / "bundle"
    output.mkdir()
    bundle(output)
    result = subprocess.run(  # noqa: S603 - our own program
        ["node", "--input-type=module", "-e", START, "--", str(output), PROGRAM],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.partition("RESULT ")[2])
    assert found["python"].startswith("3.14.")
    assert found["compiled"]
    assert found["boto3"].startswith("/bundle/")
    assert found["clients"] == list(SERVICE_MODELS)
    assert len(found["modules"]) > 40
