# SPDX-License-Identifier: Apache-2.0
"""The report: one page of HTML that needs nothing else, and the figures in it."""
import html
import math
import os
import re

BUCKET_S = 0.5
FULL_SHARE = 0.8   # of the rate without faults: "full rate"
OP_COLOURS = {"ok": "#3a9d5d", "fail": "#e2b33c", "info": "#cf4a43"}
KIND_COLOURS = ["#5b8fd6", "#d68f5b", "#9d6bc9", "#58b5a8", "#c95b8f", "#8a9a3a", "#c7524a",
                "#6f7d8f", "#b59b4c", "#4c6fb5", "#7ab54c", "#a05a2c", "#2f7f9f", "#e07fb0",
                "#3d8f5a", "#7a5230", "#b0b03a", "#d05a7a"]


# ---- figures ------------------------------------------------------------------------------

def asked(invoke):
    """When it was, if that is not where its judge has it."""
    return invoke.get("asked", invoke["time"])


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def pairs_of(events):
    """(invocation, completion) of every operation, in order of completion."""
    begun, pairs = {}, []
    for event in events:
        if event["type"] == "invoke":
            begun[event["process"]] = event
        else:
            pairs.append((begun.pop(event["process"]), event))
    return pairs


def rate_without_faults(successes, timeline, end_s):
    """Operations a second, the median over buckets in which no fault was on."""
    counts = [0] * (int(end_s / BUCKET_S) + 1)
    for t in successes:
        if t < end_s:
            counts[int(t / BUCKET_S)] += 1
    def is_quiet(i):
        return not any(f["begin"] < (i + 1) * BUCKET_S and (f["end"] or end_s) > i * BUCKET_S
                       for f in timeline)
    quiet = [c for i, c in enumerate(counts[:-1]) if is_quiet(i)]
    return percentile(quiet or counts, 0.5) / BUCKET_S, counts


def recovery(fault, successes, counts, full):
    """Of one fault: seconds from its begin to the first success begun … and from its end."""
    end = fault["end"]
    inside = [t for t in successes if fault["begin"] <= t < end]
    marks = [fault["begin"], *inside, end]
    first = next((t for t in successes if t >= end), None)
    full_at = None if first is None else next(
        (i for i in range(int(first / BUCKET_S), len(counts) - 2)
         if sum(counts[i:i + 2]) >= FULL_SHARE * full * 2 * BUCKET_S), None)
    return {"kind": fault["kind"], "text": fault.get("text", ""),
            "silence_s": round(max(b - a for a, b in zip(marks, marks[1:])), 2),
            "first_success_s": None if first is None else round(first - end, 2),
            "full_rate_s": None if full_at is None
                           else round(max(first, full_at * BUCKET_S) - end, 2)}


def figures(events, result):
    pairs = [p for p in pairs_of(events) if p[0]["time"] >= 0]
    measured = result.get("measured_s", 0)
    pairs = [p for p in pairs if p[1]["time"] / 1e9 <= measured + 1]
    successes = sorted(c["time"] / 1e9 for _, c in pairs
                       if c["type"] == "ok" or c.get("mismatch"))
    counts_of = {t: sum(c["type"] == t for _, c in pairs) for t in OP_COLOURS}
    mismatches = sum(1 for _, c in pairs if c["type"] == "fail" and c.get("mismatch"))
    timeline = [dict(f, end=f["end"] if f["end"] is not None else measured)
                for f in result["timeline"]]
    full, counts = rate_without_faults(successes, timeline, measured)
    whole = counts[:-1]
    latencies = [(c["time"] - asked(i)) / 1e6 for i, c in pairs if c["type"] == "ok"]
    return {
        "operations": len(pairs), **counts_of, "answered": counts_of["ok"] + mismatches,
        "ok_share": (counts_of["ok"] + mismatches) / len(pairs) if pairs else 0,
        "rate": round(len(successes) / measured, 1) if measured else 0,
        "rate_without_faults": full,
        "unavailable_share": round(sum(c == 0 for c in whole) / len(whole), 4) if whole else 1,
        "latency_ms": {str(q): round(percentile(latencies, q), 2) for q in (0.5, 0.95, 0.99, 1)}
                      if latencies else {},
        "recovery": [recovery(f, successes, counts, full) for f in timeline],
        "by_kind": by_kind(pairs),
    }


