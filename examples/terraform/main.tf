# Sends the event of every batch inference job that did not complete to a queue.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "event_bus_name" {
  description = "The output EventBusName of the monitor's stack"
  type        = string
}

resource "aws_cloudwatch_event_rule" "trouble" {
  name           = "batch-jobs-in-trouble"
  description    = "Batch inference jobs that ended with another outcome than Completed"
  event_bus_name = var.event_bus_name

  event_pattern = jsonencode({
    "source"      = ["bedrock-batch-monitor"]
    "detail-type" = ["Batch Inference Job Ended"]
    "detail" = {
      "data" = {
        "outcome" = [{ "anything-but" = ["Completed"] }]
      }
    }
  })
}

resource "aws_cloudwatch_event_target" "queue" {
  rule           = aws_cloudwatch_event_rule.trouble.name
  event_bus_name = var.event_bus_name
  arn            = aws_sqs_queue.trouble.arn

  # Without this queue, EventBridge drops an event that it cannot deliver within 24 hours.
  dead_letter_config {
    arn = aws_sqs_queue.undelivered.arn
  }
}

resource "aws_sqs_queue" "trouble" {
  name                      = "batch-jobs-in-trouble"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "undelivered" {
  name                      = "batch-jobs-in-trouble-undelivered"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue_policy" "trouble" {
  queue_url = aws_sqs_queue.trouble.url
  policy    = data.aws_iam_policy_document.trouble.json
}

resource "aws_sqs_queue_policy" "undelivered" {
  queue_url = aws_sqs_queue.undelivered.url
  policy    = data.aws_iam_policy_document.undelivered.json
}

data "aws_iam_policy_document" "trouble" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.trouble.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.trouble.arn]
    }
  }
}

data "aws_iam_policy_document" "undelivered" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.undelivered.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.trouble.arn]
    }
  }
}

output "queue_url" {
  value = aws_sqs_queue.trouble.url
}
