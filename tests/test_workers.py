"""Worker processes end with the one that started them, whatever ends it."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from mmnas_hf.errors import RunError
from mmnas_hf.workers import worker_pool

# Prepared and run by nothing but the standard library, so that workers start quickly.
ORPHAN = """
import time
from mmnas_hf.workers import worker_pool
if __name__ == "__main__":
    with worker_pool(1, time.sleep, 0) as pool:
        pool.submit(time.sleep, 0.01).result()
        print("ready", flush=True)
        pool.submit(time.sleep, 600).result()
"""


def test_a_worker_that_dies_ends_the_run_in_one_line():
    with pytest.raises(RunError, match="a worker process died"), worker_pool(1, os.getpid) as pool:
        pool.submit(os._exit, 1).result()


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    script = tmp_path / "orphan.py"
    script.write_text(ORPHAN)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, env=os.environ) as parent:
        assert parent.stdout.readline() == b"ready\n"
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert workers
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        gone, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive, gone
