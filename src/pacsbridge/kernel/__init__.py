"""The pure kernel: standard library only, no input or output, no clock, no logs."""
