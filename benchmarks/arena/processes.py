"""Processes that a benchmark starts, and that never outlive it."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]

_LINUX = sys.platform == "linux"
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_ENDING = {signal.SIGINT, signal.SIGTERM}


class Process:
    """A command, in a session of its own: Ctrl-C at the terminal is the benchmark's affair, not its.

    With standard input and output as pipes of text. To be used in `with`, after which it is gone, with all that it
    started; on Linux also when the benchmark itself is killed.

    Args:
        command: what to run.
        environment: what is added to ours.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._gone = False
        paths = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
        with _undisturbed() if _LINUX else nullcontext():
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": paths, "no_proxy": "*", **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                preexec_fn=_first if _LINUX else None,  # noqa: PLW1509 - two system calls
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self) -> str:
        """The next line of its standard output; waits for it.

        Raises:
            RuntimeError: it has ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}")
        return line.strip()

    def terminate(self, patience: float) -> None:
        """Ask it by SIGTERM to end, and see that it does within `patience` seconds."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self.kill()

    def kill(self) -> None:
        """SIGKILL it and all that it started."""
        if self._gone:  # its id may be another's by now
            return
        self._gone = True
        with suppress(ProcessLookupError, PermissionError):  # the latter is how macOS says that all are gone
            os.killpg(self.pid, signal.SIGKILL)
        self._process.communicate()

    def __enter__(self) -> "Process":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


@contextmanager
def _undisturbed() -> Generator[None]:
    """No signal ends us while a process is being started: what it raised in the hooks that run after a fork would be
    lost, and we would go on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _first() -> None:
    """What a process does before anything else: it dies with its parent, and can be ended though we could not."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def python(module: str, *arguments: object) -> Process:
    """``python -m module arguments``."""
    return Process([sys.executable, "-m", module, *map(str, arguments)])


def processor_time(pid: int) -> float:
    """Seconds of processor time that a process and the children that it has have used.

    Raises:
        AttributeError, OSError: the system does not tell, or there is no such process.
    """
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, "clock_getcpuclockid")
    return time.clock_gettime(clock.value) + sum(map(processor_time, _children(pid)))


def machine_time() -> tuple[float, float]:
    """Seconds that all processors together have worked, for whomever, and seconds that they have had.

    Raises:
        OSError: the system does not tell.
    """
    times = [int(each) / os.sysconf("SC_CLK_TCK") for each in Path("/proc/stat").read_text().split()[1:9]]
    idle = sum(times[3:5])  # of: user nice system idle iowait irq softirq steal
    return sum(times) - idle, sum(times)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
