"""Implement `silk serve`, which offers Silk over HTTP and WebSocket. docs/server.md describes its use and protocols.

    client --HTTP, WebSocket--> server process: one event loop, no model --sockets--> workers: processes with the model

    settings.py     settings and limits
    protocol.py     parses and creates the WebSocket messages; uses no socket
    batcher.py      batches frames of concurrent streams for the model; uses no socket
    filejobs.py     converts an uploaded file, and limits its duration
    wire.py         messages between the server process and a worker
    worker.py       runs a batcher or file jobs in a worker process
    processes.py    represents a worker process in the server process
    pool.py         starts, watches and replaces all workers, assigns streams to them, and queues file jobs
    uploads.py      saves request bodies to files in a private folder
    access.py       bearer token, rate limiter, concurrency limit
    prometheus.py   metrics for Prometheus
    logs.py         JSON log lines with a request id
    app.py          HTTP routes
    sessions.py     serves a WebSocket
    request_log.py  request ids, request log, request counts
    server.py       runs the server process; on SIGTERM, finishes open requests and then exits
    client.py       a client without asyncio
    explain.py      serves the page of `silk explain` on the loopback address; needs no extra

The model runs in worker processes, because a malicious upload can crash a C library or exhaust the memory. A crash
affects only the work of one process. Live streams and uploads have separate workers.
"""
