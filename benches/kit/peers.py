#!/usr/bin/env python3
"""The rivals of Quickpick's kernels, run by PyTorch: Y[n×m] = X[n×k] · W[m×k]ᵀ, all row-major.

The kit starts this as a child and talks JSON, one object a line: requests on stdin, answers on stdout,
everything else on stderr. The first answer, unasked, is {"hello": …, "peers": [{name, weights, dtypes}],
"absent": [{name, dtype, why}]}, or {"unavailable": why} and exit status 3. Then:

  {"op":"prepare", "id", "peer", "dtype", "m", "n", "k", "rotate_bytes", "search", "seed"}
       → {"id", "ok": {"kernel", "copies", "n_padded", "out", "error"}}, {"id", "wrong": numbers}
       or {"id", "unsupported": why}
  {"op":"calibrate", "id", "ms"} → {"id", "launches", "graph"}: how long a sample shall be
  {"op":"round", "id"}           → {"id", "us"}: one sample, microseconds a launch
  {"op":"release", "id"}         → {"id", "released": true}
  {"op":"ceilings"}              → {"copy_gbps", "copy_bytes", "matmul": {dtype: TFLOP/s}, "matmul_shape"}
  {"op":"quit"}                  → exit status 0, as at the end of stdin

What fails otherwise is {"error": why}, with the request's id. When an error has cost the process its
CUDA context, it answers {"error": why, "lost": true} and exits with status 4: a new child must be started.
So each peer has a child of its own, by --peers.

To add a rival, write a subclass of `Peer`, put it in PEERS, and name it in benches/src/peer.rs.
"""

import argparse
import ctypes
import gc
import itertools
import json
import math
import os
import platform
import re
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Callable

try:
    import torch
except Exception as why:  # also OSError and ValueError, where a CUDA library of the wheel is missing
    torch, NO_TORCH = None, f"no PyTorch: {why}"

TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "e4m3": "float8_e4m3fn", "s8": "int8", "s32": "int32"}
ROUNDING = {"f32": 2**-24, "f16": 2**-11, "bf16": 2**-8, "s32": 0.0}  # half a unit in the last place
PAIRS = [[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]]
MOST_COPIES, MOST_LAUNCHES, MOST_ALGORITHMS, SAMPLED = 64, 2000, 128, 64
MOST_PLAIN = 400  # without a graph: a stream's queue holds about a thousand kernels, some launches are two


def kind(name):
    return getattr(torch, TYPES[name])


