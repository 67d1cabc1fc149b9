"""Keeping the audit log: events are recorded behind those who make them, and forwarded to repositories."""
