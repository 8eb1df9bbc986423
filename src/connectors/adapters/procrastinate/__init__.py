"""The job queue, kept by procrastinate in the same PostgreSQL. Nothing touches its tables but procrastinate itself."""
