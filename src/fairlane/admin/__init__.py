"""The admin API from the caller's side: of a running server, of a remote one, or in this process if none runs.

The command line and the demo use it. It does not print, and it does not know the command line.
"""
