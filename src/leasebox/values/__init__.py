"""Pure words that all slices share; imports nothing of ours."""
