"""`silk serve`: Silk over HTTP and WebSocket. docs/server.md says how to run it and what goes over the wire.

    client --HTTP, WebSocket--> front: one event loop, no model --sockets--> workers: processes with the model

    settings.py   what can be set, and the limits
    protocol.py   the WebSocket's messages, without a socket
    batcher.py    frames of concurrent streams -> calls of the model, without a socket
    filejobs.py   one uploaded file -> one result, with limits
    wire.py       messages between the front and a worker
    worker.py     the worker: a batcher, or file jobs, behind a socket
    processes.py  one worker as the front sees it
    pool.py       all of them: starts, watches and replaces workers, pins streams to them, queues file jobs
    uploads.py    a request's body to a file of a private folder
    access.py     bearer token, rate, who may open how many streams
    prometheus.py Prometheus; logs.py: JSON lines with a request id
    app.py        HTTP; sessions.py: the WebSocket; books.py: request ids, the log and the count of requests
    server.py     the process: listen, drain on SIGTERM
    client.py     a client, without asyncio
    explain.py    the page of `silk explain`, for this machine only; it needs no extra

**Processes, not threads.** ONNX Runtime lets go of the GIL, so threads would compute as fast. But uploads are
parsed by C libraries, and memory runs out: what kills a process must kill as little as possible. The front
parses nothing but JSON; live streams are spread over worker processes; files have a process of their own, at a
lower priority, so that a hostile file reaches no live stream. A worker that dies is replaced; its streams are
told so, and no other notices.
"""
