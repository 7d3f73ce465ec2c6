"""Implement `silk serve`, which offers Silk over HTTP and WebSocket. See docs/server.md and docs/protocol.md.

    client --HTTP, WebSocket--> server process: one event loop, no model --sockets--> workers: processes with the model

    settings.py     settings and limits
    protocol.py     parses and creates the WebSocket messages; uses no socket
    batcher.py      batches frames of concurrent streams for the model; uses no socket
    filejobs.py     converts an uploaded file, and limits its duration
    wire.py         messages between the server process and a worker
    worker.py       runs a batcher or file jobs in a worker process
    processes.py    manages a worker process from the server process
    pool.py         starts, watches and replaces all workers, assigns streams to them, and queues file jobs
    uploads.py      saves request bodies to files in a private folder
    access.py       bearer token, rate limiter, concurrency limit
    connections.py  time and rate limits on connections
    prometheus.py   metrics for Prometheus
    logs.py         JSON log lines with a request id
    service.py      the state that all parts of a running server share
    app.py          HTTP routes
    sessions.py     serves a WebSocket
    request_log.py  request ids, request log, request counts
    server.py       runs the server process; on SIGTERM, finishes open requests and then exits
    client.py       a synchronous client
    explain.py      serves the `silk explain` page on the loopback address; needs no extra

The model runs in worker processes, because a malicious upload can crash a C library or exhaust memory. A crash
affects only the work of one process. Live streams and uploads have separate workers.
"""
