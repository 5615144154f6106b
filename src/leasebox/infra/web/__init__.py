"""The HTTP edge without product words: strict bodies, problem+json, request ids, pages of a list, OpenAPI pieces."""
