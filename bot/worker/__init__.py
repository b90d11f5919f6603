"""Claims jobs and does them: fetching, joining, talking, forgetting."""
