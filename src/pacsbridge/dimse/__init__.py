"""DIMSE over TCP: the listener that takes C-ECHO and C-STORE (PS3.4 B, PS3.7 9, PS3.8)."""
