"""Effects without product words: database, cache, HTTP edge, engines, processes, logs."""