def by_kind(pairs):
    """How many operations of each kind there were, and how many were answered; those that clients
    send several times themselves are a kind of their own."""
    found = {}
    for invoke, done in pairs:
        name = invoke["f"] + (" (sent by clients themselves)" if "stamp" in invoke else "")
        per = found.setdefault(name, {"operations": 0, "answered": 0})
        per["operations"] += 1
        per["answered"] += (done["type"] == "ok" or bool(done.get("mismatch"))
                            or bool(done.get("resolved")))
    return found


# ---- drawing --------------------------------------------------------------------------------

class Plot:
    """An SVG with time on its x axis."""
    LEFT, RIGHT, WIDTH = 70, 15, 1100

    def __init__(self, height, seconds):
        self.height, self.seconds = height, max(seconds, 1)
        self.parts = []

    def x(self, t):
        return self.LEFT + (self.WIDTH - self.LEFT - self.RIGHT) * t / self.seconds

    def add(self, text):
        self.parts.append(text)

    def rect(self, t0, t1, y, h, fill, title="", opacity=1.0):
        x0, x1 = self.x(max(0, t0)), self.x(min(self.seconds, t1))
        inner = f"<title>{html.escape(title)}</title>" if title else ""
        self.add(f'<rect x="{x0:.1f}" y="{y:.1f}" width="{max(1, x1 - x0):.1f}" '
                 f'height="{h:.1f}" fill="{fill}" fill-opacity="{opacity}">{inner}</rect>')

    def text(self, x, y, text, anchor="start", size=12, fill="#444"):
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                 f'fill="{fill}">{html.escape(text)}</text>')

    def line(self, points, colour, width=1.2):
        if len(points) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            self.add(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                     f'stroke-width="{width}"/>')

    def ticks(self, y):
        step = next(s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 10 ** 6)
                    if self.seconds / s <= 12)
        t = 0
        while t <= self.seconds:
            self.add(f'<line x1="{self.x(t):.1f}" y1="{y}" x2="{self.x(t):.1f}" y2="{y + 5}" '
                     'stroke="#888"/>')
            self.text(self.x(t), y + 18, f"{t:g} s", "middle", 11)
            t += step

    def shade(self, timeline, kinds, top, height):
        for fault in timeline:
            self.rect(fault["begin"], fault["end"], top, height, kinds[fault["kind"]],
                      fault.get("text", ""), 0.13)

    def svg(self):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.WIDTH} '
                f'{self.height}" width="{self.WIDTH}" height="{self.height}" '
                'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>'
                + "".join(self.parts) + "</svg>")


def rate_plot(pairs, timeline, kinds, seconds):
    plot = Plot(280, seconds)
    buckets = int(seconds) + 1
    counts = {t: [0] * buckets for t in OP_COLOURS}
    for _, c in pairs:
        if 0 <= c["time"] / 1e9 < buckets:
            kind = "ok" if c.get("mismatch") else c["type"]
            counts[kind][int(c["time"] / 1e9)] += 1
    most = max([sum(counts[t][i] for t in counts) for i in range(buckets)] + [1])
    top, bottom = 30, 245
    plot.shade(timeline, kinds, top, bottom - top)
    for i in range(buckets):
        y = bottom
        for t in OP_COLOURS:
            h = counts[t][i] / most * (bottom - top)
            if h > 0:
                plot.rect(i, i + 0.96, y - h, h, OP_COLOURS[t],
                          f"{i} s: {counts[t][i]} {t}")
            y -= h
    for share in (0, 0.5, 1):
        plot.text(plot.LEFT - 6, bottom - share * (bottom - top) + 4, f"{most * share:.0f}", "end")
    plot.ticks(bottom)
    legend(plot, [(OP_COLOURS["ok"], "answered (a condition not met counts)"),
                  (OP_COLOURS["fail"], "certainly not done"),
                  (OP_COLOURS["info"], "not known")])
    plot.text(4, 18, "per second", size=12)
    return plot.svg()


def legend(plot, entries):
    x = 160
    for colour, text in entries:
        plot.add(f'<rect x="{x}" y="9" width="11" height="11" fill="{colour}"/>')
        plot.text(x + 16, 19, text)
        x += 30 + 7 * len(text)


