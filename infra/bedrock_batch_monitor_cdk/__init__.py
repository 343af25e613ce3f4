"""The CDK app's constructs: the stack, its parts, and its settings."""
