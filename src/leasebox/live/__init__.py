"""Push: whoever waits hears at once that something was committed."""