def latency_plot(pairs, timeline, kinds, seconds):
    plot = Plot(300, seconds)
    top, bottom = 30, 265
    low, high = 0.1, 10000.0

    def y(ms):
        share = math.log10(max(low, min(high, ms)) / low) / math.log10(high / low)
        return bottom - share * (bottom - top)

    plot.shade(timeline, kinds, top, bottom - top)
    buckets = [[] for _ in range(int(seconds) + 1)]
    for i, c in pairs:
        at = int(c["time"] / 1e9)
        if 0 <= at < len(buckets) and c["type"] == "ok":
            buckets[at].append((c["time"] - asked(i)) / 1e6)
    for ms in (0.1, 1, 10, 100, 1000, 10000):
        plot.add(f'<line x1="{plot.LEFT}" x2="{plot.WIDTH - plot.RIGHT}" y1="{y(ms):.1f}" '
                 f'y2="{y(ms):.1f}" stroke="#ddd"/>')
        plot.text(plot.LEFT - 6, y(ms) + 4, f"{ms:g} ms", "end", 11)
    lines = ((1.0, "#cf4a43", "slowest"), (0.95, "#d6a43c", "95 %"), (0.5, "#2f6fb5", "median"))
    for share, colour, _ in lines:
        run = []
        for at, bucket in enumerate(buckets):
            if bucket:
                run.append((plot.x(at + 0.5), y(percentile(bucket, share))))
            else:
                plot.line(run, colour)
                run = []
        plot.line(run, colour)
    plot.ticks(bottom)
    legend(plot, [(c, n) for _, c, n in lines])
    return plot.svg()


def in_lanes(faults):
    """Those that overlap side by side, so that one can tell where each begins and ends:
    ([(fault, lane)], how many lanes)."""
    ends, placed = [], []
    for fault in sorted(faults, key=lambda f: f["begin"]):
        lane = next((i for i, end in enumerate(ends) if end <= fault["begin"]), len(ends))
        ends[lane:lane + 1] = [fault["end"]]
        placed.append((fault, lane))
    return placed, max(1, len(ends))


def timeline_plot(timeline, kinds, exits, seconds):
    rows = list(kinds)
    plot = Plot(30 + 26 * len(rows) + 45, seconds)
    for at, kind in enumerate(rows):
        y = 12 + 26 * at
        plot.text(plot.LEFT - 6, y + 13, kind, "end")
        plot.add(f'<line x1="{plot.LEFT}" x2="{plot.WIDTH - plot.RIGHT}" y1="{y + 20}" '
                 f'y2="{y + 20}" stroke="#eee"/>')
        faults, lanes = in_lanes([f for f in timeline if f["kind"] == kind])
        for fault, lane in faults:
            plot.rect(fault["begin"], fault["end"], y + 18 * lane / lanes,
                      18 / lanes - (1 if lanes > 1 else 0), kinds[kind],
                      f"{fault['begin']:.1f} to {fault['end']:.1f} s: {fault.get('text')}")
    bottom = 12 + 26 * len(rows) + 4
    for e in exits:
        x = plot.x(max(0, e["at"]))
        colour = "#888" if e["expected"] else "#c00"
        plot.add(f'<circle cx="{x:.1f}" cy="{bottom + 2}" r="4" fill="{colour}"><title>'
                 f'{e["node"]} ended by itself, status {e["status"]}</title></circle>')
    plot.ticks(bottom + 8)
    return plot.svg()


# ---- anomalies -----------------------------------------------------------------------------------

def operations_by_line(events):
    """Line of the invocation in history.jsonl -> (invocation, completion or None)."""
    begun, found = {}, {}
    for number, event in enumerate(events, 1):
        if event["type"] == "invoke":
            begun[event["process"]] = number
            found[number] = (event, None)
        else:
            at = begun.pop(event["process"])
            found[at] = (found[at][0], event)
    return found


def short(value, most=60):
    text = re.sub(r'"', "", str(value)).replace("'", "")
    return text if len(text) <= most else text[:most - 1] + "…"


def mop_text(mop):
    """[r k [1 2 3]] in short: of a long list the end, which is what matters."""
    f, key, value = mop
    if isinstance(value, list):
        shown = " ".join(map(str, value[-4:]))
        value = f"[… {shown}]" if len(value) > 4 else f"[{shown}]"
    return f"{f} {key} {'?' if value is None else value}"


FATES = {"ok": "", "fail": " ✗ not done", "info": " ? not known"}


