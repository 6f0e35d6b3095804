"""A Ray cluster of two nodes on this machine: workers and nodes die in the middle, every batch counts once."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch
from judges import (
    EXPECTED,
    Cores,
    CountDown,
    DieInTheMiddle,
    DieOnce,
    HangOnNode,
    Remember,
    SlowOnce,
    Squares,
    WaitForCompany,
    batches,
    counted_down,
    refuse_seven,
    squares,
)
from processes import wait

from gambeson import certified, load, models
from gambeson.engines import Batch, ray_cluster
from gambeson.engines.ray_cluster import RayCluster
from gambeson.errors import RunError, UserError
from gambeson.inference import Form

FORM = Form(threads=1)
ray = pytest.importorskip("ray", reason="Ray is not installed (pip install gambeson[ray])")
cluster_utils = pytest.importorskip("ray.cluster_utils")


@pytest.fixture(scope="module")
def cluster() -> Iterator["cluster_utils.Cluster"]:
    os.environ["PYTHONPATH"] = ":".join([*map(str, Path(__file__).parents[:2]), os.environ.get("PYTHONPATH", "")])
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_what_is_judged_is_what_is_judged_here_on_both_nodes(cluster, tmp_path: Path) -> None:
    assert squares(RayCluster(FORM, cluster.address)(Squares(WaitForCompany(tmp_path)), batches())) == EXPECTED
    assert not ray.is_initialized()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_dead_workers_batches_are_done_again(cluster, tmp_path: Path) -> None:
    assert squares(RayCluster(FORM, cluster.address)(Squares(DieOnce(tmp_path / "died")), batches())) == EXPECTED
    assert (tmp_path / "died").exists()


def test_nothing_is_tried_twice_while_something_waits(cluster, tmp_path: Path) -> None:
    """Then the last two may be, by whoever is idle."""
    left = [Batch(number, [number]) for number in range(20)]
    found = RayCluster(FORM, cluster.address)(Squares(Remember(tmp_path)), lambda workers: left.pop() if left else None)
    assert len(list(found)) == 20
    assert 20 <= len(list(tmp_path.iterdir())) <= 22


def test_a_straggler_is_overtaken_by_a_second_try(cluster, tmp_path: Path) -> None:
    start = time.monotonic()
    assert squares(RayCluster(FORM, cluster.address)(Squares(SlowOnce(tmp_path / "slow")), batches())) == EXPECTED
    assert time.monotonic() - start < 60  # the first try sleeps for two minutes


@pytest.mark.parametrize("slice_seconds", [0.0, 1000.0])
def test_what_is_put_in_again_goes_on(cluster, tmp_path: Path, slice_seconds: float) -> None:
    """Slices are tried twice when nothing waits; each counts once, and an old one is not taken for a new one."""
    engine = RayCluster(FORM, cluster.address, slice_seconds=slice_seconds)
    slices = 3 + 8 + 5 if slice_seconds == 0 else 3
    assert counted_down(engine, CountDown(DieOnce(tmp_path / "died")))[0] == slices
    assert (tmp_path / "died").exists()


def test_terminating_is_left_to_who_had_it_before(cluster) -> None:
    before = signal.getsignal(signal.SIGTERM)
    given = RayCluster(FORM, cluster.address)(Squares(), batches())
    next(given)
    assert signal.getsignal(signal.SIGTERM) is before
    given.close()


def test_the_judges_own_errors_arrive_as_they_are(cluster) -> None:
    with pytest.raises(UserError, match="image 7 is a picture of nothing"):
        list(RayCluster(FORM, cluster.address)(Squares(refuse_seven), batches()))


def test_a_node_of_another_kind_is_refused(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ray_cluster, "kind_of_machine", lambda device, compiled: {"torch": "1.0", "numpy": "1", "unit": "abacus"}
    )
    with pytest.raises(UserError, match=r"node .* began with .*abacus.* take it out"):
        list(RayCluster(FORM, cluster.address)(Squares(), batches()))


def test_a_lost_nodes_batches_are_done_again(cluster, tmp_path: Path) -> None:
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    judged = RayCluster(FORM, cluster.address)(Squares(HangOnNode(node.node_id, tmp_path / "there")), batches())
    found = [next(judged)]
    assert (tmp_path / "there").exists()
    cluster.remove_node(node)
    assert squares([*found, *judged]) == EXPECTED


def test_a_task_that_no_node_has_room_for_is_refused(cluster) -> None:
    with pytest.raises(UserError, match=r"needs 64 CPUs and 0 GPUs, and no node .* has as many"):
        list(RayCluster(Form(threads=64), cluster.address)(Squares(), batches()))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:door"])
def test_a_cluster_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(UserError, match=f"no Ray cluster answers at {address}"):
        next(RayCluster(FORM, address)(Squares(), batches()))


def test_tasks_wait_for_no_node_that_will_never_come(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only one with room for them leaves."""
    monkeypatch.setattr(ray_cluster, "LOOK", 1.0)
    node = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    judge = Squares(HangOnNode(node.node_id, tmp_path / "there"))
    judged = RayCluster(Form(threads=2), cluster.address)(judge, batches())
    leaving = Thread(target=lambda: (wait((tmp_path / "there").exists), cluster.remove_node(node)))
    leaving.start()
    with pytest.raises(RunError, match=r"needs 2 CPUs .* \(at most 1 CPUs\).* what is recorded is kept"):
        list(judged)
    leaving.join()