def up(n, multiple):
    return -(-n // multiple) * multiple


def words(why):
    """An exception as one line; PyTorch's go on for pages."""
    return f"{type(why).__name__}: {(str(why).strip() or 'no message').splitlines()[0][:400]}"


def log(text):
    print(f"peers: {text}", file=sys.stderr, flush=True)


# ── Peers ───────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Way:
    """One way in which a peer can do a problem; `prepare` times all that a peer offers and keeps the best."""

    label: str
    out: str  # the type of Y
    pack: Callable  # W as the user has it → W as the peer wants it, once per weight and not timed
    run: Callable  # (X, packed W) → Y; this is timed


def unpacked(w):
    return w


class Peer:
    name: str
    weights = "dense"
    dtypes = ()

    def rows(self, dtype, n):
        """Numbers of rows of X to try, the least first; rows beyond n are zero."""
        return [n]

    def ways(self, dtype, x, w, search):
        """The ways to do X · Wᵀ, the library's own choice first; x and w are there to be tried on."""
        raise NotImplementedError


class Cublas(Peer):
    name = "cublas"
    dtypes = ("f16", "bf16", "s8", "e4m3")

    def rows(self, dtype, n):
        # _int_mm: "self.size(0) needs to be greater than 16"
        least = max(n, 17) if dtype == "s8" else n
        return sorted({least, up(least, 16), up(least, 32)})

    def ways(self, dtype, x, w, search):
        out = {"s8": "s32", "e4m3": "bf16"}.get(dtype, dtype)
        y = torch.empty((len(x), len(w)), dtype=kind(out), device=x.device)
        if dtype == "s8":
            yield Way("cuBLASLt _int_mm", out, unpacked, lambda x, w: torch._int_mm(x, w.t(), out=y))
        elif dtype == "e4m3":
            one = torch.ones((), device=x.device)

            # fast accumulation is what inference engines ask for; without it cuBLASLt is slower on Hopper
            def scaled(x, w):
                return torch._scaled_mm(x, w.t(), one, one, out_dtype=y.dtype, use_fast_accum=True, out=y)

            yield Way("cuBLASLt _scaled_mm, scales 1, fast accumulation", out, unpacked, scaled)
        else:
            # The two libraries choose kernels by different heuristics, and neither is always the faster.
            for library, label in (("cublas", "cuBLAS"), ("cublaslt", "cuBLASLt")):

                def mm(x, w, library=library):
                    torch.backends.cuda.preferred_blas_library(library)
                    return torch.mm(x, w.t(), out=y)

                yield Way(f"{label} mm, f32 sums", out, unpacked, mm)


class Cusparselt(Peer):
    """PyTorch's binding: compress once, then `_cslt_sparse_mm(compressed W, Xᵀ)`; transpose_result gives Y
    row-major as the others do. It has no out=; every launch's Y comes from the caching allocator."""

    name = "cusparselt"
    weights = "2:4"
    dtypes = ("f16", "bf16", "s8", "e4m3")
    # 8-bit inputs may have wider outputs, where the library has the kernel; others must not name a type
    outs = {"s8": ("s32", "bf16", "f16"), "e4m3": ("bf16", "f16")}

    def rows(self, dtype, n):
        # dense operands need 16-byte sides: 8 rows of 16 bits, 16 of 8 (cuSPARSELt's documentation)
        least = 16 if dtype in self.outs else 8
        return sorted({up(n, multiple) for multiple in (least, 16, 32)})

    def ways(self, dtype, x, w, search):
        packed, refused = torch._cslt_compress(w), None
        for out in self.outs.get(dtype, (dtype,)):
            named = kind(out) if dtype in self.outs else None
            try:
                torch._cslt_sparse_mm(packed, x.t(), out_dtype=named, transpose_result=True)
                break
            except RuntimeError as why:
                refused = why
        else:
            raise refused
        configs = [(0, 1, -1)]  # alg_id, split_k, split_k_mode: the defaults
        if search:
            # The library times its algorithms itself, on operands that a cache holds; so its choice is only
            # the first of the candidates here, with every algorithm and some splits of k after it. Modes:
            # 1 one kernel, 2 two kernels (cusparseLt.h). What it does not know, it refuses.
            alg, split, mode, algs = torch._C._cusparselt.mm_search(packed, x.t(), None, None, named, True)
            configs = [(alg, split, mode), *configs] + [(i, 1, -1) for i in range(min(algs, MOST_ALGORITHMS))]
            configs += [(alg, split, mode) for split in (2, 4, 8) for mode in (1, 2)]
        for alg, split, mode in dict.fromkeys(configs):

            def spmm(x, packed, alg=alg, split=split, mode=mode):
                return torch._cslt_sparse_mm(
                    packed, x.t(), out_dtype=named, transpose_result=True, alg_id=alg, split_k=split, split_k_mode=mode
                )

            yield Way(f"cuSPARSELt alg {alg} split_k {split} mode {mode}", out, torch._cslt_compress, spmm)


class Onednn(Peer):
    name = "onednn"
    dtypes = ("f32", "bf16", "f16")

    def ways(self, dtype, x, w, search):
        y = torch.empty((len(x), len(w)), dtype=x.dtype)
        yield Way("PyTorch mm", dtype, unpacked, lambda x, w: torch.mm(x, w.t(), out=y))
        # Weights in oneDNN's blocked layout, as torch.compile with freezing has them: up to twice as fast.
        onednn, rows = torch.ops.mkldnn, len(x)

        def prepack(w):
            return onednn._reorder_linear_weight(w, rows)

        run = lambda x, w: onednn._linear_pointwise(x, w, None, "none", [], "")
        yield Way("oneDNN, prepacked", dtype, prepack, run)


PEERS = {"cuda": (Cublas(), Cusparselt()), "cpu": (Onednn(),)}


# ── Devices: where it runs, and how it is timed ─────────────────────────────────────────────────────


class Cpu:
    name = "cpu"
    ceiling = {"bytes": 256 << 20, "side": 2048, "dtypes": ("f32", "bf16"), "peer": "onednn"}
    whole_cycles = False

    def kernel_says(self, what, pattern):
        """What Linux tells about the machine, or None, as elsewhere."""
        try:
            with open(f"/proc/{what}") as told:
                return re.search(pattern, told.read())[1]
        except (OSError, TypeError):
            return None

    def describe(self):
        model = self.kernel_says("cpuinfo", r"model name\s*:\s*(.+)") or platform.machine()
        onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
        return {"device": model, "cuda": None, "cublas": None, "cusparselt": None, "onednn": onednn and onednn[1]}

    def free_bytes(self):
        return int(self.kernel_says("meminfo", r"MemAvailable:\s*(\d+)") or 4 << 20) << 10

    def tidy(self):
        gc.collect()

    def record(self, calls, launches):
        return CpuSample(calls, launches)


class CpuSample:
    graph = False

    def __init__(self, calls, launches):
        self.calls, self.launches = itertools.cycle(calls), launches

    def __call__(self):
        start = time.perf_counter_ns()
        for call in itertools.islice(self.calls, self.launches):
            self.last = call()
        return (time.perf_counter_ns() - start) / 1e3


class Cuda:
    name = "cuda"
    ceiling = {"bytes": 4 << 30, "side": 8192, "dtypes": Cublas.dtypes, "peer": "cublas"}
    whole_cycles = True  # a graph starts at the first copy again, so it must have ended with the last

    def __init__(self):
        torch.cuda.set_stream(torch.cuda.Stream())  # the default stream cannot be captured
        # Sums in f32 throughout, as our kernels have them: no partial sums rounded to the output's type.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False

    def describe(self):
        sparse = torch.backends.cusparselt.version()  # 801 is 0.8.1
        sparse = sparse and f"{sparse // 1000}.{sparse // 100 % 10}.{sparse % 100}"
        try:  # PyTorch does not tell cuBLAS's version; the library, already loaded, does: major, minor, patch
            cublas, parts = ctypes.CDLL(f"libcublas.so.{torch.version.cuda.split('.')[0]}"), (ctypes.c_int * 3)()
            for which in range(3):
                cublas.cublasGetProperty(which, ctypes.byref(parts, 4 * which))
            cublas = ".".join(map(str, parts))
        except OSError:
            cublas = None
        name = torch.cuda.get_device_name()
        return {"device": name, "cuda": torch.version.cuda, "cublas": cublas, "cusparselt": sparse}

    def free_bytes(self):
        torch.cuda.empty_cache()  # what PyTorch holds back is free as well
        return torch.cuda.mem_get_info()[0]

    def tidy(self):
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()

    def record(self, calls, launches):
        """Launches in a graph, so that what Python and PyTorch cost a launch is not taken for the kernel's."""
        try:
            return CudaSample(calls, launches, graph=True)
        except RuntimeError as why:
            log(f"no graph, plain launches instead: {words(why)}")
            torch.cuda.synchronize()
            return CudaSample(calls, min(launches, max(len(calls), MOST_PLAIN)), graph=False)


class CudaSample:
    def __init__(self, calls, launches, graph):
        self.launches, self.graph = launches, graph
        self.start, self.stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))

        def submit():
            for call in itertools.islice(itertools.cycle(calls), launches):
                self.last = call()

        if graph:
            captured = torch.cuda.CUDAGraph()
            # relaxed: cuSPARSELt makes its plan anew at every launch and may allocate while it does
            captured.capture_begin(capture_error_mode="relaxed")
            try:
                submit()
            finally:
                captured.capture_end()
            self.submit = captured.replay
        else:
            self.submit = submit
        self.submit()
        torch.cuda.synchronize()
        begun = time.perf_counter()
        self.submit()
        # clock cycles that it takes to submit, with a margin; SMs run at about 2 GHz
        self.lead = int(min(2e9 * (1.5 * (time.perf_counter() - begun) + 20e-6), 4e8))
        torch.cuda.synchronize()

    def __call__(self):
        torch.cuda._sleep(self.lead)  # the GPU waits until all is queued, so it never waits in between
        self.start.record()
        self.submit()
        self.stop.record()
        self.stop.synchronize()
        return 1e3 * self.start.elapsed_time(self.stop)


