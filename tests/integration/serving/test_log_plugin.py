"""The example log driver, followed while a container goes on."""

import os
import threading
from pathlib import Path

from examples.log_plugin import JsonLines
from moby_plugins.subsystems import LogEntry, LogInfo, ReadConfig, encode_frame


def test_who_follows_gets_what_comes_and_an_end(tmp_path: Path) -> None:
    """Lines are given back as they come, and the answer ends with the container."""
    driver, info, file = JsonLines(tmp_path), LogInfo(container_id="c0ffee"), tmp_path / "out"
    os.mkfifo(file)
    fifo = os.open(file, os.O_RDWR)
    driver.start_logging(str(file), info)
    follower = driver.read_logs(info, ReadConfig(follow=True))
    seen = []
    for line in (b"one", b"two"):
        os.write(fifo, encode_frame(LogEntry("stdout", 1, line)))
        seen.append(next(follower).line)

    end = threading.Thread(target=driver.stop_logging, args=(str(file),))
    end.start()

    assert (seen, list(follower)) == ([b"one\n", b"two\n"], [])
    end.join()
    os.close(fifo)
