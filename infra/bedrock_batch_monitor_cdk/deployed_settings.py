"""The settings of a deployed stack, which its template contains, compared with new ones.

The template has the settings that are not at their default, by key and as the text that
`-c key=value` takes. So a deployment can show what it changes before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bedrock_batch_monitor import __version__
from bedrock_batch_monitor.declarations import all_settings

if TYPE_CHECKING:
    from aws_cdk import Stack

    from bedrock_batch_monitor_cdk.config import MonitorConfig

METADATA_KEY: Final = "BedrockBatchMonitor"
_NOT_SET: Final = "not set"


@dataclass(frozen=True, slots=True)
class Change:
    """A setting whose value a deployment changes; None is the default."""

    key: str
    before: str | None
    after: str | None

    @property
    def removes(self) -> bool:
        """Whether a value that someone chose is lost."""
        return self.after is None

    def __str__(self) -> str:
        """`alarmEmail: me@example.com → not set`."""
        return f"{self.key}: {self._shown(self.before)} → {self._shown(self.after)}"

    def _shown(self, value: str | None) -> str:
        if value is not None:
            return value
        # A setting of another version may not exist here.
        for one in all_settings():
            if one.key == self.key and one.default is not None:
                return f"{one.kind.text(one.default)} (the default)"
        return _NOT_SET


def texts_of(config: MonitorConfig) -> dict[str, str]:
    """The settings that are not at their default, by key, as `-c key=value` takes them."""
    values = ((setting, getattr(config, setting.field_name)) for setting in all_settings())
    return {
        setting.key: setting.kind.text(value)
        for setting, value in values
        if value != setting.default
    }


def record_settings(stack: Stack, config: MonitorConfig) -> None:
    """Put the settings into the template of a stack."""
    stack.add_metadata(METADATA_KEY, {"version": __version__, "settings": texts_of(config)})


def settings_in(template: Mapping[str, Any]) -> dict[str, str] | None:
    """The settings in a template; None if the version that made it did not record them."""
    recorded = template.get("Metadata", {}).get(METADATA_KEY)
    return None if recorded is None else dict(recorded["settings"])


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> Sequence[Change]:
    """Every setting whose value differs, by key."""
    return tuple(
        Change(key, before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )
