# The monitor itself, as a module: wraps what `make package` makes, or what a release contains.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "package" {
  description = "Folder with the template and the functions' archive, such as build/package"
  type        = string
}

variable "bucket" {
  description = "Bucket for the archive, in the Region of the stack"
  type        = string
}

variable "stack_name" {
  description = "Name of the CloudFormation stack"
  type        = string
  default     = "BedrockBatchMonitor"
}

variable "alarm_email" {
  description = "Address that gets an email when an alarm triggers or clears; empty for none"
  type        = string
  default     = ""
}

variable "discovery_name_prefix" {
  description = "Discover only jobs whose name starts with this prefix; empty for all jobs"
  type        = string
  default     = ""
}

variable "history_retention_days" {
  description = "Days after which a transition is removed from the history; empty to keep it"
  type        = string
  default     = ""
}

variable "log_retention_days" {
  description = "Days that the logs of the functions are kept"
  type        = number
  default     = 30
}

locals {
  # Its name follows from its content.
  archive = one(fileset(var.package, "bedrock-batch-monitor-functions-*.zip"))
}

resource "aws_s3_object" "functions" {
  bucket      = var.bucket
  key         = local.archive
  source      = "${var.package}/${local.archive}"
  source_hash = filemd5("${var.package}/${local.archive}")
}

resource "aws_cloudformation_stack" "monitor" {
  name          = var.stack_name
  capabilities  = ["CAPABILITY_NAMED_IAM"]
  template_body = file("${var.package}/bedrock-batch-monitor.template.json")

  parameters = {
    CodeBucket           = var.bucket
    CodeKey              = aws_s3_object.functions.key
    AlarmEmail           = var.alarm_email
    DiscoveryNamePrefix  = var.discovery_name_prefix
    HistoryRetentionDays = var.history_retention_days
    LogRetentionDays     = var.log_retention_days
  }
}

output "event_bus_name" {
  description = "The bus of events and commands: the rules of your subscribers belong there"
  value       = aws_cloudformation_stack.monitor.outputs["EventBusName"]
}

output "jobs_table_name" {
  description = "One item for each tracked job"
  value       = aws_cloudformation_stack.monitor.outputs["JobsTableName"]
}

output "history_table_name" {
  description = "One item for each observed transition"
  value       = aws_cloudformation_stack.monitor.outputs["HistoryTableName"]
}

output "alarm_topic_arn" {
  description = "The topic that the alarms on the monitor itself report to"
  value       = aws_cloudformation_stack.monitor.outputs["AlarmTopicArn"]
}
