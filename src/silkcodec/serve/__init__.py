"""Implement `silk serve`: Silk over HTTP and WebSocket. docs/server.md describes how to run it, and its protocols.

    client --HTTP, WebSocket--> front: one event loop, no model --sockets--> workers: processes with the model

    settings.py     settings and limits
    protocol.py     messages of the WebSocket, without a socket
    batcher.py      frames of concurrent streams -> calls of the model, without a socket
    filejobs.py     one uploaded file -> one result, with limits
    wire.py         messages between the front and a worker
    worker.py       the worker process: runs a batcher or file jobs
    processes.py    one worker process, seen from the front
    pool.py         all workers: starts, watches and replaces them, assigns streams, queues file jobs
    uploads.py      request bodies -> files in a private folder
    access.py       bearer token, rate limiter, concurrency limit
    prometheus.py   metrics for Prometheus
    logs.py         JSON log lines with a request id
    app.py          HTTP routes
    sessions.py     the WebSocket
    request_log.py  request ids, the request log, request counts
    server.py       the process: listens, drains on SIGTERM
    client.py       a client without asyncio
    explain.py      the page of `silk explain`, on the loopback address only; needs no extra

**The server uses processes, not threads.** ONNX Runtime releases the GIL, so threads would be as fast. But C libraries
parse the uploads, and memory can run out, so the effect of a crash must be small. The front parses only JSON. Live
streams are distributed over worker processes. Files are processed by separate workers with a lower priority, so a
malicious file cannot affect a live stream. If a worker crashes, it is replaced. The server reports the crash to the
streams of this worker. Other streams are not affected.
"""
