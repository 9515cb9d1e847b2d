"""The worker: processes and networks around `tasks`."""
