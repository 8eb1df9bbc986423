"""The job queue: procrastinate, in the same PostgreSQL. Only procrastinate itself touches its tables."""
