"""Why records of a job failed: reads results and inputs line by line, in bounded memory."""
