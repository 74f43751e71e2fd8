"""A Slurm of one node, this machine, in a folder of its own."""

import os
import socket
import subprocess
import time
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Slurm:
    """Started as root with no authentication: it listens on this machine's loopback alone."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        self.configuration = folder / "slurm.conf"
        self.configuration.write_text(f"""ClusterName=ferry
SlurmctldHost={self.host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_res
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
NodeName={self.host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes={self.host} Default=YES MaxTime=INFINITE State=UP
""")
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        self.processes = []
        try:
            for command in (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", self.host]):
                self.processes.append(subprocess.Popen(
                    ["/usr/sbin/" + command[0], *command[1:]], env=self.environment,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            self._wait_until_idle()
        except BaseException:
            self.stop()
            raise

    def _wait_until_idle(self, patience: float = 120) -> None:
        end = time.monotonic() + patience
        while time.monotonic() < end:
            states = subprocess.run(["sinfo", "-h", "-o", "%T"], env=self.environment, text=True,
                                    capture_output=True).stdout.split()
            if states == ["idle"]:
                return
            if any(process.poll() is not None for process in self.processes):
                break
            time.sleep(0.2)
        raise RuntimeError("Slurm does not come up:\n" + self.logs())

    def logs(self) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text()[-2000:]
                         for name in ("slurmctld", "slurmd") if (self.folder / f"{name}.log").exists())

    def stop(self) -> None:
        """What still runs is ended by its daemons first: they are its only parents."""
        subprocess.run(["scancel", "--signal=KILL", "--full", "--user", "root"], env=self.environment, capture_output=True, timeout=60)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            left = subprocess.run(["squeue", "-h"], env=self.environment, capture_output=True, text=True).stdout
            if not left.strip():
                break
            time.sleep(0.2)
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes = []
