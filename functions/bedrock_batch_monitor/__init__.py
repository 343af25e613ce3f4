"""The monitor's runtime: everything that runs inside the deployed function."""

# Equal to the version in pyproject.toml; the bundle of the functions has no package metadata.
__version__ = "0.1.0"
