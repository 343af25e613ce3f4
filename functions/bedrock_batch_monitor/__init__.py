"""The monitor's runtime: everything that runs inside the deployed function."""
