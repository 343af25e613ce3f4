#!/usr/bin/env bash
# The same queries with the AWS CLI: bash with_aws_cli.sh [JOB_ARN]
# JOBS_TABLE and HISTORY_TABLE are the stack's outputs JobsTableName and HistoryTableName.
# The CLI reads all pages.
set -euo pipefail

echo "Active jobs:"
aws dynamodb query --table-name "$JOBS_TABLE" --index-name active-jobs \
  --key-condition-expression 'tracking = :active' \
  --expression-attribute-values '{":active": {"S": "ACTIVE"}}' \
  --query 'Items[].jobArn.S' --output text

echo "Active jobs that cannot be read:"
aws dynamodb query --table-name "$JOBS_TABLE" --index-name active-jobs \
  --key-condition-expression 'tracking = :active' --filter-expression 'attribute_exists(lastError)' \
  --expression-attribute-values '{":active": {"S": "ACTIVE"}}' \
  --query 'Items[].jobArn.S' --output text

echo "Jobs that failed since yesterday, the newest first:"
SINCE=$(date -u -d yesterday +%Y-%m-%dT%H:%M:%S.000Z) # macOS: date -u -v-1d +…
aws dynamodb query --table-name "$HISTORY_TABLE" --index-name by-status --no-scan-index-forward \
  --key-condition-expression '#status = :failed AND observedAt >= :since' \
  --expression-attribute-names '{"#status": "status"}' \
  --expression-attribute-values '{":failed": {"S": "Failed"}, ":since": {"S": "'"$SINCE"'"}}' \
  --query 'Items[].jobArn.S' --output text

if [[ $# -gt 0 ]]; then
  echo "Status of the job:"
  aws dynamodb get-item --table-name "$JOBS_TABLE" --key '{"jobArn": {"S": "'"$1"'"}}' \
    --consistent-read --query 'Item.status.S' --output text

  echo "Its transitions, the oldest first:"
  aws dynamodb query --table-name "$HISTORY_TABLE" --key-condition-expression 'jobArn = :job' \
    --expression-attribute-values '{":job": {"S": "'"$1"'"}}' \
    --query 'Items[].status.S' --output text
fi
