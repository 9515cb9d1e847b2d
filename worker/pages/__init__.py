"""What Flower shows of jobs: its pages with our columns, and the receipt of a job, read from Redis."""
