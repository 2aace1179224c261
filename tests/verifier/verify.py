"""Verifies a Counterfoil export file. Written from docs/log-format.md alone; needs `blake3` and `cryptography`.

usage: verify.py EXPORT ROOT-FINGERPRINT [HEAD-NOTE ...]     exit 0: nothing found, 1: findings (one per line), 2: refused
"""
import base64, datetime, hashlib, json, re, sys
try:
    from blake3 import blake3
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError as missing:
    print(f"refused: {missing}: install blake3 and cryptography (tests/requirements.txt)", file=sys.stderr)
    sys.exit(2)

PLATFORM = "00000000-0000-0000-0000-000000000000"
ZEROS, MAX_LINE = "0" * 64, 6 * 1048576 + 1024
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d\.\d{6}Z", re.ASCII)
P = 2**255 - 19  # a point of small order has one of these y
SMALL = {0, 1, P - 1, int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
         int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little")}


class Malformed(Exception): pass
class Object(dict): pass

def need(condition, what="not of the form"):
    if not condition: raise Malformed(what)

def parse(text):  # JSON; an object remembers how many members were written, so that repeated ones show
    def members(pairs):
        made = Object(pairs)
        made.count = len(pairs)
        return made
    def refuse(constant): raise ValueError(constant)
    try: return json.loads(text, object_pairs_hook=members, parse_constant=refuse)
    except (ValueError, RecursionError) as error: raise Malformed(str(error))

def is_text(value): return isinstance(value, str)
def is_int(value): return type(value) is int and 0 <= value < 2**64
def is_uuid(value): return is_text(value) and UUID.fullmatch(value) is not None
def is_hex(value, digits): return is_text(value) and re.fullmatch("[0-9a-f]{%d}" % digits, value) is not None
def has(value, *names): return isinstance(value, Object) and value.count == len(names) and set(value) == set(names)

def is_time(value):
    if not is_text(value) or not TIME.fullmatch(value): return False
    try: return bool(datetime.datetime.fromisoformat(value[:-1]))
    except ValueError: return False

def is_event_line(value):
    return (has(value, "envelope", "hash", "key_id", "signature") and is_text(value["envelope"]) and is_hex(value["hash"], 64)
            and is_hex(value["key_id"], 16) and is_hex(value["signature"], 128))

LINES = {  # §6
    "header": lambda v: has(v, "format", "tenant", "from", "to", "prev", "root") and all(map(is_int, (v["format"], v["from"], v["to"])))
              and is_uuid(v["tenant"]) and is_hex(v["prev"], 64) and is_hex(v["root"], 64),
    "key": is_event_line, "event": is_event_line,
    "document": lambda v: has(v, "digest", "body") and is_hex(v["digest"], 64) and is_text(v["body"]),
    "trailer": lambda v: has(v, "keys", "documents", "events", "hash", "head_note") and is_hex(v["hash"], 64) and is_text(v["head_note"])
               and all(is_int(v[name]) for name in ("keys", "documents", "events")),
}

def lines(file):
    while raw := file.readline(MAX_LINE + 1):
        try:
            whole = raw.endswith(b"\n") or len(raw) <= MAX_LINE
            while not whole and (rest := file.readline(MAX_LINE)): whole = rest.endswith(b"\n")
            need(len(raw) <= MAX_LINE or raw.endswith(b"\n"), "line too long")
            line = parse(raw.decode())
            need(isinstance(line, Object) and line.count == 1)
            (kind, value), = line.items()
            need(kind in LINES and LINES[kind](value))
            yield kind, value
        except (Malformed, UnicodeDecodeError) as error: yield "unreadable", str(error)

def read_envelope(text):  # §1
    e = parse(text)
    need(has(e, "v", "tenant", "position", "event_id", "aggregate", "aggregate_id", "sequence", "type", "version", "recorded_at",
             "actor", "request_id", "traceparent", "causation", "prev", "payload"), "members")
    need(e["v"] == 1 and all(map(is_int, (e["v"], e["position"], e["sequence"]))), "numbers")
    need(all(map(is_text, (e["aggregate"], e["aggregate_id"], e["type"], e["version"], e["request_id"]))), "texts")
    need(is_uuid(e["tenant"]) and is_uuid(e["event_id"]) and (e["causation"] is None or is_uuid(e["causation"])), "ids")
    need(is_time(e["recorded_at"]) and is_hex(e["prev"], 64) and (e["traceparent"] is None or is_text(e["traceparent"])), "time, prev")
    need(has(e["actor"], "kind", "id") and e["actor"]["kind"] in ("user", "service", "agent", "system") and is_text(e["actor"]["id"]), "actor")
    return e

def derive(context, data): return blake3(data, derive_key_context="counterfoil 2026 %s v1" % context).hexdigest()
def small_order(point): return int.from_bytes(point, "little") % 2**255 % P in SMALL

def verifies(key, message, signature):  # §3, strict
    if small_order(key) or small_order(signature[:32]): return False
    try: Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError): return False
    return True

