#!/usr/bin/env bash
# The same questions with the AWS CLI: bash with_aws_cli.sh [JOB_ARN]
# JOBS_TABLE and HISTORY_TABLE are the stack's outputs JobsTableName and HistoryTableName.
# The CLI follows the pages by itself.
set -euo pipefail

echo "Which jobs are being followed?"
aws dynamodb query --table-name "$JOBS_TABLE" --index-name active-jobs \
  --key-condition-expression 'tracking = :active' \
  --expression-attribute-values '{":active": {"S": "ACTIVE"}}' \
  --query 'Items[].jobArn.S' --output text

echo "Which of them does Bedrock refuse to show?"
aws dynamodb query --table-name "$JOBS_TABLE" --index-name active-jobs \
  --key-condition-expression 'tracking = :active' --filter-expression 'attribute_exists(lastError)' \
  --expression-attribute-values '{":active": {"S": "ACTIVE"}}' \
  --query 'Items[].jobArn.S' --output text

echo "Which have failed since yesterday, newest first?"
SINCE=$(date -u -d yesterday +%Y-%m-%dT%H:%M:%S.000Z) # macOS: date -u -v-1d +…
aws dynamodb query --table-name "$HISTORY_TABLE" --index-name by-status --no-scan-index-forward \
  --key-condition-expression '#status = :failed AND observedAt >= :since' \
  --expression-attribute-names '{"#status": "status"}' \
  --expression-attribute-values '{":failed": {"S": "Failed"}, ":since": {"S": "'"$SINCE"'"}}' \
  --query 'Items[].jobArn.S' --output text

if [[ $# -gt 0 ]]; then
  echo "How does this job stand?"
  aws dynamodb get-item --table-name "$JOBS_TABLE" --key '{"jobArn": {"S": "'"$1"'"}}' \
    --consistent-read --query 'Item.status.S' --output text

  echo "What has happened to it, oldest first?"
  aws dynamodb query --table-name "$HISTORY_TABLE" --key-condition-expression 'jobArn = :job' \
    --expression-attribute-values '{":job": {"S": "'"$1"'"}}' \
    --query 'Items[].status.S' --output text
fi
