"""Amazon DynamoDB: the tables of the monitor, and the items in them."""
