"""Measure `dicube serve` beside Orthanc, and beside nginx with the same bytes as files.

usage: python tests/bench/dicomweb.py FOLDER [--repeat N] [--json FILE]

FOLDER has one series of DICOM files. Each server gets it, at loopback, with a configuration of its
own in a temporary folder. A client asks on one connection, as fast as it gets answers, for each
frame of the series; eight clients do that at the same time, in a process each. Rounds are
interleaved, and the best of --repeat counts. `metadata` is the metadata of the series, the first
time after the start, and again.

Frames are asked for as OHIF does: in any transfer syntax. Orthanc sends them as they are stored,
and so does dicube from .dcbs; `explicit` is dicube decoding each. From .dcba, frames are coded in
HTJ2K when they are first asked for, and kept.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread

import dicube

ANY = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
EXPLICIT = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1'
CLIENTS = (1, 8)
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


@dataclass
class Target:
    """A server, and what to ask it for.

    Attributes:
        name: in the table.
        port: at loopback.
        frames: the paths of all frames.
        metadata: the path of the metadata.
        accept: the Accept header for frames.
        times: the measured times in seconds.
    """

    name: str
    port: int
    frames: list[str]
    metadata: str
    accept: str = ANY
    times: dict[str, list[float]] = field(default_factory=dict)
    bytes: int = 0


# ------------------------------------------------------------------------------------- clients


class Connection:
    """A connection that asks and reads, and does nothing else."""

    def __init__(self, port: int, accept: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(1 << 20))
        self._head = f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: {accept}\r\n"

    def get(self, path: str, more: str = "") -> int:
        """Return the number of bytes of the answer's body."""
        self._socket.sendall(f"GET {path} {self._head}{more}\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            received = self._socket.recv(1 << 16)
            assert received, "the server closed the connection"
            data += received
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        assert " 200 " in lines[0], head.decode("latin-1")
        values = dict(line.split(": ", 1) for line in lines[1:])
        if "content-length" in values:
            size = int(values["content-length"])
            left = size - len(body)
            while left:
                left -= self._socket.recv_into(self._buffer, min(left, len(self._buffer)))
            return size
        while not body.endswith(b"0\r\n\r\n"):
            received = self._socket.recv(1 << 20)
            assert received, "the answer was cut off"
            body += received
        return len(body)

    def close(self) -> None:
        self._socket.close()


def client(port: int, accept: str, paths: list[str], start: Any, results: Any) -> None:
    """Ask for all paths, and tell when the last answer was complete."""
    connection = Connection(port, accept)
    start.wait()
    begun = time.perf_counter()
    size = sum(connection.get(path) for path in paths)
    results.put((begun, time.perf_counter(), size))
    connection.close()


def fetch(target: Target, clients: int) -> float:
    """Return the time from the first request to the last answer of all clients."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(clients), context.Queue()
    arguments = target.port, target.accept, target.frames, start, results
    processes = [context.Process(target=client, args=arguments) for _ in range(clients)]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    target.bytes = found[0][2]
    return max(end for _, end, _ in found) - min(begin for begin, _, _ in found)


def fetch_metadata(target: Target) -> float:
    connection = Connection(target.port, "application/dicom+json")
    begun = time.perf_counter()
    connection.get(target.metadata, "Accept-Encoding: gzip\r\n")
    seconds = time.perf_counter() - begun
    connection.close()
    return seconds


# ------------------------------------------------------------------------------------- servers


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, **options: Any) -> Iterator[None]:
    """Run a server until the end of the context."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None, f"{command[0]} ended"
                time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def orthanc(folder: Path, files: list[Path]) -> Iterator[int]:
    """Run Orthanc with the series."""
    port = free_port()
    (folder / "orthanc").mkdir()
    configuration = {
        "StorageDirectory": str(folder / "orthanc"),
        "IndexDirectory": str(folder / "orthanc"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "HttpThreadsCount": 50,
        "KeepAlive": True,
        "TcpNoDelay": True,
        "Plugins": [PLUGIN],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with running(["Orthanc", str(folder / "orthanc.json")], port):
        for file in files:
            url = f"http://127.0.0.1:{port}/instances"
            urllib.request.urlopen(urllib.request.Request(url, file.read_bytes())).read()
        yield port


@contextmanager
def nginx(folder: Path) -> Iterator[int]:
    """Run nginx with a folder of files."""
    port = free_port()
    (folder / "nginx.conf").write_text(f"""
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  gzip_static on;
  server {{ listen 127.0.0.1:{port}; root {folder}/files; default_type application/octet-stream; }}
}}
""")
    user = ["-g", "user root;"] if os.getuid() == 0 else []
    with running(["nginx", "-c", str(folder / "nginx.conf"), *user], port):
        yield port


@contextmanager
def dicube_serve(source: Path) -> Iterator[int]:
    """Run `dicube serve` with a file."""
    port = free_port()
    command = [sys.executable, "-m", "dicube", "serve", str(source), "--port", str(port)]
    with running(command, port):
        yield port


# ------------------------------------------------------------------------------------- measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    files = [path for path in sorted(options.folder.rglob("*")) if is_image(path)]
    with tempfile.TemporaryDirectory() as name, ExitStack() as context:
        targets = start(Path(name), files, context)
        for round_ in range(options.repeat):
            for target in targets:
                kind = "metadata again" if round_ else "metadata"
                record(target, kind, lambda target=target: fetch_metadata(target))
                if not round_:
                    record(target, "metadata again", lambda target=target: fetch_metadata(target))
                    record(target, "first", lambda target=target: fetch(target, 1))
                for clients in CLIENTS:
                    call = lambda target=target, clients=clients: fetch(target, clients)  # noqa: E731
                    record(target, f"{clients} clients", call)
        print(table(targets))
    if options.json:
        found = {target.name: target.times for target in targets}
        options.json.write_text(json.dumps(found, indent=1))


def is_image(path: Path) -> bool:
    if not path.is_file():
        return False
    dataset = dcmread(path, stop_before_pixels=True, force=True)
    return "Rows" in dataset


def start(folder: Path, files: list[Path], context: ExitStack) -> list[Target]:
    """Start all servers."""
    datasets = [dcmread(file, stop_before_pixels=True) for file in files]
    of_series = f"/studies/{datasets[0].StudyInstanceUID}/series/{datasets[0].SeriesInstanceUID}"
    frames = [
        f"/dicom-web{of_series}/instances/{dataset.SOPInstanceUID}/frames/1" for dataset in datasets
    ]
    metadata = f"/dicom-web{of_series}/metadata"
    image = dicube.DicomCubeImage.from_dicom_folder([str(file) for file in files])
    for extension in (".dcbs", ".dcba"):
        image.to_file(folder / f"series{extension}")
    targets = []
    for label, extension, accept in (
        ("dicube .dcbs", ".dcbs", ANY),
        ("dicube .dcbs, explicit", ".dcbs", EXPLICIT),
        ("dicube .dcba", ".dcba", ANY),
    ):
        port = context.enter_context(dicube_serve(folder / f"series{extension}"))
        targets.append(Target(label, port, frames, metadata, accept))
    if shutil.which("Orthanc") and Path(PLUGIN).exists():
        port = context.enter_context(orthanc(folder, files))
        targets.append(Target("Orthanc", port, frames, metadata))
    if shutil.which("nginx"):
        with dicube_serve(folder / "series.dcbs") as port:  # the others are asked nothing yet
            copy_as_files(Target("", port, frames, metadata), folder / "files")
        port = context.enter_context(nginx(folder))
        names = [f"/{number}" for number in range(len(frames))]
        targets.append(Target("nginx, the same bytes", port, names, "/metadata"))
    return targets


def copy_as_files(target: Target, folder: Path) -> None:
    """Write what a server answers as files."""
    folder.mkdir()
    for number, path in enumerate(target.frames):
        (folder / str(number)).write_bytes(answer(target, path, target.accept))
    data = answer(target, target.metadata, "application/dicom+json", gzip=True)
    (folder / "metadata.gz").write_bytes(data)
    (folder / "metadata").write_bytes(answer(target, target.metadata, "application/dicom+json"))


def answer(target: Target, path: str, accept: str, gzip: bool = False) -> bytes:
    headers = {"Accept": accept, "Accept-Encoding": "gzip" if gzip else "identity"}
    request = urllib.request.Request(f"http://127.0.0.1:{target.port}{path}", headers=headers)
    data: bytes = urllib.request.urlopen(request).read()
    return data


def record(target: Target, kind: str, measure: Callable[[], float]) -> None:
    target.times.setdefault(kind, []).append(measure())


def table(targets: list[Target]) -> str:
    """Return the best times as a table."""
    lines = [
        "| server | frames/s, 1 client | last frame, s | frames/s, 8 clients | last frame, s |"
        " first series, s | metadata, ms | again, ms | MB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for target in targets:
        count, best = len(target.frames), {kind: min(times) for kind, times in target.times.items()}
        one, eight = best["1 clients"], best["8 clients"]
        lines.append(
            f"| {target.name} | {count / one:.0f} | {one:.3f} | {8 * count / eight:.0f} |"
            f" {eight:.3f} | {best['first']:.3f} | {1000 * best['metadata']:.1f} |"
            f" {1000 * best['metadata again']:.1f} | {target.bytes / 1e6:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
