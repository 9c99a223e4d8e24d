"""Running handlers: a supervisor without application code, and the worker processes it starts and watches.

Speaks the worker protocol over HTTP; imports neither store nor api.
"""
