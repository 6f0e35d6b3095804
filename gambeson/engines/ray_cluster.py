"""A Ray cluster: Ray places tasks, restarts those whose worker or node died, and knows what is idle."""

import logging
import os
import pickle
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch

from gambeson.allocator import keep_freed_memory
from gambeson.engines import ALONE, SLICE, Batch, Judge, Judged, Take, judged, lengthened, parcel
from gambeson.errors import RunError, UserError, first_line, out_of_memory
from gambeson.inference import Form
from gambeson.machine import Kind, cores, kind_of_machine, share_cores

RETRIES = 5  # of one batch, when the worker that has it dies
LOOK = 60.0  # seconds without an answer, after which the nodes are looked at again


@dataclass(frozen=True)
class RayCluster:
    """form: the inference form of what is judged; a task takes as many CPUs as it has threads, or one GPU and one CPU.
    address: of a running cluster, host:port or "auto"; None starts one on this machine alone. workers: tasks at a time,
    None for as many as the cluster has room for. slice_seconds: what a task takes, longer where there are very many
    (`lengthened`). Nodes need Gambeson, the model's own code, and the same kind of machine: where it differs, the last
    bits of logits may, and the run stops.
    """

    form: Form
    address: str | None = None
    workers: int | None = None
    slice_seconds: float = SLICE

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UserError(f"workers is {self.workers}; it must be at least 1")

    def __call__(self, judge: Judge, take: Take) -> Iterator[Judged]:
        """Every batch once, as they are done. When none waits any more, idle workers try the slowest ones again."""
        reachable(self.address)
        import ray

        sent = parcel(judge)
        mine = not ray.is_initialized()
        if mine:
            _connect(self.address)
        try:
            if lack := self._lack():
                raise UserError(lack)
            yield from self._run(sent, take)
        finally:
            if mine:
                ray.shutdown()

    def _run(self, sent: bytes, take: Take) -> Iterator[Judged]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        # By itself, Ray ends a process after each task on a GPU, and with it the model that was compiled there.
        task = ray.remote(num_cpus=self._cpus(), num_gpus=self._gpus(), max_retries=RETRIES, max_calls=0)(_judge)
        common = (ray.put(sent), kind_of_machine(self.form.device, self.form.compiled), self.form)
        running: dict[Any, Batch] = {}  # a batch may run twice, and counts once
        open_: set[int] = set()
        try:
            while True:
                workers = self._workers()
                # A few are ready, so that no worker waits for this loop; more would fill the memory with images.
                room = workers if self.workers is not None else workers + workers // 8 + 2
                slice_seconds = lengthened(self.slice_seconds, workers)
                while len(running) < room and (batch := take(workers)) is not None:
                    running[task.remote(*common, slice_seconds, batch)] = batch
                    open_.add(batch.number)
                if not open_:
                    return
                if len(running) < workers and (slow := _alone(running, open_)):
                    running[task.remote(*common, slice_seconds, slow)] = slow
                done = _done(list(running))
                if not done and (lack := self._lack()):
                    raise RunError(f"{lack}; what is recorded is kept")
                for finished in done:
                    number = running.pop(finished).number
                    if number in open_:
                        found = ray.get(finished)
                        open_.remove(number)
                        yield found
        except RayTaskError as error:
            cause = error.cause or error
            if "failed to import" not in str(cause):  # Ray's words where a node lacks a package, such as this one
                raise cause from None
            raise RunError(f"a Ray node cannot run this ({first_line(cause)}); install there what is missing") from None
        except RayError as error:
            raise RunError(f"the Ray cluster gave up on images ({error}); what is recorded is kept") from error
        finally:
            for left in running:
                ray.cancel(left, force=True)

    def _gpus(self) -> int:
        return int(torch.device(self.form.device).type == "cuda")

    def _cpus(self) -> int:
        """Of Ray's count: beside a GPU, threads only draw noise, by the cores that are there."""
        return 1 if self._gpus() else self.form.threads

    def _workers(self) -> int:
        """How many tasks run at a time. Nodes may come and go."""
        import ray

        if self.workers is not None:
            return self.workers
        total = ray.cluster_resources()
        slots = total.get("GPU", 0) if self._gpus() else total.get("CPU", 0) // self._cpus()
        return max(1, int(slots))

    def _lack(self) -> str | None:
        """What no node has for a task, which would wait for ever, without a word; None: one has it."""
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        cpus, gpus = self._cpus(), self._gpus()
        if any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= gpus for n in nodes):
            return None
        most = max((int(n.get("CPU", 0)) for n in nodes), default=0)
        return (
            f"a task needs {cpus} CPUs and {gpus} GPUs, and no node of the Ray cluster has as many (at most {most} "
            "CPUs); give fewer --threads, or add a node"
        )


def reachable(address: str | None) -> None:
    """Raises UserError where Ray is not installed, or nothing answers at the address: Ray itself would try for
    minutes.
    """
    if find_spec("ray") is None:
        raise UserError("Ray is not installed: pip install 'gambeson[ray]', or use --engine local")
    if address in (None, "auto"):
        return
    try:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise UserError(_silent(address, error)) from error


def _done(running: list[Any]) -> list[Any]:
    """What is done by now; it waits for one, if that is soon."""
    import ray

    first, others = ray.wait(running, num_returns=1, timeout=LOOK)
    more, _ = ray.wait(others, num_returns=len(others), timeout=0) if others else ([], [])
    return [*first, *more]


def _connect(address: str | None) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray puts its own there, with another exit status
    except (OSError, RuntimeError, ValueError) as error:
        if address is None:
            raise RunError(f"Ray does not start on this machine ({str(error).splitlines()[0]})") from error
        raise UserError(_silent(address, error)) from error


def _silent(address: str, error: Exception) -> str:
    return (
        f"no Ray cluster answers at {address} ({first_line(error)}); start one with `ray start --head`, or leave "
        "--ray-address out"
    )


def _alone(running: dict[Any, Batch], open_: set[int]) -> Batch | None:
    """The batch that has been running longest in a single copy."""
    copies = Counter(batch.number for batch in running.values() if batch.number in open_)
    return next((batch for batch in running.values() if copies[batch.number] == 1), None)


def _judge(sent: bytes, wanted: Kind, form: Form, slice_seconds: float, batch: Batch) -> Judged:
    found = kind_of_machine(form.device, form.compiled)
    if found != wanted:
        raise UserError(
            f"node {socket.gethostname()} has {found}, the evaluation began with {wanted}: the last bits of logits may "
            "differ; take it out of the cluster"
        )
    return judged(_unpacked(sent, form), batch, slice_seconds)


def _alike(form: Form) -> int:
    """How many tasks like this one the node has room for."""
    if torch.device(form.device).type != "cuda":
        return max(1, cores() // form.threads)
    import ray

    here = ray.get_runtime_context().get_node_id()
    return max([1, *(int(node["Resources"].get("GPU", 1)) for node in ray.nodes() if node["NodeID"] == here)])


@lru_cache(maxsize=1)
def _unpacked(sent: bytes, form: Form) -> Judge:
    keep_freed_memory()
    share_cores(1)  # it may have had another judge before
    share_cores(_alike(form))
    try:
        unpacked: Judge = pickle.loads(sent)
    except Exception as error:
        if out_of_memory(error):
            raise
        raise UserError(
            f"node {socket.gethostname()} cannot rebuild the model ({type(error).__name__}: {error}): its code must be "
            f"installed there; or {ALONE}"
        ) from None
    return unpacked
