"""Pictures of frames (PS3.18 8.7.3.1): decoded, windowed and encoded in child processes that are held short.

`pool` is the parent's side, `child` what runs in a child; only what is imported there knows numpy and codecs.
"""