def value_text(f, value):
    if f in ("cas", "cas-version") and isinstance(value, list) and len(value) == 2:
        return f"{value_text('', value[0])} → {value_text('', value[1])}"
    return "absent" if value is None else short(value)


def describe(invoke, done):
    fate = FATES[done["type"] if done else "info"]
    is_done = bool(done) and done["type"] == "ok"
    f = invoke["f"]
    if f == "txn":
        return "; ".join(mop_text(m) for m in (done if is_done else invoke)["value"]) + fate
    value = done.get("value") if is_done else invoke.get("value")
    words = [f, str(invoke["key"]) if "key" in invoke else ""]
    if value is not None or (is_done and f in ("read", "scan")):
        words.append(value_text(f, value))
    if invoke.get("ttl_ms"):
        words.append(f"for {invoke['ttl_ms'] / 1000:g} s")
    if is_done and done.get("left_ms"):
        words.append(f"({done['left_ms'] / 1000:g} s left)")
    if done and done.get("mismatch"):
        fate = f" ✗ saw {value_text('', done['seen'])}" if "seen" in done else " ✗ condition not met"
    if is_done and "version" in done:
        fate += f" (version {done['version']})"
    return " ".join(w for w in words if w) + fate


def bars(ops, marked, timeline=()):
    """Operations as bars over time, by process, with the faults that were on."""
    begin = min(i["time"] for i, _ in ops)
    known = [c["time"] for _, c in ops if c and c["type"] != "info"]
    end = max(known + [i["time"] for i, _ in ops]) + 1
    width, left = 1100, 110
    height = 34 * len(ops) + 46

    def x(t):
        return left + (width - left - 330) * (t - begin) / (end - begin)

    parts = []
    for fault in timeline:
        x0, x1 = (x(max(begin, min(end, fault[side] * 1e9))) for side in ("begin", "end"))
        if fault["begin"] * 1e9 <= end and fault["end"] * 1e9 >= begin:
            parts.append(f'<rect x="{x0:.1f}" y="4" width="{max(2, x1 - x0):.1f}" '
                         f'height="{34 * len(ops) + 16}" fill="#5b6f8f" fill-opacity="0.1"><title>'
                         f'{html.escape(fault.get("text", fault["kind"]))}</title></rect>')
    for at, (invoke, done) in enumerate(sorted(ops, key=lambda o: o[0]["time"])):
        y = 10 + 34 * at
        known_end = done is not None and done["type"] != "info"
        x1 = x(done["time"]) if known_end else x(end)
        colour = OP_COLOURS[done["type"] if done else "info"]
        text, text_x, anchor = describe(invoke, done), x1 + 5, "start"
        if text_x + 6.5 * len(text) > width:  # no room there: before its bar
            text_x, anchor = x(invoke["time"]) - 5, "end"
        edge = "#c00" if (invoke["process"], invoke["time"]) in marked else "none"
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end" font-size="12">'
                     f'process {invoke["process"]}</text>'
                     f'<rect x="{x(invoke["time"]):.1f}" y="{y}" '
                     f'width="{max(3, x1 - x(invoke["time"])):.1f}" height="22" fill="{colour}" '
                     f'fill-opacity="{0.75 if known_end else 0.35}" stroke="{edge}" '
                     f'stroke-width="2" rx="3"/><text x="{text_x:.1f}" y="{y + 15}" '
                     f'text-anchor="{anchor}" font-size="12">{html.escape(text)}</text>')
    y = height - 26
    parts.append(f'<line x1="{left}" x2="{x(end):.1f}" y1="{y}" y2="{y}" stroke="#888"/>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        at = begin + share * (end - begin)
        parts.append(f'<line x1="{x(at):.1f}" x2="{x(at):.1f}" y1="{y}" y2="{y + 4}" '
                     f'stroke="#888"/><text x="{x(at):.1f}" y="{y + 17}" font-size="11" '
                     f'fill="#666" text-anchor="middle">{at / 1e9:.6f} s</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif"><rect width="100%" '
            'height="100%" fill="white"/>' + "".join(parts) + "</svg>")


EDGE = re.compile(r"^ *line (\d+) -(.*)-> line (\d+)$", re.MULTILINE)
EDGE_COLOURS = {"ww": "#2f6fb5", "wr": "#3a9d5d", "rw": "#cf4a43", "realtime": "#888"}


def cycle(edges, by_line):
    """The transactions of a cycle in a ring, with an arrow for each dependency."""
    lines = [int(a) for a, _, _ in edges]
    width, height, cx = 1100, 70 + 90 * len(lines), 320
    place = {n: 60 + 90 * i for i, n in enumerate(lines)}
    parts = ['<defs><marker id="tip" markerWidth="9" markerHeight="9" refX="8" refY="4" '
             'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#444"/></marker></defs>']
    for n in lines:
        invoke, done = by_line[n]
        parts.append(f'<rect x="{cx}" y="{place[n] - 22}" width="760" height="44" rx="6" '
                     'fill="#f4f6f8" stroke="#888"/>'
                     f'<text x="{cx + 10}" y="{place[n] - 4}" font-size="12" fill="#666">line {n}, '
                     f'process {invoke["process"]}, {invoke["time"] / 1e9:.4f} s</text>'
                     f'<text x="{cx + 10}" y="{place[n] + 13}" font-size="13">'
                     f'{html.escape(short(describe(invoke, done), 110))}</text>')
    labels = []
    for a, why, b in edges:
        y0, y1 = place[int(a)], place.get(int(b), 60)
        colour = EDGE_COLOURS.get(why.split(" ")[0], "#444")
        bend = 40 + min(220, abs(y1 - y0) * 0.45)
        parts.append(f'<path d="M{cx},{y0 + 8} C{cx - bend:.0f},{y0 + 8} {cx - bend:.0f},'
                     f'{y1 - 8} {cx - 2},{y1 - 8}" fill="none" stroke="{colour}" '
                     'stroke-width="2" marker-end="url(#tip)"/>')
        x, y, anchor = cx - bend * 0.75 - 6, (y0 + y1) / 2, "end"
        if y1 <= y0:  # the way back: below its beginning, where no other arrow is
            x, y, anchor = cx + 10, y0 + 38, "start"
        labels.append(f'<text x="{x:.0f}" y="{y:.0f}" font-size="12" text-anchor="{anchor}" '
                      f'fill="{colour}" stroke="white" stroke-width="4" paint-order="stroke">'
                      f'{html.escape(short(why, 60))}</text>')
    parts += labels
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif"><rect width="100%" '
            'height="100%" fill="white"/>' + "".join(parts) + "</svg>")


