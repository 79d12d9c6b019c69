"""The example log driver, followed while a container goes on."""

import os
import threading
from pathlib import Path

from examples.log_plugin import JsonLines
from moby_plugins import Settings, new_client
from moby_plugins.serving import PluginApp, plugin_server_unix
from moby_plugins.subsystems import LogDriver, LogEntry, LogInfo, ReadConfig, encode_frame
from tests.integration.descriptors import nothing_left


def test_following_logs_gives_lines_as_they_come_and_ends_with_the_container(
    tmp_path: Path,
) -> None:
    """``read_logs`` with ``follow`` gives each line at once, and ends after StopLogging."""
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


def test_a_follower_of_logs_that_hangs_up_leaves_nothing_behind(
    tmp_path: Path, short_path: Path
) -> None:
    """Each abandoned ``docker logs --follow`` ends, with its thread and its two descriptors."""
    driver, info, file = JsonLines(tmp_path), LogInfo(container_id="c0ffee"), tmp_path / "out"
    os.mkfifo(file)
    fifo = os.open(file, os.O_RDWR)
    with plugin_server_unix(PluginApp(driver), "lines", sockets_path=str(short_path)) as server:
        driver.start_logging(str(file), info)
        os.write(fifo, encode_frame(LogEntry("stdout", 1, b"one")))
        with nothing_left():
            for _ in range(20):
                with new_client(server.addr, settings=Settings()) as client:
                    entries = LogDriver(client).read_logs(info, ReadConfig(follow=True))
                    assert next(entries).line == b"one\n"
                    entries.close()  # type: ignore[attr-defined]
        driver.stop_logging(str(file))
    os.close(fifo)
