"""The environment variables that the stack writes for settings at their defaults."""

from bedrock_batch_monitor.declarations import all_settings

DEFAULT_VARIABLES = {
    setting.variable: setting.kind.text(setting.default)
    for setting in all_settings()
    if setting.path is not None and setting.default is not None
}
