"""fairlane beside other task queues: the same work, in alternating rounds, each in processes and an environment of its
own. ``run.py`` is the driver, ``protocol.py`` what every adapter shares; each other small file is named after its peer.
"""
