"""How busy the machine is: GPUs through NVML, processors and memory through psutil, each where it is there."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import attrs

_HOW = "pip install 'emnist-diff[dashboard]'"


@attrs.frozen
class Gpu:
    """A GPU: its number and name; load, 0 … 1, and temperature in °C, None where it tells none; memory in
    bytes."""

    index: int
    name: str
    load: float | None
    temperature: float | None
    memory: int
    memory_total: int


@attrs.frozen
class Readings:
    """What the meters say.

    load: of all processors, 0 … 1.  cores: how many there are.  own_load: of this process, in processors.
    memory, memory_total, own_memory: bytes in use, there, and of this process.
    notes: what cannot be read, and why.
    """

    load: float | None = None
    cores: int = 0
    own_load: float = 0.0
    memory: int = 0
    memory_total: int = 0
    own_memory: int = 0
    gpus: tuple[Gpu, ...] = ()
    notes: tuple[str, ...] = ()


class Meters:
    """Reads the machine. What is not installed or does not answer becomes a note, never an error."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._psutil: Any = None
        self._nvml: Any = None
        try:
            self._psutil = importlib.import_module("psutil")
            self._process = self._psutil.Process()
            self._psutil.cpu_percent()  # loads are since the call before, of which there is none yet
            self._process.cpu_percent()
        except ImportError:
            self._notes.append(f"processors and memory: {_HOW}")
        except Exception as error:  # psutil raises errors of its own, and OSError in locked-down containers
            self._psutil = None
            self._notes.append(f"processors and memory: {error}")
        try:
            self._nvml = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
        except ImportError:
            self._notes.append(f"GPUs: {_HOW}")
        except Exception as error:  # NVML's own errors: no driver, no permission
            self._nvml = None
            self._notes.append(f"no GPU: {error}")

    def read(self) -> Readings:
        """The machine now."""
        return attrs.evolve(self._host(), gpus=self._gpus(), notes=tuple(self._notes))

    def _host(self) -> Readings:
        if self._psutil is None:
            return Readings()
        try:
            memory = self._psutil.virtual_memory()
            return Readings(
                load=self._psutil.cpu_percent() / 100,
                cores=self._psutil.cpu_count() or 1,
                own_load=self._process.cpu_percent() / 100,
                memory=memory.total - memory.available,
                memory_total=memory.total,
                own_memory=self._process.memory_info().rss,
            )
        except Exception as error:  # as above
            self._psutil = None
            self._notes.append(f"processors and memory: {error}")
            return Readings()

    def _gpus(self) -> tuple[Gpu, ...]:
        if self._nvml is None:
            return ()
        try:
            return tuple(self._gpu(index) for index in range(self._nvml.nvmlDeviceGetCount()))
        except Exception as error:  # as above; a GPU may also be lost while we look
            self._nvml = None
            self._notes.append(f"GPUs: {error}")
            return ()

    def _gpu(self, index: int) -> Gpu:
        nvml = self._nvml
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = nvml.nvmlDeviceGetName(handle)
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        try:
            temperature = float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        except nvml.NVMLError:  # some virtual GPUs have none
            temperature = None
        try:
            load = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        except nvml.NVMLError:  # nor this, where the card is partitioned
            load = None
        return Gpu(
            index,
            name.decode(errors="replace") if isinstance(name, bytes) else name,
            load,
            temperature,
            int(memory.used),
            int(memory.total),
        )

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):  # it went away first
                self._nvml.nvmlShutdown()
            self._nvml = None
