"""Studies on a cluster: Dask, and Ray."""

import os
import signal
import sys
import threading
import time

import pytest

from tests.test_study import bits, run_quietly, wrapped

# ---------------------------------------------------------------------- clusters


def test_a_dask_cluster_that_loses_a_worker(tmp_path) -> None:
    """Its run is made by another one; files come back as values."""
    distributed = pytest.importorskip("distributed", reason="Dask is not installed (the extra dask)")
    log = tmp_path / "log"
    expected = run_quietly(wrapped({}), seeds=range(4))
    at_work = []

    def kill_one_at_work() -> None:
        while not (log.is_file() and log.read_text().endswith("\n")):
            time.sleep(0.02)
        at_work.append(int(log.read_text().split()[0]))
        os.kill(at_work[0], signal.SIGKILL)

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        killer = threading.Thread(target=kill_one_at_work, daemon=True)
        killer.start()
        settings = wrapped({1: "waits"}, log=str(log))
        how = {"backend": "dask", "address": cluster.scheduler_address, "folder": tmp_path / "study"}
        made = run_quietly(settings, seeds=range(4), **how)
        killer.join(5)
    pids = [int(line) for line in log.read_text().split()]
    assert at_work == pids[:1]
    assert len(set(pids)) == 2  # the run began once more, in another process
    assert made.failures == {}
    for key, run in expected.runs.items():
        assert made.runs[key].returns.tolist() == run.returns.tolist()
        names = {path.name for path in (tmp_path / "study" / f"seed_{key[1]}").iterdir()}
        assert names == {"config.yml", "args.yml", "0.monitor.csv", "CartPole-v1.zip", "summary.json"}


def test_a_local_ray(tmp_path, monkeypatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra ray)")
    monkeypatch.setenv("HOME", str(tmp_path))  # where it keeps a token
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    assert bits(run_quietly(backend="ray", n_jobs=2, folder=tmp_path / "study")) == bits(
        run_quietly(folder=tmp_path / "reference")
    )


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_cluster_without_its_package(monkeypatch, backend, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs the package {package}.*pip install 'coagent-rl\[{backend}\]'"):
        run_quietly(backend=backend)
