"""How many transfers a worker has room for, by memory: ``python -m deploy.mwaa.sizing``.

Sizes and default concurrencies: "Configuring the Amazon MWAA environment class" of the Amazon MWAA
User Guide. What a task needs: ``docs/memory.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError

BESIDE_MIB: Final = 150
"""What a transfer's processes need beside its budget."""
OWN_MIB: Final = 600
"""What a worker's own processes take; measure yours."""
BUDGETS_MIB: Final = (128, 64, 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """A worker of an environment class.

    :param memory_mib: of the container.
    :param default_tasks: what MWAA lets it run at once by itself.
    """

    environment_class: str
    vcpus: int
    memory_mib: int
    default_tasks: int


WORKERS: Final = (
    Worker(environment_class="mw1.micro", vcpus=1, memory_mib=3 * 1024, default_tasks=3),
    Worker(environment_class="mw1.small", vcpus=1, memory_mib=2 * 1024, default_tasks=5),
    Worker(environment_class="mw1.medium", vcpus=2, memory_mib=4 * 1024, default_tasks=10),
    Worker(environment_class="mw1.large", vcpus=4, memory_mib=8 * 1024, default_tasks=20),
    Worker(environment_class="mw1.xlarge", vcpus=8, memory_mib=24 * 1024, default_tasks=40),
    Worker(environment_class="mw1.2xlarge", vcpus=16, memory_mib=48 * 1024, default_tasks=80),
)


def tasks_by_memory(memory_mib: int, budget_mib: int, *, own_mib: int = OWN_MIB) -> int:
    """Return how many transfers fit into a worker's memory at once.

    :param budget_mib: ``memory_budget`` of each.
    :param own_mib: what the worker takes without tasks.
    :raises InvalidInputError: if not one fits.
    """
    tasks = (memory_mib - own_mib) // (budget_mib + BESIDE_MIB)
    if tasks < 1:
        accepted = f"at most {memory_mib - own_mib - BESIDE_MIB} MiB in {memory_mib} MiB"
        raise InvalidInputError("memory_budget", found=f"{budget_mib} MiB", accepted=accepted)
    return tasks


def recommended(worker: Worker, budget_mib: int) -> int:
    """Return ``celery.worker_autoscale``: MWAA's own number, or less where memory allows less."""
    return min(tasks_by_memory(worker.memory_mib, budget_mib), worker.default_tasks)


def pool_slots(worker: Worker, workers: int, budget_mib: int = BUDGETS_MIB[0]) -> int:
    """Return the slots of the transfers' pool: two a processor, as far as a worker has places.

    A transfer keeps most of a processor busy, and a second one works while the first one waits.

    :param workers: the most that the environment may have.
    """
    return min(2 * worker.vcpus, recommended(worker, budget_mib)) * workers


def find_worker(environment_class: str) -> Worker:
    """Return a worker by its class.

    :raises InvalidInputError: naming the classes.
    """
    for worker in WORKERS:
        if worker.environment_class == environment_class:
            return worker
    accepted = ", ".join(worker.environment_class for worker in WORKERS)
    raise InvalidInputError("environment class", found=environment_class, accepted=accepted)


def table() -> str:
    """Return the table of ``docs/mwaa.md``."""
    head = ["class", "vCPU", "memory", "MWAA's default"]
    head += [f"memory allows, budget {budget} MiB" for budget in BUDGETS_MIB]
    rows = [[*head, "`celery.worker_autoscale`", "pool slots for each worker"]]
    for worker in WORKERS:
        fits = [str(tasks_by_memory(worker.memory_mib, budget)) for budget in BUDGETS_MIB]
        tasks = recommended(worker, BUDGETS_MIB[0])
        size = f"{worker.memory_mib // 1024} GiB"
        known = [worker.environment_class, str(worker.vcpus), size, str(worker.default_tasks)]
        rows.append([*known, *fits, f"`{tasks},{tasks}`", str(pool_slots(worker, 1))])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 - a command
