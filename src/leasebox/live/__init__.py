"""Push: long-poll, SSE and WebSocket; whoever waits hears at once what was committed, and misses nothing."""
