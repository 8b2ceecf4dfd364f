"""Runs deploy/slurm on a cluster of one node: `slurm.py BINARY VIDEO FOLDER [OPTION OF extract ..]`.

Starts munge and Slurm in a folder of their own, submits plan, extract (four tasks) and merge, waits, ends what
it started. Exit code 77, with the reason on standard error, where there is no Slurm or no right to start it.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "deploy" / "slurm"
SHARDS = 4
CONF = """\
ClusterName=rollcalltest
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={here}/munge.socket
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
MailProg=/bin/true
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=n1 Default=YES MaxTime=INFINITE State=UP
"""


def skip(why):
    print(f"skipped: {why}", file=sys.stderr)
    sys.exit(77)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """munged, slurmctld and slurmd in a folder; all in the foreground, so that they can be ended."""

    def __init__(self, here):
        self.here, self.started = here, []
        self.log = open(here / "daemons.log", "wb")

    def begin(self, programs):
        here = self.here
        for name in ("state", "spool"):
            (here / name).mkdir()
        key = here / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        conf = here / "slurm.conf"
        conf.write_text(CONF.format(here=here, control_port=free_port(), node_port=free_port()))
        os.environ["SLURM_CONF"] = str(conf)
        self.start(programs["munged"], "--foreground", "--force", f"--key-file={key}",
                   f"--socket={here}/munge.socket", f"--pid-file={here}/munged.pid",
                   f"--log-file={here}/munged.log", f"--seed-file={here}/munged.seed")
        self.wait(lambda: (here / "munge.socket").exists(), "munged")
        self.start(programs["slurmctld"], "-D", "-c")
        self.start(programs["slurmd"], "-D", "-N", "n1")
        self.wait(lambda: "idle" in output("sinfo", "-h", "-o", "%T"), "the node")

    def start(self, *command):
        self.started.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))

    def wait(self, ready, what):
        for _ in range(300):
            if ready():
                return
            if any(process.poll() is not None for process in self.started):
                break
            time.sleep(0.1)
        skip(f"{what} does not start here: {Path(self.log.name).read_text(errors='replace')[-600:]}")

    def end(self):
        for process in reversed(self.started):
            process.terminate()
        for process in reversed(self.started):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def output(*command):
    return subprocess.run(command, capture_output=True, text=True).stdout


def submit(*arguments):
    done = subprocess.run(["sbatch", "--parsable", "--mem=0", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(video, folder, options):
    """The three jobs, as deploy/slurm/README.md has them; the last one is waited for."""
    out = folder / "shards"
    plan = submit("--cpus-per-task=1", SCRIPTS / "plan.sbatch", video, out, *options)
    extract = submit(f"--dependency=afterok:{plan}", f"--array=0-{SHARDS - 1}", "--cpus-per-task=1",
                     SCRIPTS / "extract.sbatch", video, out, *options)
    merge = subprocess.run(["sbatch", "--wait", "--mem=0", f"--dependency=afterok:{extract}",
                            "--kill-on-invalid-dep=yes", SCRIPTS / "merge.sbatch", out, "--out",
                            folder / "merged"], capture_output=True, text=True)
    logs = "".join(f"{log.name}: {log.read_text(errors='replace')}" for log in sorted(folder.glob("*.log")))
    print(logs)
    assert merge.returncode == 0, merge.stderr
    tasks = sorted(log.name.rsplit("_", 1)[1] for log in folder.glob("rollcall-extract-*.log"))
    assert tasks == [f"{i}.log" for i in range(SHARDS)], tasks


def main():
    binary, video, folder = (Path(argument).resolve() for argument in sys.argv[1:4])
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    programs = {name: shutil.which(name, path=path) for name in ("munged", "slurmctld", "slurmd", "sbatch")}
    missing = [name for name, found in programs.items() if not found]
    if missing:
        skip(f"{', '.join(missing)} not installed (Debian: slurmctld slurmd slurm-client munge)")
    if os.geteuid() != 0:
        skip("only root can start Slurm")
    os.environ["ROLLCALL_INGEST"] = str(binary)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as here:
        cluster = Cluster(Path(here))
        try:
            cluster.begin(programs)
            os.chdir(folder)
            run(video, folder, sys.argv[4:])
        finally:
            cluster.end()


if __name__ == "__main__":
    main()