def anomaly(said, events, timeline=()):
    """A picture of what the checker found wrong, from the lines that it names; "" if it
    names none."""
    by_line = operations_by_line(events)
    edges = []
    for edge in EDGE.findall(said):
        edges.append(edge)
        if edge[2] == edges[0][0]:
            break
    if edges and all(int(e[0]) in by_line for e in edges):
        return f"<p>{CYCLE_MEANS}</p>" + cycle(edges, by_line)
    numbers = []
    for text in re.findall(r"line (\d+)", said):
        if int(text) in by_line and int(text) not in numbers:
            numbers.append(int(text))
    if not numbers:
        return ""
    last, marked = int(re.findall(r"line (\d+)", said)[-1]), set()
    if "is not linearizable" in said and last in by_line:
        marked.add((by_line[last][0]["process"], by_line[last][0]["time"]))
    return (f"<p>{BARS_MEAN}{FITS_NOWHERE if marked else NAMED_BELOW}</p>"
            + bars([by_line[n] for n in numbers[:24]], marked, timeline))


BARS_MEAN = ("Bars: operations from their invocation to their end, by process; pale: the outcome is "
             "not known, so it may have happened at any time after its begin, or never; yellow: it "
             "changed nothing. Grey behind them: faults, texts under the mouse. ")
FITS_NOWHERE = "Red-edged: the one that fits nowhere."
NAMED_BELOW = "What is wrong with each stands below."
CYCLE_MEANS = ("Each arrow leads to what must come later, and says why: ww, it wrote after the first "
               "one's write; wr, it read what the first wrote; rw, the first did not see what it "
               "wrote; realtime, the first had ended when it began. A circle has no order.")


# ---- the page -----------------------------------------------------------------------------------

