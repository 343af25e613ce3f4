"""The edges: one module per AWS service, the only places that call botocore."""
