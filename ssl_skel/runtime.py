"""Device, precision, processes: the only file that imports accelerate.

Several processes train one cell as one would: each takes its share of the clips of every batch, gradients are
averaged (DDP), batch statistics are those of the whole batch.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import warnings
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn

from ssl_skel.errors import UsageMistake
from ssl_skel.nn.batch_stats import sum_over_processes
from ssl_skel.nn.one_thread import settle
from ssl_skel.nn.sync_norm import synchronise

Precision = Literal["fp32", "bf16"]


def pick_device(name: str = "auto") -> torch.device:
    """Choose a device.

    Args:
        name: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageMistake: If the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageMistake(f"--device {name!r} is no device", "Use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageMistake(f"--device {name}: this machine shows {torch.cuda.device_count()} CUDA devices")
    return device


def pick_precision(name: str, device: torch.device) -> Precision:
    """Resolve ``auto``: bf16 on CUDA, fp32 on a CPU."""
    if name == "auto":
        return "bf16" if device.type == "cuda" else "fp32"
    return "bf16" if name == "bf16" else "fp32"


def make_deterministic(device: torch.device) -> None:
    """Ask for the same bits in every run, which is what boards are made with.

    On a CPU also for the same bits on one thread and on two. On CUDA an operation that has no deterministic kernel is
    used all the same, with PyTorch's warning in the cell's log.

    Args:
        device: Of this process.
    """
    if device.type == "cpu":
        settle()
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is computed
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False  # the fastest kernel differs from run to run


def join_processes(name: str) -> str:
    """Join the processes that ``torchrun`` has started together with this one: gloo on CPUs, NCCL on GPUs.

    Args:
        name: Device of the run, as for `pick_device`.

    Returns:
        Device of this process: the CPU, or the GPU of its local rank.

    Raises:
        UsageMistake: If there are fewer GPUs than processes.
    """
    if pick_device(name).type == "cpu":
        torch.distributed.init_process_group("gloo")
        return "cpu"
    own = f"cuda:{os.environ['LOCAL_RANK']}"
    torch.cuda.set_device(pick_device(own))
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl")
    return own


class Runtime:
    """Where and how a task is trained; wraps accelerate.

    Args:
        device: Resolved device of this process.
        precision: ``bf16`` runs matrix products under autocast; weights and statistics stay fp32.
        deterministic: Ask for deterministic kernels on CUDA.
    """

    def __init__(self, device: torch.device, precision: Precision = "fp32", deterministic: bool = True) -> None:
        AcceleratorState._reset_state(reset_partial_state=True)  # one process may train several cells in turn
        self.precision: Precision = precision
        if device.type == "cuda":
            torch.cuda.set_device(device)
            if deterministic:
                make_deterministic(device)
        mixed = "bf16" if precision == "bf16" else "no"
        # Buffers follow from combined statistics and averaged gradients, so they are equal in all processes already.
        wrapper = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        self._accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision=mixed, kwargs_handlers=[wrapper])
        self.device: torch.device = self._accelerator.device

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return int(self._accelerator.num_processes)

    @property
    def rank(self) -> int:
        """Which of them this is, from 0."""
        return int(self._accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return bool(self._accelerator.is_main_process)

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a tensor over all processes, which all must call this."""
        return sum_over_processes(values)[0] / self.world_size if self.world_size > 1 else values

    def agreed(self, *answers: bool) -> tuple[bool, ...]:
        """What the first process answers, in all of them; waits for it."""
        if self.world_size == 1:
            return answers
        told = torch.tensor(answers, device=self.device, dtype=torch.uint8)
        torch.distributed.broadcast(told, 0)
        return tuple(bool(answer) for answer in told.tolist())

    def prepare(self, task: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Move a task to the device, wrap it for several processes, and set its forward up for the precision."""
        if self.world_size > 1:
            synchronise(task)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # torch before 2.14 knows no other
            wrapped, prepared = self._accelerator.prepare(task, optimizer)
        return wrapped, prepared

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which matrix products run in the chosen precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def apart(self, task: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Context of a micro-batch, in which processes exchange gradients only after the last one of a step."""
        return nullcontext() if last or self.world_size == 1 else self._accelerator.no_sync(task)

    def backward(self, loss: Tensor) -> None:
        """Back-propagate."""
        self._accelerator.backward(loss)

    def clip(self, module: nn.Module, norm: float) -> None:
        """Scale the gradients so that their total norm is at most `norm`."""
        self._accelerator.clip_grad_norm_(module.parameters(), norm)

    def unwrap(self, module: nn.Module) -> nn.Module:
        """Return the task inside its distributed wrapper."""
        inner: nn.Module = self._accelerator.unwrap_model(module, keep_torch_compile=False)
        return inner


def peak_mb(device: torch.device) -> float:
    """Peak memory of this process on `device` in MB (10^6 bytes): resident on a CPU, allocated on CUDA."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return peak_resident_mb()


def reset_peak(device: torch.device) -> None:
    """Begin to count `peak_mb` anew, from what is held now: cells that share a process each have their own.

    Resident memory on Linux only; elsewhere a process has one peak.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    trim_heap()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_resident_mb() -> float:
    """Largest resident memory of this process so far in MB (10^6 bytes).

    From the kernel's own mark where there is one: `ru_maxrss` outlives exec on Linux, so that the worker of a larger
    parent would report the parent's.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024 / 1e6
    scale = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def allocator_environment() -> dict[str, str]:
    """Environment of a worker that keeps glibc from returning each large tensor to the system.

    Without it a CPU step faults the pages of every large tensor in anew. glibc on Linux only; values the user
    has set stay.
    """
    if not sys.platform.startswith("linux"):
        return {}
    wanted = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}
    return {key: value for key, value in wanted.items() if key not in os.environ}


def tame_allocator() -> None:
    """Do for the running process what `allocator_environment` does for one that is started."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        return  # another C library: slower, not wrong


def trim_heap() -> None:
    """Give the memory that was freed back to the system, so that what is taken next can be seen; glibc only."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
