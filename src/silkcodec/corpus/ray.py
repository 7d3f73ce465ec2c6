"""Encode shards on a cluster with Ray actors.

All machines must have access to the inputs and the output under the same paths, e.g. on a network file system. If an
actor crashes, a new actor encodes its shard again.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

from silkcodec.corpus.local import MAX_CRASHES, Starts, one_thread
from silkcodec.corpus.plan import Plan, Shard
from silkcodec.corpus.shard import Record, ShardJob, check_worker, load_codec, tokenize_shard
from silkcodec.errors import ArgumentError, SilkError, import_extra

OBJECT_STORE_BYTES = 80 * 1024 * 1024  # Ray's minimum, which is enough because actors write shards to disk


class _Tokenizer:
    """A Ray actor that loads a codec and encodes shards."""

    def __init__(self, job: ShardJob) -> None:
        one_thread()
        self._codec = load_codec(job.codec, job.settings.provider)
        check_worker(self._codec, job)
        self._job = job

    def tokenize(self, shard: Shard) -> Record | SilkError:
        """Encode a shard and return its record. Return a SilkError instead of raising it, because Ray would wrap it."""
        try:
            return tokenize_shard(self._codec, shard, self._job)
        except SilkError as error:
            return error


def require() -> Any:
    """Import ray, and disable its usage statistics. Raises MissingExtraError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default, which avoids a warning
    return import_extra("ray", "The engine 'ray'", "ray")


def tokenize(
    job: ShardJob, plan: Plan, todo: Sequence[int], n_workers: int, starts: Starts, *, address: str | None, gpus: float
) -> Iterator[Record]:
    """Encode shards on a cluster, and yield their ledger records in order of completion.

    Args:
        job: settings for the workers.
        plan: plan of the corpus.
        todo: numbers of the shards to encode.
        n_workers: number of actors.
        starts: progress callback.
        address: address of a cluster, or "auto" for a cluster on this machine. None starts Ray for this run.
        gpus: number of GPUs per actor.

    Raises:
        SilkError: a worker failed, or three workers crashed while encoding the same shard.
        ArgumentError: there is no cluster at the address.
    """
    ray = require()
    mine = not ray.is_initialized()
    if mine:
        _start(ray, n_workers, address)
    try:
        yield from _run(ray, job, plan, deque(todo), n_workers, starts, gpus)
    finally:
        if mine:
            ray.shutdown()


def _start(ray: Any, n_workers: int, address: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's default of 15 gives its workers low priority.
        options |= {
            "num_cpus": n_workers,
            "include_dashboard": False,
            "object_store_memory": OBJECT_STORE_BYTES,
        }
    try:
        ray.init(address=address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        what = f"--address must be the address of a running Ray cluster; got '{address}'"
        if address is None:
            what = "Cannot start Ray on this machine"
        raise ArgumentError(f"{what}: {reason.rstrip('.')}.") from error


def _run(
    ray: Any, job: ShardJob, plan: Plan, waiting: deque[int], n_workers: int, starts: Starts, gpus: float
) -> Iterator[Record]:
    Actor = ray.remote(num_cpus=1, num_gpus=gpus)(_Tokenizer)
    n_crashes: Counter[int] = Counter()
    working: dict[Any, tuple[Any, int]] = {}  # pending result -> (actor, shard)

    def assign(actor: Any) -> None:
        if waiting:
            index = waiting.popleft()
            working[actor.tokenize.remote(plan.shard(index))] = actor, index
        else:
            ray.kill(actor)  # Frees a core for waiting actors, if there are more workers than cores.

    for _ in range(min(n_workers, len(waiting))):
        assign(Actor.remote(job))
    while working:
        ready, _rest = ray.wait(list(working), num_returns=1)
        actor, index = working.pop(ready[0])
        try:
            answer = ray.get(ready[0])
        except ray.exceptions.RayActorError as error:
            _check_start(error)
            n_crashes[index] += 1
            if n_crashes[index] >= MAX_CRASHES:
                raise SilkError(
                    f"{MAX_CRASHES} workers crashed while encoding shard {index}. Run the same command with"
                    " --engine local, which finds and excludes the recording that causes the crash."
                ) from error
            waiting.appendleft(index)
            actor = Actor.remote(job)
        else:
            if isinstance(answer, SilkError):
                raise answer
            starts(plan.counts[index])
            yield answer
        assign(actor)


def _check_start(error: BaseException) -> None:
    """If `error` means that an actor could not start, raise the cause as a SilkError."""
    cause = error.__cause__
    if isinstance(cause, SilkError):
        raise cause
    text = str(error)
    if "creation task" in text or "__init__" in text:
        lines = [line for line in text.splitlines() if "silkcodec.errors." in line]
        raise SilkError(lines[-1].split(": ", 1)[-1] if lines else f"A Ray worker could not start: {text[:300]}")
