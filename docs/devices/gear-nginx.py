#!/usr/bin/env python3
"""gear-nginx.py: rotates the TLS session ticket key that nginx servers share, as a
gear program of keyorch, contract 1.

  command: [/usr/local/lib/keyorch/gear-nginx.py]
  env: {NGINX_KEYS: /etc/nginx/keyorch}
  params: {nginx: [nginx], pid: /run/nginx.pid}

nginx issues tickets with the first ssl_session_ticket_key and takes tickets of all of
them, so every server of the link stands on both sides. The program keeps one file for
each key and writes NGINX_KEYS/LINK.conf, which a server block includes. Until the first
switch there is a key of nobody's in front, so that installing never switches.

That file is all that nginx shows of its keys, so it is what is read back. It stays only
if nginx takes it: no worker may be left that accepts connections by the file before.
"""
import base64, fcntl, hashlib, hmac, json, os, re, subprocess, sys, time

KEY = re.compile(r"ssl_session_ticket_key \S*/(?P<epoch>\d+)-(?P<kcv>[0-9a-f]{10})\.key;")
NOBODYS = "none.key"


class Refused(Exception):
    """No, for good: exit code 10."""


def ticket_key(link_key):
    """80 bytes by HKDF-SHA256 (RFC 5869), no salt, with a label of its own."""
    secret, block, out = hmac.new(bytes(32), link_key, hashlib.sha256).digest(), b"", b""
    for i in range(1, 4):
        block = hmac.new(secret, block + b"keyorch nginx ticket key" + bytes([i]), hashlib.sha256).digest()
        out += block
    return out[:80]


def write(path, data):
    """Puts a file in place in one step, readable by its owner alone."""
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    os.rename(path + ".new", path)


class Ring:
    """The keys of one link, as its file for nginx has them: the first is sent with."""

    def __init__(self, folder, link):
        self.folder, self.file = os.path.join(folder, link), os.path.join(folder, link + ".conf")
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.lines = []
        if os.path.exists(self.file):
            with open(self.file) as f:
                self.lines = [line.strip() for line in f if line.strip()]

    def keys(self):
        found = (KEY.fullmatch(line) for line in self.lines)
        return [(int(m["epoch"]), m["kcv"]) for m in found if m]

    def line(self, name):
        return f"ssl_session_ticket_key {self.folder}/{name};"

    def sends(self):
        first = KEY.fullmatch(self.lines[0]) if self.lines else None
        return (int(first["epoch"]), first["kcv"]) if first else None

    def add(self, epoch, kcv, key):
        """Makes the key one that is accepted."""
        if not self.lines:
            write(os.path.join(self.folder, NOBODYS), os.urandom(80))
            self.lines = [self.line(NOBODYS)]
        if any(e == epoch and k != kcv for e, k in self.keys()):
            raise Refused(f"epoch {epoch} is another key already")
        if (epoch, kcv) not in self.keys():
            write(os.path.join(self.folder, f"{epoch}-{kcv}.key"), ticket_key(key))
            self.lines.append(self.line(f"{epoch}-{kcv}.key"))

    def switch(self, epoch, kcv):
        first = self.line(f"{epoch}-{kcv}.key")
        rest = [line for line in self.lines if line not in (first, self.line(NOBODYS))]
        self.lines = [first] + rest

    def remove(self, epoch):
        if self.keys() and all(e == epoch for e, _ in self.keys()):
            raise Refused(f"epoch {epoch} is the last key")
        self.lines = [line for line in self.lines if not (KEY.fullmatch(line) and int(KEY.fullmatch(line)["epoch"]) == epoch)]

    def load(self, nginx, pid):
        """Has nginx take the ring, or leaves everything as it was."""
        before = open(self.file, "rb").read() if os.path.exists(self.file) else b""
        now = "".join(line + "\n" for line in self.lines).encode()
        if now != before:
            write(self.file, now)
            try:
                reload(nginx, pid)
            except RuntimeError:
                write(self.file, before)
                raise
        for name in os.listdir(self.folder):  # of keys that are forgotten
            if name.endswith(".key") and self.line(name) not in self.lines:
                os.remove(os.path.join(self.folder, name))


def workers(pid):
    """The workers that accept connections, by the master's pid file."""
    with open(pid) as f:
        master = f.read().strip()
    with open(f"/proc/{master}/task/{master}/children") as f:
        children = f.read().split()
    accepting = set()
    for child in children:
        try:
            with open(f"/proc/{child}/cmdline", "rb") as f:
                if b"shutting down" not in f.read():
                    accepting.add(child)
        except FileNotFoundError:
            pass  # it has just ended
    return accepting


def reload(nginx, pid):
    old = workers(pid)
    for command in (nginx + ["-t", "-q"], nginx + ["-s", "reload"]):
        ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if ended.returncode != 0:
            raise RuntimeError((ended.stderr.strip().splitlines() or ["nginx did not say why"])[0])
    deadline = time.monotonic() + 10
    while workers(pid) & old or not workers(pid):
        if time.monotonic() > deadline:
            raise RuntimeError("nginx did not take its configuration within 10 s: see its error log")
        time.sleep(0.01)


def main():
    request = json.load(sys.stdin)
    op, params = request["op"], request["params"]
    folder = os.environ["NGINX_KEYS"]
    with open(os.path.join(folder, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # both roles change one file
        ring = Ring(folder, request["link"])
        if op == "remove":
            ring.remove(request["epoch"])
        elif op in ("install", "switch"):
            ring.add(request["epoch"], request["kcv"], base64.b64decode(request["key"]))
            if op == "switch":
                ring.switch(request["epoch"], request["kcv"])
        elif op != "observe":
            raise Refused(f"there is no operation {op}")
        if op != "observe":
            ring.load(params.get("nginx", ["nginx"]), params.get("pid", "/run/nginx.pid"))
    show = lambda key: {"epoch": key[0], "kcv": key[1]}
    if request["role"] == "upstream":
        print(json.dumps({"sends": show(ring.sends()) if ring.sends() else None}))
    else:
        print(json.dumps({"accepts": [show(key) for key in sorted(ring.keys())]}))


try:
    main()
except Refused as no:
    print(no, file=sys.stderr)
    sys.exit(10)
except (OSError, RuntimeError, KeyError, ValueError) as trouble:
    print(f"{type(trouble).__name__}: {trouble}", file=sys.stderr)
    sys.exit(1)