# ── A problem, its copies, and the check of its answers ─────────────────────────────────────────────


def random(dtype, shape, seed, device, pruned=False, live=None):
    """Uniform in ±1, or −8…8; with 2:4 zeros if pruned, and zeros from row `live` on."""
    dice = torch.Generator(device).manual_seed(seed)
    if dtype == "s8":
        t = torch.randint(-8, 9, shape, generator=dice, dtype=torch.int8, device=device)
    else:
        t = torch.rand(shape, generator=dice, device=device).mul_(2).sub_(1)
    if pruned:  # a random pair of each four is kept; filled, not multiplied, for −0 might count as kept
        drop = torch.tensor(PAIRS, device=device) == 0
        choice = torch.randint(6, (shape[0], shape[1] // 4), generator=dice, device=device)
        t.masked_fill_(drop[choice].view(shape), 0)
    if live is not None:
        t[live:] = 0
    return t.to(kind(dtype))


class Copy:
    """One X and one W, and what a sample of their product must be, by float64."""

    def __init__(self, problem, index, rows):
        dtype, m, n, k = problem["dtype"], problem["m"], problem["n"], problem["k"]
        seed, device = 2 * (MOST_COPIES * problem["seed"] + index), problem["device"]
        self.w = random(dtype, (m, k), seed, device, problem["pruned"])
        self.x = random(dtype, (rows, k), seed + 1, device, live=n)
        dice = torch.Generator().manual_seed(seed)
        self.tokens = torch.randperm(n, generator=dice)[:SAMPLED].to(device)
        self.outputs = torch.randperm(m, generator=dice)[:SAMPLED].to(device)
        # row by row: indexing by a tensor need not exist for every type
        x, w = (
            torch.stack([source[i].float() for i in picked.tolist()]).double()
            for source, picked in ((self.x, self.tokens), (self.w, self.outputs))
        )
        self.want = x @ w.t()
        if dtype == "s8":
            self.sums = torch.full_like(self.want, 0.5)  # exact: 0.5 only so that there is something to divide by
        elif dtype == "e4m3":
            # Hopper keeps some 14 bits of a sum of 8-bit products (arXiv 2412.19437) and cuts off at every 32
            # of them, so k/32 steps of 2⁻¹³ of a sum that on average is half of its largest value; that is,
            # with random signs, within four standard deviations.
            self.sums = (k / 64 + 2) * 2**-13 * 4 * (x.square() @ w.square().t()).sqrt()
        else:
            # A tensor core adds 8 products or more at a time and cuts off, 2⁻²³ of a sum that on average is
            # half of Σ|x·w|: k/8 steps. A CPU adds singly and rounds: less than that, as errors of random signs.
            self.sums = (k / 8 + 8) * 2**-24 * (x.abs() @ w.abs().t())

    def check(self, y, out):
        """(largest error as a part of what is allowed, the numbers it comes from)"""
        got = y[self.tokens][:, self.outputs].double()
        allowed = self.sums + ROUNDING[out] * self.want.abs() + 2**-25  # and f16's subnormals
        part = ((got - self.want).abs() / allowed).nan_to_num(nan=math.inf)
        worst = int(part.argmax())
        i, j = divmod(worst, part.shape[1])
        return part.flatten()[worst].item(), (
            f"at token {self.tokens[i].item()}, output {self.outputs[j].item()}: got {got[i, j].item()!r}, "
            f"want {self.want[i, j].item()!r}, allowed ±{allowed[i, j].item():.3g}"
        )


class Wrong(Exception):
    pass


def verify(way, copy, y):
    """The largest error of an answer as a part of what is allowed; beyond 1, or NaN, the answer is wrong."""
    error, numbers = copy.check(y, way.out)
    if not error <= 1:
        raise Wrong(f"{way.label}: {error:.3g} of the error that is allowed, {numbers}")
    return error


class Job:
    """A problem with the peer's best way to do it."""

    def __init__(self, device, peer, problem):
        self.device, self.peer, self.sample = device, peer, None
        self.problem = problem | {"device": device.name, "pruned": peer.weights == "2:4"}
        m, k = problem["m"], problem["k"]
        if self.problem["pruned"] and k % 4:
            raise ValueError(f"2:4 needs k in fours, k is {k}")
        need, free = 8 * m * k, device.free_bytes()  # random numbers in f32, their choice of pairs, the result
        if need > free:
            raise MemoryError(f"to make W takes about {need >> 20} MiB, {free >> 20} MiB are free")
        refused = None
        for self.rows in peer.rows(problem["dtype"], problem["n"]):
            try:
                self.choose()
                break
            except torch.OutOfMemoryError:
                raise
            except Exception as why:
                refused = why.with_traceback(None)  # lets go of the tensors in its frames
        else:
            raise refused
        self.error = max(verify(self.way, copy, call()) for copy, call in zip(self.copies, self.calls))

    def choose(self):
        first = Copy(self.problem, 0, self.rows)
        best, packed_by, refused = None, None, None
        for way in self.peer.ways(self.problem["dtype"], first.x, first.w, self.problem["search"]):
            try:
                if way.pack is not packed_by:
                    copies, stored = self.build(way.pack)
                    packed_by = way.pack
                calls = [lambda x=c.x, w=w, run=way.run: run(x, w) for c, w in zip(copies, stored)]
                verify(way, copies[0], calls[0]())
                us = 0.0
                if self.problem["search"]:
                    sample = self.device.record(calls, len(calls))
                    us = min(sample() for _ in range(5))
            except Exception as why:
                if isinstance(why, Wrong):
                    log(f"passed over: {why}")
                refused = refused or why.with_traceback(None)
                continue
            if best is None or us < 0.98 * best:  # a tie goes to the library's own choice
                best, self.way, self.copies, self.calls = us, way, copies, calls
            if not self.problem["search"]:
                break
        if best is None:
            raise refused

    def build(self, pack):
        copies, stored, count = [], [], 1
        while len(copies) < count:
            copy = Copy(self.problem, len(copies), self.rows)
            packed = pack(copy.w)
            if not copies:  # bytes as stored; oneDNN's layout does not tell them, and does not add many
                each = copy.x.nbytes + (packed if packed.layout == torch.strided else copy.w).nbytes
                room = int(0.4 * self.device.free_bytes()) // each
                count = max(1, min(-(-self.problem["rotate_bytes"] // each), room, MOST_COPIES))
            del copy.w  # the packed one stays
            copies.append(copy)
            stored.append(packed)
        return copies, stored

    def calibrate(self, ms):
        copies = len(self.calls)
        trial = self.device.record(self.calls, copies)
        us = min(trial() for _ in range(3)) / copies
        launches = max(1, min(math.ceil(1e3 * ms / us), MOST_LAUNCHES))
        if self.device.whole_cycles:
            launches = max(copies, min(up(launches, copies), MOST_LAUNCHES // copies * copies))
            if not trial.graph:
                launches = min(launches, max(copies, MOST_PLAIN // copies * copies))
        sample = self.device.record(self.calls, launches)
        sample()
        verify(self.way, self.copies[(sample.launches - 1) % copies], sample.last)  # a graph must be right too
        self.sample = sample


# ── The conversation ────────────────────────────────────────────────────────────────────────────────


class Session:
    def __init__(self, device, peers):
        self.device, self.jobs = device, {}
        self.peers = {peer.name: peer for peer in peers}

    def hello(self):
        present, absent = [], []
        tiny = {"m": 128, "n": 32, "k": 128, "rotate_bytes": 0, "search": False, "seed": 1}
        for peer in self.peers.values():
            works = []
            for dtype in peer.dtypes:
                try:
                    Job(self.device, peer, tiny | {"dtype": dtype})
                    works.append(dtype)
                except Exception as why:
                    absent.append({"name": peer.name, "dtype": dtype, "why": words(why)})
                try:
                    self.device.tidy()
                except RuntimeError as why:
                    raise RuntimeError(f"{peer.name} {dtype} has broken the CUDA context: {why}; see --peers")
            if works:
                present.append({"name": peer.name, "weights": peer.weights, "dtypes": works})
        versions = {"python": platform.python_version(), "torch": torch.__version__, "threads": torch.get_num_threads()}
        return {"hello": versions | self.device.describe(), "peers": present, "absent": absent}

    def job(self, request):
        if request["id"] not in self.jobs:
            raise LookupError(f"no job {request['id']}; prepared: {sorted(self.jobs, key=str)}")
        return self.jobs[request["id"]]

    def prepare(self, request):
        self.jobs.pop(request["id"], None)
        problem = {key: request[key] for key in ("dtype", "m", "n", "k", "rotate_bytes", "search", "seed")}
        if min(problem["m"], problem["n"], problem["k"]) < 1:
            raise ValueError(f"an empty problem: {problem}")
        peer = self.peers.get(request["peer"])
        if peer is None or problem["dtype"] not in peer.dtypes:
            return {"unsupported": f"no peer {request['peer']} for {problem['dtype']}"}
        try:
            job = Job(self.device, peer, problem)
        except Wrong:
            raise
        except Exception as why:
            return {"unsupported": words(why)}
        self.jobs[request["id"]] = job
        ok = {"kernel": job.way.label, "copies": len(job.calls), "n_padded": job.rows}
        return {"ok": ok | {"out": job.way.out, "error": round(job.error, 4)}}

    def calibrate(self, request):
        job = self.job(request)
        job.calibrate(request["ms"])
        return {"launches": job.sample.launches, "graph": job.sample.graph}

    def round(self, request):
        job = self.job(request)
        if job.sample is None:
            raise LookupError(f"job {request['id']} has not been calibrated")
        return {"us": round(job.sample() / job.sample.launches, 4)}

    def release(self, request):
        self.job(request)
        del self.jobs[request["id"]]
        self.device.tidy()
        return {"released": True}

    def ceilings(self, request):
        ceiling, matmul = self.device.ceiling, {}
        side, peer = ceiling["side"], self.peers.get(ceiling["peer"])
        size = min(ceiling["bytes"], int(0.4 * self.device.free_bytes()))
        source, target = (torch.ones(size, dtype=torch.uint8, device=self.device.name) for _ in range(2))
        copy = self.device.record([lambda: target.copy_(source)], 1)
        gbps = 2 * size / statistics.median(copy() for _ in range(11)) / 1e3
        del source, target, copy
        self.device.tidy()
        for dtype in ceiling["dtypes"] if peer else ():
            problem = {"dtype": dtype, "m": side, "n": side, "k": side, "rotate_bytes": 0, "search": True, "seed": 1}
            try:
                job = Job(self.device, peer, problem)
                job.calibrate(20)
                us = statistics.median(job.sample() for _ in range(11)) / job.sample.launches
                matmul[dtype] = round(2 * side**3 / us / 1e6, 3)
            except Exception as why:
                log(f"no ceiling for {dtype}: {words(why)}")
            job = None
            self.device.tidy()
        return {"copy_gbps": round(gbps, 1), "copy_bytes": size, "matmul": matmul, "matmul_shape": [side] * 3}

    def answer(self, line):
        """The answer to a line; None to quit."""
        ops = (self.prepare, self.calibrate, self.round, self.release, self.ceilings)
        request = {}
        try:
            request = dict(json.loads(line))
            op = request.get("op")
            if op == "quit":
                return None
            handler = {handler.__name__: handler for handler in ops}.get(op)
            if handler is None:
                raise ValueError(f"no op {op!r}")
            body = handler(request)
        except KeyError as why:
            body = {"error": f"{op} lacks {why}"}
        except Wrong as why:
            body = {"wrong": str(why)}
        except Exception as why:
            body = {"error": words(why)}
        return ({"id": request["id"]} if "id" in request else {}) | body


def open_device(name):
    """The device, or why there is none."""
    if torch is None:
        return NO_TORCH
    if name == "cpu":
        return Cpu()
    if torch.version.cuda is None:
        return f"PyTorch {torch.__version__} is built without CUDA"
    try:
        torch.cuda.init()
        return Cuda()
    except Exception as why:
        return f"no GPU: {words(why)}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=tuple(PEERS), required=True)
    parser.add_argument("--threads", type=int, help="PyTorch's CPU threads (default: its own choice)")
    parser.add_argument("--peers", help="only these, separated by commas")
    options = parser.parse_args()
    # The answers get a descriptor of their own, and what libraries print to stdout goes to stderr.
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer):
        print(json.dumps(answer, ensure_ascii=False, allow_nan=False), file=stdout, flush=True)

    device = open_device(options.device)
    if isinstance(device, str):
        say({"unavailable": device})
        return 3
    torch.set_grad_enabled(False)
    if options.threads:
        torch.set_num_threads(options.threads)
    only = options.peers.split(",") if options.peers else [peer.name for peer in PEERS[options.device]]
    session = Session(device, [peer for peer in PEERS[options.device] if peer.name in only])
    try:
        say(session.hello())
    except RuntimeError as why:
        say({"unavailable": words(why)})
        return 3
    for line in sys.stdin:
        if not line.strip():
            continue
        answer = session.answer(line)
        if answer is None:
            break
        if "ok" not in answer and "us" not in answer:
            try:
                device.tidy()
            except RuntimeError as why:
                say(answer | {"error": f"the CUDA context is lost: {words(why)}", "lost": True})
                return 4
        say(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