def signed(key, digest, line): return verifies(key, b"counterfoil event v1\n" + bytes.fromhex(digest), bytes.fromhex(line["signature"]))

def references(value):  # §4
    if isinstance(value, Object):
        if has(value, "digest", "bytes") and is_hex(value["digest"], 64) and is_int(value["bytes"]) and value["bytes"] < 2**32:
            yield value
        for member in value.values(): yield from references(member)
    elif isinstance(value, list):
        for item in value: yield from references(item)

def open_note(note, keys):  # §5: position, hash, tenant; or the kind of what is wrong
    body, blank, rest = note.rpartition("\n\n")
    fields = body.split("\n")
    if (len(note.encode()) > 16384 or any(c < " " and c != "\n" for c in note) or not blank or not rest.endswith("\n") or len(fields) != 5
            or fields[0] != "counterfoil head note v1" or not is_uuid(fields[1]) or not re.fullmatch("0|[1-9][0-9]*", fields[2])
            or not is_int(int(fields[2])) or not is_hex(fields[3], 64) or not is_time(fields[4])): return "malformed"
    for line in rest[:-1].split("\n"):
        dash, name, encoded = (line.split(" ", 2) + ["", ""])[:3]
        try: raw = base64.b64decode(encoded, validate=True)
        except ValueError: return "malformed"
        if dash != "—" or len(raw) < 4 or base64.b64encode(raw).decode() != encoded: return "malformed"
        prefix, _, key_id = name.partition("/")
        key = keys.get(key_id) if prefix == "counterfoil" else None
        if key and hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4] == raw[:4]:
            if len(raw) != 68: return "malformed"
            return (int(fields[2]), fields[3], fields[1]) if verifies(key, (body + "\n").encode(), raw[4:]) else "signature_invalid"
    return "unknown_key"