STYLE = """
body{font:15px/1.5 sans-serif;margin:24px auto;max-width:1140px;color:#222;padding:0 12px}
h1{font-size:24px}h2{font-size:18px;margin-top:32px}
.verdict{padding:12px 16px;border-radius:8px;color:#fff;font-size:18px}
.valid{background:#2f8a50}.invalid{background:#b8322b}.void,.unknown{background:#8a6d1f}
table{border-collapse:collapse;font-size:14px}td,th{padding:3px 12px 3px 0;text-align:left;
vertical-align:top;border-bottom:1px solid #eee}pre{background:#f6f6f6;padding:10px;overflow:auto;
font-size:12.5px;max-height:420px}summary{cursor:pointer;padding:4px 0}svg{max-width:100%;height:auto}
"""
LOG_SHOWN = 400_000  # bytes of a node's log in the page; the file has all


def table(head, rows):
    out = "<table><tr>" + "".join(f"<th>{html.escape(str(h))}</th>" for h in head) + "</tr>"
    for row in rows:
        out += "<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>"
    return out + "</table>"


def seconds_text(value):
    return "never" if value is None else f"{value:.1f} s"


def recovery_rows(result):
    by_kind = {}
    for entry in result["figures"]["recovery"]:
        by_kind.setdefault(entry["kind"], []).append(entry)
    rows = []
    for kind, entries in by_kind.items():
        row = [kind, len(entries)]
        for field in ("silence_s", "first_success_s", "full_rate_s"):
            known = [e[field] for e in entries if e[field] is not None]
            unknown = len(entries) - len(known)
            row.append(f"{percentile(known, 0.5):.1f} s / {max(known):.1f} s" if known else "-")
            if unknown:
                row[-1] += f" ({unknown} not within the run)"
        rows.append(row)
    return rows


def stops_row(result):
    """Nodes that did not end when they were told to."""
    stops = result.get("slow_stops")
    return [("killed as they did not stop",
             ", ".join(f"{s['node']} at {s['at']} s" for s in stops))] if stops else []


def frames_row(result):
    """What slow links did, where jepsen-wire counted it."""
    f = result.get("frames")
    if not f:
        return []
    return [("frames on links", f"{f['passed']} passed, {f['delayed']} of them late; "
             f"{f['lost']} lost, {f['doubled']} doubled; on links with a rate {f['queued']} waited "
             f"for others and {f['beyond_rate']} were dropped; {f['beyond_memory']} for lack of "
             "memory")]


def builds_rows(result):
    """Which two builds ran, if there were two."""
    return [(f"build {name}", f"{build['path']} {build.get('sha256', '')[:12]}: "
                              f"{sum(build['starts'].values())} starts")
            for name, build in result.get("builds", {}).items()]


def log_sections(nodes, out):
    parts = []
    for node in nodes:
        path = os.path.join(out, node.name, "log")
        try:
            with open(path, "rb") as f:
                data = f.read()
        except OSError:
            data = b""
        text = data[-LOG_SHOWN:].decode(errors="replace")
        more = ""
        if len(data) > LOG_SHOWN:
            more = f" (the last {LOG_SHOWN // 1000} kB; all of it is in {node.name}/log)"
        parts.append(f"<details><summary>log of {node.name}, {len(data) // 1000} kB{more}</summary>"
                     f"<pre>{html.escape(text)}</pre></details>")
    return "".join(parts)


def failure_sections(result):
    """What went wrong in the harness itself."""
    return "".join(f'<details open><summary>{html.escape(f["who"])} failed at {f["at"]} s: <b>'
                   f'{html.escape(f["error"])}</b></summary><pre>{html.escape(f["trace"])}</pre>'
                   "</details>" for f in result.get("failures", []))


FILES = ("history.jsonl", "history.edn", "result.json")


def links(names):
    """To the files beside the page, for where it stands in its folder."""
    return "<p>Files: " + " · ".join(f'<a href="{n}">{n}</a>' for n in names) + "</p>"


def check_sections(result, events, timeline):
    parts = []
    for model, check in result["checks"].items():
        picture = ""
        if check["verdict"] == "invalid":
            picture = anomaly(check["said"], events, timeline)
        is_open = " open" if check["verdict"] != "valid" else ""
        parts.append(f"<details{is_open}><summary>{html.escape(model)}: <b>{check['verdict']}</b>"
                     f"</summary>{picture}<pre>{html.escape(check['said'][:20000])}</pre></details>")
    if "replicas" in result:
        parts.append(f"<details><summary>replicas: <b>{result['replicas']['verdict']}</b></summary>"
                     f"<pre>{html.escape(result['replicas']['said'])}</pre></details>")
    return "".join(parts)


