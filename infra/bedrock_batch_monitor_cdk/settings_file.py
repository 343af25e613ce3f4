"""`settings.json`: the settings of a deployment, kept in a file that Git ignores.

`-c key=value` overrides it for one deployment. A setting can also be in the context of `cdk.json`
or of `~/.cdk.json`, where the CDK reads it; then it must not be in `settings.json` as well, because
nothing says which value is newer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bedrock_batch_monitor_cdk.config import ConfigError, problems_of_unknown

SETTINGS_FILE: Final = "settings.json"
# Names another file, or none if it is empty: the demo and the tests ignore your settings.
SETTINGS_VARIABLE: Final = "BBM_SETTINGS_FILE"


def read_settings(file: Path) -> Mapping[str, Any]:
    """The settings in a file: empty if there is no file. Raises `ConfigError`."""
    return _object_in(file, file.name)


def read_context(file: Path, name: str) -> Mapping[str, Any]:
    """The context in a `cdk.json`; `name` names it in messages. Raises `ConfigError`."""
    context = _object_in(file, name).get("context", {})
    return context if isinstance(context, dict) else {}


def combine(
    context: Mapping[str, Any], settings: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The context of the CDK and the settings of the file, as one context.

    `context` is what the CDK combined, `-c key=value` included. `files` are the contexts of the
    files that it read, by name. Raises `ConfigError` if a setting is in two files, and for an
    unknown key in the settings.
    """
    problems = [
        f"{key} is in {name} and in {SETTINGS_FILE}: remove it from {name}"
        for name, found in files.items()
        for key in settings
        if key in found
    ]
    problems += [
        f"{SETTINGS_FILE}: {problem}" for problem in problems_of_unknown(settings).values()
    ]
    if problems:
        raise ConfigError(tuple(problems))
    return {**settings, **context}


def ignored_keys(users_own: Mapping[str, Any], project: Mapping[str, Any]) -> dict[str, str]:
    """The keys that only `~/.cdk.json` has and that are not settings, with what to say about each.

    The CDK adds that file to the context of every app, so its keys may be those of another app.
    """
    return {
        key: f"{problem} (it is in ~/.cdk.json, and is ignored)"
        for key, problem in problems_of_unknown(users_own).items()
        if key not in project
    }


def _object_in(file: Path, name: str) -> Mapping[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError((f"{name} cannot be read as JSON: {error}",)) from error
    if not isinstance(value, dict):
        raise ConfigError((f"{name} must contain one JSON object, such as {{}}",))
    return value
