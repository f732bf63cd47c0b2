"""A grid through Slurm, really run: a controller and a node on this machine, from the distribution's packages."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alutils.paths import ROOT
from alutils.results.tables import Experiment

pytestmark = pytest.mark.slow

CONF = Path("/etc/slurm/slurm.conf")  # where `srun` inside a job looks, whatever the environment says
NEEDED = ("slurmctld", "slurmd", "munged", "sbatch", "squeue")

PRESET = """
recipe: &recipe {height: 32, width: 64, steps: 4, batch_size: 2}
runs:
  - notebook: 03_active_learning_rounds
    parameters: {<<: *recipe, rounds: 2, committee_members: 2}
    grid: {query: [vote_entropy]}
  - notebook: 04_bulk_training
    parameters: {<<: *recipe, share: 20}
    grid: {query: [vote_entropy]}
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Path]:
    """Run a cluster of this one machine; return its controller's log."""
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing or os.getuid():
        what = f"no {', '.join(missing)}" if missing else "not root"
        pytest.skip(f"{what}; as root, `apt-get install slurm-wlm munge` brings what this test needs")
    if CONF.exists():
        pytest.skip(f"{CONF} is there: a cluster that this test leaves alone")
    for name in ("state", "spool"):
        (tmp_path / name).mkdir()
    CONF.parent.mkdir(exist_ok=True)
    CONF.write_text(configuration(tmp_path))
    try:
        with daemons(tmp_path):
            yield tmp_path / "slurmctld.log"
    finally:
        CONF.unlink()


def configuration(folder: Path) -> str:
    host = socket.gethostname()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 8 // 10
    return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
CommunicationParameters=NoInAddrAny
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
SchedulerParameters=sched_interval=1
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs={os.cpu_count()} RealMemory={memory}
PartitionName=all Nodes=localhost Default=YES State=UP
"""


@contextmanager
def daemons(folder: Path) -> Iterator[None]:
    """Start munged unless one runs, slurmctld and slurmd; end them."""
    commands = [["slurmctld", "-D"], ["slurmd", "-D", "-N", "localhost"]]
    if subprocess.run(["munge", "-n"], capture_output=True).returncode:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        commands.insert(0, ["runuser", "-u", "munge", "--", "munged", "--foreground", "--force"])
    started = []
    with (folder / "daemons.log").open("w") as log:
        try:
            for command in commands:
                started.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
                time.sleep(1)
            wait_until_idle(folder)
            yield
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(timeout=30)


def wait_until_idle(folder: Path) -> None:
    for _ in range(60):
        shown = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True).stdout.strip()
        if shown == "idle":
            return
        time.sleep(1)
    said = " ".join(path.read_text()[-300:] for path in folder.glob("*.log"))
    pytest.skip(f"Slurm's daemons do not come up on this machine: {said}")


def test_a_grid_is_finished_by_slurm(slurm: Path, tmp_path: Path):
    preset = tmp_path / "cluster.yaml"
    preset.write_text(PRESET)
    command = [sys.executable, "-m", "alutils", "grid", str(preset), "--profile", "slurm"]
    options = ["--default-resources", "mem_mb=2000", "runtime=10", "--seconds-between-status-checks", "2"]
    for jobs in (2, 2):  # the second time, nothing is left to do
        done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout + done.stderr
        assert slurm.read_text().count("_job_complete: JobId") >= jobs
        assert slurm.read_text().count("sched: Allocate JobId") + slurm.read_text().count("backfill: Started") == jobs
    assert sorted(Experiment.of_runs("cluster").table["kind"].unique()) == ["bulk", "rounds"]
