"""The kernel that a notebook runs in, and what is known of how it ended.

Imported by who runs a notebook: jupyter_client takes a while to load.
"""

import signal
import subprocess
from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.manager import AsyncKernelManager

from alutils.errors import shortened
from alutils.limits import limit_note

MEANINGS = {
    signal.SIGKILL: "killed from outside or for lack of memory",
    signal.SIGTERM: "ended from outside",
    signal.SIGBUS: "a memory-mapped file, such as the cache, was shortened while in use, or its disk is full",
    signal.SIGSEGV: "compiled code used memory that is not its own",
    signal.SIGABRT: "compiled code gave up",
    signal.SIGILL: "compiled code uses an instruction that this processor does not have",
    signal.SIGXCPU: "it used more processor time than allowed (ulimit -t)",
}


class Kernel(AsyncKernelManager):
    """Keeps the process of the kernel that was started last, and what it says on stderr before it listens."""

    process: ClassVar["subprocess.Popen[bytes] | None"] = None
    said: ClassVar[Path]

    async def _async_launch_kernel(self, kernel_cmd: list[str], **options: Any) -> None:
        Kernel.process, Kernel.said = None, Path(self.connection_file).with_name("stderr")
        with Kernel.said.open("wb") as file:
            await super()._async_launch_kernel(kernel_cmd, **options, stderr=file)
        Kernel.process = getattr(self.provisioner, "process", None)

    _launch_kernel = _async_launch_kernel


def how_it_ended() -> str:
    """Return in one line how the kernel that was started last ended; empty if it did not."""
    code = Kernel.process.poll() if Kernel.process else None
    if code is None:
        return ""
    note = f"; {limit_note()}" * bool(limit_note())
    if code < 0:
        name = signal.Signals(-code).name
        return f"the kernel died, {MEANINGS.get(signal.Signals(-code), 'by a signal')} ({name}){note}"
    lines = Kernel.said.read_text(errors="replace").split("\n")
    last = next((f" ({shortened(line, 120)})" for line in reversed(lines) if line.strip()), "")
    return f"the kernel died, ended by itself with exit code {code}{last}{note}"