class Verifier:
    def __init__(self, root): self.root, self.keys, self.introduced, self.newest, self.found, self.events, self.key_introduced = root, {}, {}, None, 0, 0, 0

    def find(self, position, kind, detail="", tenant=None):
        self.found += 1
        print("finding", tenant or self.tenant, position, kind, detail)

    def believe_key(self, line, e):  # §3: the kind of what is wrong, or nothing
        p = e["payload"]
        try:
            need((e["tenant"], e["aggregate"], e["aggregate_id"], e["type"], e["version"]) == (PLATFORM, "keyring", "keyring", "SigningKeyIntroduced", "1.0"))
            need(has(p, "key_id", "public_key", "fingerprint", "previous_key_id") and is_hex(p["public_key"], 64))
            key = bytes.fromhex(p["public_key"])
            need(not small_order(key) and p["fingerprint"] == derive("public key", key) and p["key_id"] == p["fingerprint"][:16])
            Ed25519PublicKey.from_public_bytes(key)
        except (Malformed, ValueError): return "malformed"
        if p["previous_key_id"] != self.newest or (self.newest is None and p["fingerprint"] != self.root): return "unknown_key"
        if line["key_id"] != (self.newest or p["key_id"]): return "unknown_key"
        if not signed(self.keys.get(self.newest, key), derive("event", line["envelope"].encode()), line): return "signature_invalid"
        self.keys[p["key_id"]], self.newest = key, p["key_id"]
        self.introduced[p["key_id"]] = e["position"]

    def run(self, file, notes):  # §7
        stream = lines(file)
        kind, h = next(stream, ("nothing", None))
        if kind != "header" or h["format"] != 1 or not 1 <= h["from"] <= h["to"]: return self.find(0, "malformed", "no header", PLATFORM)
        self.tenant, self.next, self.to, self.prev = h["tenant"], h["from"], h["to"], h["prev"] if h["from"] > 1 else ZEROS
        self.latest, self.lost, self.unplaced, self.aggregates, self.last_hash = "", h["from"] - 1, 0, {}, None
        self.heads, self.reach, documents, keys, counts, unreadable = {}, h["to"], {}, [], {"key": 0, "document": 0, "event": 0}, []
        line = next(stream, None)
        while line and line[0] in ("key", "unreadable"):
            try:
                need(line[0] == "key", line[1])
                keys.append((line[1], read_envelope(line[1]["envelope"])))
                counts["key"] += 1
            except Malformed as error: unreadable.append(str(error))
            line = next(stream, None)
        for key_line, e in keys:
            if derive("event", key_line["envelope"].encode()) != key_line["hash"]: self.find(e["position"], "hash_mismatch", "key event", PLATFORM)
            if problem := self.believe_key(key_line, e):
                self.find(e["position"], problem, "key event", PLATFORM)
                break
        if h["root"] != self.root or (h["from"] == 1 and h["prev"] != ZEROS): self.find(0, "columns_disagree", "header")
        for note in notes:
            head = self.expect(note)
            if head and head[0] < h["from"]:
                print("the export begins at %d: a head note for %d cannot be held against it" % (h["from"], head[0]), file=sys.stderr)
                sys.exit(2)
        for detail in unreadable: self.skip("malformed", detail)
        trailer, all_read = None, not unreadable
        while line:
            kind, value = line
            if trailer: self.find(self.to, "malformed", "after the trailer")
            elif kind == "event":
                counts["event"] += 1
                self.event(value, documents)
            elif kind == "document":
                counts["document"] += 1
                body = value["body"].encode()
                documents[value["digest"]] = (derive("document", body), len(body))
                if documents[value["digest"]][0] != value["digest"]:
                    self.find(self.next, "document_mismatch", value["digest"])
                    documents[value["digest"]] = "reported"
            elif kind == "trailer": trailer = value
            else:
                all_read = False
                self.skip("malformed", value if kind == "unreadable" else "out of order")
            line = next(stream, None)
        self.end(trailer, counts, all_read)

    def expect(self, note):
        head = open_note(note, self.keys)
        if is_text(head): return self.find(self.to, head, "head note")
        position, digest, tenant = head
        if tenant != self.tenant: return self.find(self.to, "foreign_tenant", "head note")
        self.reach = max(self.reach, position)
        if self.heads.setdefault(position, digest) != digest: self.find(position, "head_note_conflict", "two head notes")
        return position, digest

    def skip(self, kind, detail=""):  # an entry that has no place
        self.find(self.next, kind, detail)
        self.unplaced += 1

    def event(self, line, documents):
        self.events += 1
        digest = derive("event", line["envelope"].encode())
        same, key = digest == line["hash"], self.keys.get(line["key_id"])
        holds = key and signed(key, digest, line)
        problems = [] if same else ["hash_mismatch"]
        if not key: problems.append("unknown_key")
        elif not holds and (same or not signed(key, line["hash"], line)): problems.append("signature_invalid")
        e = None
        if holds or (not key and same):
            try:
                e = read_envelope(line["envelope"])
                if e["tenant"] != self.tenant: problems.append("foreign_tenant")
                elif self.tenant == PLATFORM and key: problems += self.out_of_turn(line["key_id"], e["position"])
            except Malformed: problems.append("malformed")
        at = e["position"] if e and e["tenant"] == self.tenant else self.next
        for problem in problems: self.find(at, problem)
        if not e or e["tenant"] != self.tenant: self.unplaced += 1
        elif at < self.next: self.find(at, "duplicate")
        else: self.place(e, digest, documents, line["key_id"])

    def out_of_turn(self, key_id, at):  # the platform log
        if self.introduced[key_id] > at: return ["key_not_introduced"]
        before = [known for known, introduced in self.introduced.items() if introduced < at]  # oldest first
        return ["key_superseded"] if before and before[-1] != key_id else []

    def place(self, e, digest, documents, key_id):
        at = e["position"]
        if at > self.next:
            if at - self.next > self.unplaced: self.find(self.next, "gap", "%d lost" % (at - self.next - self.unplaced))
            self.lost, self.prev = self.lost + at - self.next, None
        self.unplaced, self.next = 0, at + 1
        if self.prev not in (None, e["prev"]): self.find(at, "chain_broken")
        self.prev = self.last_hash = digest
        if e["recorded_at"] < self.latest: self.find(at, "time_decreases")
        self.latest = max(self.latest, e["recorded_at"])
        if self.tenant != PLATFORM and key_id in self.introduced:
            if self.introduced[key_id] < self.key_introduced: self.find(at, "key_superseded")
            self.key_introduced = self.introduced[key_id]
        name = (e["aggregate"], e["aggregate_id"])
        sequence, lost = self.aggregates.get(name, (0, 0))
        if not 0 <= e["sequence"] - sequence - 1 <= self.lost - lost: self.find(at, "sequence_gap")
        self.aggregates[name] = (e["sequence"], self.lost)
        for reference in references(e["payload"]):
            there = documents.get(reference["digest"])
            if not there: self.find(at, "missing_document", reference["digest"])
            elif there not in ("reported", (reference["digest"], reference["bytes"])): self.find(at, "document_mismatch", reference["digest"])
        if self.heads.get(at, digest) != digest: self.find(at, "head_note_conflict")

    def end(self, trailer, counts, all_read):
        last = self.next - 1
        at_end = self.last_hash if last == self.to else None
        if trailer:
            if all_read and counts != {"key": trailer["keys"], "document": trailer["documents"], "event": trailer["events"]}:
                self.find(self.to, "columns_disagree", "the trailer's counts")
            if at_end and trailer["hash"] != at_end: self.find(self.to, "chain_broken", "the trailer's hash")
            head = self.expect(trailer["head_note"])
            if head and head[0] != self.to: self.find(self.to, "head_note_conflict", "the trailer's head note")
            elif head and at_end and head[1] != at_end: self.find(self.to, "head_note_conflict", "the trailer's head note")
        else: self.find(self.to, "missing_tail", "no trailer")
        if self.reach - last > self.unplaced: self.find(last + 1, "missing_tail", "%d lost" % (self.reach - last - self.unplaced))
        if last > self.to: self.find(self.to + 1, "ahead")


if __name__ == "__main__":
    if len(sys.argv) < 3 or not is_hex(sys.argv[2], 64): sys.exit(__doc__)
    verifier = Verifier(sys.argv[2])
    with open(sys.argv[1], "rb") as export:
        verifier.run(export, [open(path, encoding="utf-8", newline="").read() for path in sys.argv[3:]])
    print("%d events read, %d findings" % (verifier.events, verifier.found))
    sys.exit(1 if verifier.found else 0)
