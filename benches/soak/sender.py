"""A live stream that is troubled on purpose: ffmpeg, and a proxy between it and who watches."""

import socket
import subprocess
import threading
import time

CHUNK = 188 * 7


class Proxy:
    """Passes on what one sender sends to one watcher at a time; cuts, freezes or damages it."""

    def __init__(self):
        self.inlet = self._listen()
        self.outlet = self._listen()
        self.watcher = None
        self.frozen_until = self.damaged_until = 0.0
        self.closed = False
        for work in (self._feed, self._welcome):
            threading.Thread(target=work, daemon=True).start()

    @staticmethod
    def _listen():
        return socket.create_server(("127.0.0.1", 0))

    def addresses(self):
        """Where to send to, and where to watch."""
        return tuple(f"tcp://127.0.0.1:{s.getsockname()[1]}" for s in (self.inlet, self.outlet))

    def cut(self):
        """Hangs up on the watcher."""
        watcher, self.watcher = self.watcher, None
        if watcher:
            try:
                watcher.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It has gone by itself.
            watcher.close()

    def freeze(self, seconds):
        """Sends nothing for so long, and leaves the connection open."""
        self.frozen_until = time.monotonic() + seconds

    def damage(self, seconds):
        """Flips bits for so long."""
        self.damaged_until = time.monotonic() + seconds

    def close(self):
        self.closed = True
        self.cut()
        self.inlet.close()
        self.outlet.close()

    def _welcome(self):
        while not self.closed:
            try:
                connection, _ = self.outlet.accept()
            except OSError:
                return
            connection.settimeout(5)
            self.cut()
            self.watcher = connection

    def _feed(self):
        while not self.closed:
            try:
                sender, _ = self.inlet.accept()
            except OSError:
                return
            with sender:
                while data := self._receive(sender):
                    self._pass_on(data)

    @staticmethod
    def _receive(sender):
        try:
            return sender.recv(CHUNK)
        except OSError:
            return b""

    def _pass_on(self, data):
        now, watcher = time.monotonic(), self.watcher
        if watcher is None or now < self.frozen_until:
            return
        if now < self.damaged_until:
            data = data[:40] + bytes(byte ^ 0x5A for byte in data[40:80]) + data[80:]
        try:
            watcher.sendall(data)
        except OSError:
            if self.watcher is watcher:
                self.cut()


class Sender:
    """ffmpeg, sending a clip round and round at its own pace."""

    def __init__(self, clip, folder, target):
        self.loop, self.target = folder / "loop.ts", target
        # Keyframes every second: who joins late, or after damage, need not wait long.
        subprocess.run(
            ["ffmpeg", "-v", "error", "-y", "-nostdin", "-i", clip, "-an", "-c:v", "libx264",
             "-preset", "veryfast", "-g", "25", "-bf", "0", self.loop], check=True)
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", self.loop,
             "-c", "copy", "-f", "mpegts", self.target],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def restart(self):
        self.close()
        self.start()

    def close(self):
        self.process.kill()
        self.process.wait()
