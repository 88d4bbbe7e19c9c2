"""mimicctl: the imitation-learning data loop as one command line and one Python API."""

__version__ = "0.1.0"
