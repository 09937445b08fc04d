"""A server of ours, started for the measurement and spoken to by token ids."""

import http.client
import json
import os
import re
import subprocess
import tempfile
import threading
import time
from typing import NamedTuple



class Seconds(NamedTuple):
    clock: float
    cpu: float

    def minus(self, other):
        return Seconds(self.clock - other.clock, self.cpu - other.cpu)


class Server:
    def __init__(self, binary, model, threads, flags=()):
        self.home = tempfile.TemporaryDirectory(prefix="openclaw-rl-bench-")
        self.log = open(f"{self.home.name}/log", "w+")
        command = [binary, "--home", self.home.name, "serve", "--port", "0", "--model", model,
                   "--device", "cpu", "--prefill-chunk", "512", *flags]
        env = {"PATH": "/usr/bin:/bin", "RAYON_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(command, stderr=self.log, stdout=subprocess.DEVNULL, env=env)
        self.port = self._port()

    def _port(self):
        for _ in range(600):
            with open(self.log.name) as log:
                text = log.read()
            found = re.search(r"listening on 127\.0\.0\.1:(\d+)", text)
            if found:
                return int(found[1])
            if self.process.poll() is not None:
                raise SystemExit(f"the server did not start:\n{text}")
            time.sleep(0.1)
        raise SystemExit("the server did not listen within a minute")

    def post(self, path, body):
        """The answer's JSON. A connection of its own: one that idles long is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {text[:500]}")
        return json.loads(text)

    def generate(self, ids, tokens):
        params = {"max_new_tokens": tokens, "temperature": 1.0, "ignore_eos": True, "seed": 1}
        answer = self.post("/generate", {"input_ids": ids, "sampling_params": params})
        assert len(answer["output_ids"]) == tokens, answer["meta_info"]
        return answer["output_ids"]

    def cpu(self):
        """Seconds of all processors that the server has used."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            ticks = stat.read().rsplit(")", 1)[1].split()[11:13]
        return sum(int(part) for part in ticks) / os.sysconf("SC_CLK_TCK")

    def together(self, prompts, tokens):
        """Seconds until all prompts are answered, by the clock and of the processors."""
        threads = [threading.Thread(target=self.generate, args=(ids, tokens)) for ids in prompts]
        start, used = time.perf_counter(), self.cpu()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Seconds(time.perf_counter() - start, self.cpu() - used)

    def first(self, ids):
        """Seconds until the first token."""
        return self.together([ids], 1)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        self.home.cleanup()
