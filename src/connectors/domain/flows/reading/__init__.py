"""The engine that reads the providers' APIs: jobs, schedule, runs, page commits, coverage, concurrency."""
