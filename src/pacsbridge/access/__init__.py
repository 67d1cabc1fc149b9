"""Who calls over HTTP, and what that caller may have: bearer tokens and SMART scopes."""