def plots(events, result):
    """Those over time, by name, and what they are drawn from."""
    pairs = [p for p in pairs_of(events) if p[0]["time"] >= 0]
    seconds = result.get("measured_s") or max([c["time"] / 1e9 for _, c in pairs] + [1])
    timeline = [dict(f, end=f["end"] if f["end"] is not None else seconds)
                for f in result["timeline"]]
    names = sorted({f["kind"] for f in timeline})
    kinds = {k: KIND_COLOURS[i % len(KIND_COLOURS)] for i, k in enumerate(names)}
    drawn = {"rate": rate_plot(pairs, timeline, kinds, seconds),
             "latency": latency_plot(pairs, timeline, kinds, seconds)}
    if kinds:
        drawn["faults"] = timeline_plot(timeline, kinds, result["exits"], seconds)
    return drawn, timeline, kinds


def page(events, result, nodes, out, drawn, timeline, kinds):
    f = result["figures"]
    latency = f["latency_ms"]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{result["workload"]}: '
        f'{result["verdict"]}</title><style>{STYLE}</style>',
        f'<h1>{html.escape(result["workload"])} against '
        f'{html.escape(", ".join(result["nemesis"]) or "no fault")}</h1>',
        f'<p class="verdict {result["verdict"]}">{result["verdict"]}: '
        f'{html.escape(result["why"])}</p>',
        *(f'<p class="verdict void">weak: {html.escape(line)}</p>'
          for line in result.get("weak", [])),
        f'<p><code>{html.escape(result["command"])}</code></p>',
        failure_sections(result),
        table(("", ""), [
            ("system", result.get("system", "holdfast")),
            ("nodes, clients", f"{result['nodes']}, {result['concurrency']}"),
            ("operations", f"{f['operations']}: {f['ok']} done, {f['fail']} not done, "
                           f"{f['info']} not known; {f['ok_share']:.1%} answered"),
            ("rate", f"{f['rate']:g} answers a second; {f['rate_without_faults']:g} where no fault "
                     "was on"),
            ("latency", ", ".join(f"{float(q):.0%} {v:g} ms" for q, v in latency.items())
             .replace("100%", "slowest")),
            ("unavailable", f"{f['unavailable_share']:.1%} of the run (no answer for "
                            f"{BUCKET_S} s)"),
            ("since their last starts", ", ".join(f"{k} {v}" for k, v in
                                                  result.get("engine", {}).items()) or "-"),
            ("after the last heal", f"{result['settled_s']} s to the first write"
                                    if "settled_s" in result else "-"),
            *stops_row(result), *frames_row(result), *builds_rows(result),
        ]),
        links([*FILES, *(f"{name}.svg" for name in drawn), *(f"{n.name}/log" for n in nodes)]),
        "<h2>Checks</h2>", check_sections(result, events, timeline),
        "<h2>Operations over time</h2>",
        "<p>Shaded: faults; colours as below, texts under the mouse.</p>" if kinds else "",
        drawn["rate"], "<h2>Latency of what was done</h2>", drawn["latency"],
    ]
    if kinds:
        parts += ["<h2>Faults</h2><p>Dots on the lowest line: nodes that ended by themselves; "
                  "grey: a fault explains it (a failing disk, a removal), red: none does.</p>",
                  drawn["faults"],
                  "<h2>Recovery</h2><p>median / worst. Faults overlap: what follows one may be "
                  "the work of another.</p>",
                  table(("fault", "times", "longest silence while it was on",
                         "its end to the first answer", f"its end to {FULL_SHARE:.0%} of the rate"),
                        recovery_rows(result)),
                  "<details><summary>every fault</summary>",
                  table(("from", "to", "what"),
                        [(f"{t['begin']:.1f} s", f"{t['end']:.1f} s", t.get("text", t["kind"]))
                         for t in timeline]), "</details>"]
    parts += ["<h2>Operations by kind</h2>",
              table(("f", "ok", "fail", "info"),
                    [(n, c["ok"], c["fail"], c["info"])
                     for n, c in sorted(result["operations"].items())]),
              "<h2>Logs</h2>", log_sections(nodes, out), "</html>"]
    return "\n".join(parts)


def write(out, events, result, nodes):
    drawn, timeline, kinds = plots(events, result)
    texts = {f"{name}.svg": svg for name, svg in drawn.items()}
    texts["report.html"] = page(events, result, nodes, out, drawn, timeline, kinds)
    for name, text in texts.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as f:
            f.write(text)
