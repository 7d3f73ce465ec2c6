"""Run code in other processes.

cores.py           counts the cores that this process can use
worker_process.py  runs a function in a process that can be killed
rebuilt.py         pickles codecs for use in other processes
"""
