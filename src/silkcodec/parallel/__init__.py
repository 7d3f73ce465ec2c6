"""Run work in other processes.

cores.py           how many cores this process may use
worker_process.py  a process that runs a function and can be killed
rebuilt.py         how a codec is sent to another process
"""
