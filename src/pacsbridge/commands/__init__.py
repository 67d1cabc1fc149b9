"""The commands, by what they need: each module is loaded when one of its commands is called.

serving      serve, demo          translating  translate
storing      import, migrate, reindex          asking  check, why, dead-letters, sync
verifying    verify, backup                     health       health
viewing      viewer               manual       manual

recording    what each leaves in the audit log          signals      what ends `serve`
"""