def test_a_worker_keeps_its_gpu_and_its_model(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, Ray ends a process after every task on a GPU. This one is on paper only."""
    monkeypatch.setattr(RayCluster, "_gpus", lambda engine: 1)
    node = cluster.add_node(num_cpus=1, num_gpus=1)
    cluster.wait_for_nodes()
    try:
        found = list(RayCluster(Form(threads=64), cluster.address)(Squares(), batches()))
    finally:
        cluster.remove_node(node)
    assert len({each["process"] for judged in found for each in judged.found}) == 1


def test_a_gpus_task_shares_the_cores_with_those_of_the_nodes_other_gpus(cluster) -> None:
    node = cluster.add_node(num_cpus=1, num_gpus=2)  # on paper
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        alike = ray.remote(num_gpus=1, num_cpus=1)(ray_cluster._alike)
        assert ray.get(alike.remote(Form(device="cuda"))) == 2
    finally:
        ray.shutdown()
        cluster.remove_node(node)


def test_each_worker_knows_its_share_of_the_cores(cluster) -> None:
    left = [Batch(number, number) for number in range(4)]
    found = RayCluster(FORM, cluster.address)(Cores(), lambda workers: left.pop() if left else None)
    assert [judged.found for judged in found] == [1] * 4


def test_certificates_are_those_of_one_process_whoever_dies(cluster, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = models.build("digits_cnn", classes=10, shape=(1, 8, 8)).eval()
    words = {"noise": "gaussian:0.25", "radii": [0, 0.1, 0.25], "draws": 2_000, "select_draws": 50, "form": FORM}
    evaluation = certified(model, load("digits", "test").every(20), **words)
    dying = replace(evaluation, judge=DieInTheMiddle(evaluation.judge, tmp_path))
    engine = RayCluster(FORM, cluster.address, slice_seconds=0.0)
    both = (evaluation, dying.records(engine=engine))
    alone, shared = ({record["index"]: {**record, "seconds": 0} for record in found} for found in both)
    assert shared == alone
    assert (tmp_path / "died").exists()


def test_a_node_without_the_models_code_is_named() -> None:
    sent = b"cnowhere_at_all\nNet\n."  # a pickle of a class of a module that is not there
    with pytest.raises(UserError, match=r"node .* cannot rebuild the model \(ModuleNotFoundError.*installed there"):
        ray_cluster._unpacked(sent, FORM)


def test_a_node_without_this_package_is_told_in_one_line(cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*given: object) -> None:
        raise RuntimeError("The remote function failed to import on the worker.\nModuleNotFoundError: gambeson")

    monkeypatch.setattr(ray_cluster, "_judge", missing)
    with pytest.raises(RunError, match=r"a Ray node cannot run this \(.*The remote function failed to import"):
        list(RayCluster(FORM, cluster.address)(Squares(), batches()))
