"""What a job means: job to statement, rows to outcome, grouping and verdicts. Pure: no sockets, no Celery, no clock."""
