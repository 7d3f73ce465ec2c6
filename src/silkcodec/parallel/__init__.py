"""Run work in other processes.

cores.py           the number of cores that this process may use
worker_process.py  a process that runs a function and can be killed
rebuilt.py         pickling of codecs, for use in another process
"""
