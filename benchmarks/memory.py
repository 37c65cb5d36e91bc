"""What memory a task takes beside its budget, at the highest concurrency there is.

``make bench-memory`` (or ``.venv/bin/python -m benchmarks.memory``; ``--quick`` for less data). Two
loads: one object of 20 parts of 256 MiB, which are sent while they are read, and 10,000 objects of
64 KiB; 256 parts and 256 objects at once; over HTTP and over TLS; with several budgets. The servers
are null servers in a process of their own (``tests.support.null_s3``).

``engine`` lines are of one process that has imported what a task has, and runs the operator. RSS
is the kernel's own peak; PSS is sampled every 20 ms. ``airflow`` lines are of a task of a real
Airflow (LocalExecutor): PSS of its process tree, which is the task and the supervisor that forked
it. A page that several processes have in common counts in each of them by its share (``proc(5)``,
"Pss"), so that the PSS of all processes of a worker add up to what the worker needs; RSS counts it
in each in full. ``nothing`` is a task that only waits, and copies nothing.

The limit of a line is its budget and 150 MiB; ``ok`` or ``OVER`` is said of PSS, and the exit code
is 1 if any is over.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.support.airflow_home import AirflowHome
from tests.support.null_world import NullS3, Order, memory_of, run_order
from tests.support.tls import make_certificate

MIB = 1 << 20
BESIDE = 150
BUDGETS = (16, 64, 128, 512)
HERE = Path(__file__).resolve().parent
DAGS = HERE / "memory_dags"


class Peaks(threading.Thread):
    """Samples the process tree of Airflow's tasks, until it is told to end."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.tree_pss = self.task_pss = self.task_rss = 0.0
        self._end = threading.Event()

    def run(self) -> None:
        """Sample."""
        while not self._end.wait(0.02):
            for pid in _tasks():
                rss, pss = memory_of(pid)
                both = pss + memory_of(_parent(pid))[1]
                self.task_rss = max(self.task_rss, rss)
                self.task_pss = max(self.task_pss, pss)
                self.tree_pss = max(self.tree_pss, both)

    def end(self) -> None:
        """End."""
        self._end.set()
        self.join()


def _tasks() -> Iterator[int]:
    """Yield our processes that run a task: they call themselves ``airflow worker -- <id>``."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            title = (folder / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        pid = int(folder.name)
        if title.startswith("airflow worker -- ") and "Executor" not in title and _is_ours(pid):
            yield pid


def _is_ours(pid: int) -> bool:
    """Tell whether this process has started another one, or one that has started it."""
    while pid > 1 and pid != os.getpid():
        pid = _parent(pid)
    return pid > 1


def _parent(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def loads(*, quick: bool) -> dict[str, tuple[list[str], int]]:
    """Return keys and part size of each load."""
    parts, objects = (4, 1500) if quick else (20, 10_000)
    return {
        "large": ([f"big/{parts}x256"], 256 * MIB),
        "small": ([f"small/{number:05}" for number in range(objects)], 16 * MIB),
    }


def verdict(pss: float, budget: int) -> str:
    """Return what is to be said of a peak."""
    return f"limit={budget + BESIDE} {'ok' if pss <= budget + BESIDE else 'OVER'}"


def orders(server: NullS3, *, quick: bool, budgets: list[int]) -> Iterator[tuple[str, int, Order]]:
    """Plan each load, and yield it with each budget."""
    for load, (keys, part_size) in loads(quick=quick).items():
        batch = server.plan(keys, load)
        for budget in budgets:
            server.ask("POST", "/reset")
            order = Order(batch=batch, memory_budget=budget * MIB, part_size=part_size)
            yield load, budget, order
            totals = server.totals()
            if totals["objects"] != len(keys) or totals["uploads"]:
                raise RuntimeError(f"not what was to be copied has arrived: {totals}")


def measure_engine(server: NullS3, wire: str, budgets: list[int], *, quick: bool) -> bool:
    """Measure the operator in a process of its own."""
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for load, budget, order in orders(server, quick=quick, budgets=budgets):
            made = run_order(order, server.env(), Path(folder))
            said = verdict(made.peak_pss, budget)
            good = good and said.endswith("ok")
            print(
                f"engine {wire} {load}: budget={budget} before={made.before:.0f} "
                f"peak_rss={made.peak_rss:.0f} peak_pss={made.peak_pss:.0f} {said}",
                flush=True,
            )
    return good


def measure_airflow(server: NullS3, budgets: list[int], *, quick: bool) -> bool:
    """Measure tasks of a real Airflow."""
    good = True
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        env = {**server.env(), "AIRFLOW__CORE__PARALLELISM": "4"}
        home = stack.enter_context(AirflowHome(Path(folder), DAGS, env))
        home.wait_for_dag("memory_bench")
        home.wait_for_dag("memory_nothing")
        peaks = _run(home, "memory_nothing", {})
        print(f"airflow nothing: {_told(peaks)}", flush=True)
        for load, budget, order in orders(server, quick=quick, budgets=budgets):
            conf = {name: getattr(order, name) for name in Order.__dataclass_fields__}
            peaks = _run(home, "memory_bench", conf)
            said = verdict(peaks.tree_pss, budget)
            good = good and said.endswith("ok")
            print(f"airflow http {load}: budget={budget} {_told(peaks)} {said}", flush=True)
    return good


def _told(peaks: Peaks) -> str:
    return (
        f"task_rss={peaks.task_rss:.0f} task_pss={peaks.task_pss:.0f} tree_pss={peaks.tree_pss:.0f}"
    )


def _run(home: AirflowHome, dag_id: str, conf: dict[str, object]) -> Peaks:
    peaks = Peaks()
    peaks.start()
    run_id = home.api.trigger(dag_id, conf)
    state = home.api.wait_run(dag_id, run_id, 900)
    peaks.end()
    if state != "success":
        raise RuntimeError(f"{dag_id} ended as {state}")
    return peaks


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description="Measure the memory of copies.")
    parser.add_argument("--quick", action="store_true", help="4 parts, and 1,500 objects")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="MiB")
    parser.add_argument("--only", choices=("http", "tls", "airflow"), nargs="+")
    chosen = parser.parse_args()
    wanted = chosen.only or ["http", "tls", "airflow"]
    good = True
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["AIRFLOW_HOME"] = str(home)
        for name in wanted:
            certificate = make_certificate(home / "tls") if name == "tls" else None
            with NullS3(certificate) as server:
                os.environ.update(server.env())
                if name == "airflow":
                    good = measure_airflow(server, chosen.budgets, quick=chosen.quick) and good
                else:
                    good = measure_engine(server, name, chosen.budgets, quick=chosen.quick) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
