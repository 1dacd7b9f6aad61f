"""PyTorch's side of `vitrine bench --peer PYTHON`: the same op on the same tensors with the same number of threads.

Run by the program as `python peer_torch.py THREADS`. Each line of stdin is a request in JSON, each line of stdout its
answer; {"error": text} says what went wrong. Needs torch and nothing else.

  hello                                          -> {"name", "details"}
  load op attributes file inputs wanted cotangents device -> {"known"}   the op to run and its tensors, by name in a file
  run backward file                              -> {"how"}    one call; writes out.N and grad.N
  time backward budget_ms                        -> {"ms"}     of one call, median
  chain steps x a b backward device              -> {"ms", "y", "dx", "da", "db"}
  adamw shapes start gradient lr weight_decay steps device -> {"value"}  a parameter after so many steps
  adamw_time budget_ms                           -> {"ms"}     of one step
  model config file precision training compile device no_decay lr weight_decay -> {}   a model, its weights and a batch (peer_model.py)
  model_run file                                 -> {"how", "forms"}   one call; writes logits and grad.NAME
  model_time budget_ms                           -> {"ms"}     of a training step or an inference
  model_memory                                   -> {"bytes"}  by which one such call makes this process grow at most
"""
import json
import math
import os
import statistics
import struct
import sys
import time

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 1
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(THREADS)  # before torch starts its pools

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import peer_model  # noqa: E402

torch.set_num_threads(THREADS)
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False

# --- safetensors ------------------------------------------------------------------------------------------------------
DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16,
          "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8, "BOOL": torch.bool}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read_safetensors(path):
    with open(path, "rb") as f:
        (length,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(length))
        data = bytearray(f.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        flat = torch.frombuffer(data[begin:end], dtype=dtype) if end > begin else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def write_safetensors(path, tensors):
    header, blobs, at = {}, [], 0
    for name, t in tensors.items():
        t = t.detach().cpu().contiguous()
        blob = t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


# --- The ops: name -> function(tensors, attributes), or a dict of such functions of which the fastest is kept ---------
def elementwise(f):
    return lambda t, a: f(*t)


def sdpa(backend):
    def run(t, a):
        q, k, v, bias, mask = (list(t) + [None, None])[:5]
        if mask is not None:
            bias = mask if bias is None else bias.masked_fill(~mask, -math.inf)
        with torch.nn.attention.sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=a.get("scale"))
    return run


def attention():
    from torch.nn.attention import SDPBackend as B
    return {name: sdpa(getattr(B, backend)) for name, backend in
            [("flash", "FLASH_ATTENTION"), ("efficient", "EFFICIENT_ATTENTION"), ("cudnn", "CUDNN_ATTENTION"),
             ("math", "MATH")] if hasattr(B, backend)}


def layer_norm(x, weight, bias, a):
    return F.layer_norm(x, x.shape[-1:], weight, bias, a.get("eps", 1e-6))


def add_layer_norm(t, a):
    total = t[0] + t[1]
    return [total, layer_norm(total, t[2], t[3], a)]


def interpolate(t, a):
    extra = {} if a["mode"] == "nearest" else {"align_corners": False, "antialias": a.get("antialias", False)}
    return F.interpolate(t[0], size=(a["height"], a["width"]), mode=a["mode"], **extra)


def cross_entropy(t, a):
    weight = t[2] if len(t) > 2 else None
    logits = t[0].float()  # as autocast does; our losses are f32 too
    target = t[1].to(logits.dtype) if t[1].is_floating_point() else t[1].long()
    return F.cross_entropy(logits.flatten(0, -2), target.flatten(0, 0 if target.dim() < 2 else -2), weight,
                           ignore_index=a.get("ignore_index", -100), reduction=a.get("reduction", "mean"),
                           label_smoothing=a.get("label_smoothing", 0.0))


def embedding(t, a):
    weight, ids = t if t[0].is_floating_point() else reversed(t)
    return F.embedding(ids, weight)


def patchify(t, a):
    b, c, h, w = t[0].shape
    s = a["size"]
    x = t[0].reshape(b, c, h // s, s, w // s, s).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(b, (h // s) * (w // s), c * s * s)


def patch_embed(t, a):
    return F.conv2d(t[0], t[1], t[2], stride=t[1].shape[-1]).flatten(2).transpose(1, 2)


def depthwise_conv2d(t, a):
    return F.conv2d(t[0], t[1], t[2], padding=t[1].shape[-1] // 2, groups=t[1].shape[0])


def pad(t, a):
    widths = a["widths"]  # [before, after] of each dim, the first dim first; torch begins with the last
    pairs = [widths[i:i + 2] for i in range(0, len(widths), 2)]
    return F.pad(t[0], [n for pair in reversed(pairs) for n in pair], value=a.get("value", 0))


def reduce(f):
    def run(t, a):
        dims = a.get("dims") or list(range(t[0].dim()))
        return f(t[0], dim=dims, keepdim=a.get("keepdim", False))
    return run


OPS = {
    "softmax": lambda t, a: F.softmax(t[0], a["dim"]),
    "log_softmax": lambda t, a: F.log_softmax(t[0], a["dim"]),
    "linear": lambda t, a: F.linear(*t),
    "matmul": elementwise(torch.matmul),
    "layer_norm": lambda t, a: layer_norm(*(list(t) + [None, None])[:3], a),
    "add_layer_norm": add_layer_norm,
    "attention": attention,
    "cross_entropy": cross_entropy,
    "interpolate": interpolate,
    "embedding": embedding,
    "patchify": patchify,
    "patch_embed": patch_embed,
    "depthwise_conv2d": depthwise_conv2d,
    "pad": pad,
    "gelu": elementwise(F.gelu),
    "gelu_tanh": lambda t, a: F.gelu(t[0], approximate="tanh"),
    "bias_gelu": lambda t, a: F.gelu(t[0] + t[1]),
    "relu": elementwise(F.relu),
    "silu": elementwise(F.silu),
    "softplus": elementwise(F.softplus),
    "contiguous": lambda t, a: t[0].clone(memory_format=torch.contiguous_format),
    "clone": elementwise(torch.clone),
    "where": elementwise(torch.where),
    "concat": lambda t, a: torch.cat([x for x in t if x is not None], a["dim"]),
    "stack": lambda t, a: torch.stack([x for x in t if x is not None], a["dim"]),
    "sum": reduce(torch.sum),
    "mean": reduce(torch.mean),
    "var": lambda t, a: reduce(lambda x, **k: torch.var(x, correction=a.get("correction", 1), **k))(t, a),
}
for _name in ("neg abs exp log log1p sqrt rsqrt reciprocal square sin cos tanh sigmoid erf "
              "add sub mul div pow maximum minimum").split():
    OPS[_name] = elementwise(getattr(torch, _name))


# --- Running and timing ----------------------------------------------------------------------------------------------
class Work:
    """One op on its tensors; `how` names the implementation that was fastest, where there is a choice."""

    def __init__(self, request):
        self.device = request["device"]
        tensors = read_safetensors(request["file"])
        get = lambda name: None if name is None else tensors[name].to(self.device)  # noqa: E731
        self.inputs = [get(name) for name in request["inputs"]]
        self.wanted = request["wanted"]
        self.cotangents = [get(name) for name in request["cotangents"]]
        self.attributes = request["attributes"]
        for t, wanted in zip(self.inputs, self.wanted):
            if wanted:
                t.requires_grad_()
        op = OPS.get(request["op"])
        self.choices = op() if op is attention else {"": op}
        self.chosen = {}

    def outputs(self, f):
        y = f(self.inputs, self.attributes)
        return list(y) if isinstance(y, (list, tuple)) else [y]

    def forward(self, f):
        with torch.no_grad():
            return self.outputs(f), []

    def both(self, f):
        ys = self.outputs(f)
        pairs = [(y, c) for y, c in zip(ys, self.cotangents) if c is not None and y.requires_grad]
        leaves = [t for t, wanted in zip(self.inputs, self.wanted) if wanted]
        grads = torch.autograd.grad([y for y, _ in pairs], leaves, [c for _, c in pairs], allow_unused=True)
        return ys, [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, grads)]

    def call(self, backward):
        """The pass to time, on the fastest implementation that runs."""
        run = self.both if backward else self.forward
        if backward not in self.chosen:
            times, failures = {}, []
            for how, f in self.choices.items():
                try:
                    run(f)
                    times[how] = time_calls(lambda: run(f), self.device, 20) if len(self.choices) > 1 else 0
                except (RuntimeError, TypeError) as e:
                    failures.append(str(e).splitlines()[0])
            if not times:
                raise RuntimeError("; ".join(failures))
            self.chosen[backward] = min(times, key=times.get)
        f = self.choices[self.chosen[backward]]
        return lambda: run(f)


def time_calls(call, device, budget_ms):
    """As time_calls in apps/bench/timing.h: median of single calls on the CPU, one batch between events on a GPU."""
    if device != "cpu":
        call()
        torch.cuda.synchronize()
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record(), call(), end.record()
        torch.cuda.synchronize()
        calls = min(max(int(budget_ms / max(start.elapsed_time(end), 1e-4)), 3), 20000)
        start.record()
        for _ in range(calls):
            call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / calls
    clock = time.perf_counter
    begin = clock()
    call()
    once = (clock() - begin) * 1e3
    if once > budget_ms:
        return once
    times, begin = [], clock()
    while len(times) < 20000 and (len(times) < 3 or (clock() - begin) * 1e3 < budget_ms):
        before = clock()
        call()
        times.append((clock() - before) * 1e3)
    return statistics.median(times)


def chain(request):
    device, steps, backward = request["device"], request["steps"], request["backward"]
    x0, a, b = (torch.tensor(request[k], dtype=torch.float32, device=device, requires_grad=backward) for k in "xab")
    begin = time.perf_counter()
    x = x0
    with torch.set_grad_enabled(backward):
        for _ in range(steps):
            x = x * a + b
    if backward:
        x.backward()
    if device != "cpu":
        torch.cuda.synchronize()
    ms = (time.perf_counter() - begin) * 1e3
    grad = lambda t: t.grad.item() if backward else 0.0  # noqa: E731
    return {"ms": ms, "y": x.item(), "dx": grad(x0), "da": grad(a), "db": grad(b)}


class AdamW:
    """The fused optimizer on parameters that all begin with one value and always see one gradient."""

    def __init__(self, request):
        self.device = request["device"]
        new = lambda shape, value: torch.full(shape, value, dtype=torch.float32, device=self.device)  # noqa: E731
        params = [torch.nn.Parameter(new(shape, request["start"])) for shape in request["shapes"]]
        for p in params:
            p.grad = new(p.shape, request["gradient"])
        self.optimizer = torch.optim.AdamW(params, lr=request["lr"], weight_decay=request["weight_decay"], fused=True)
        for _ in range(request["steps"]):
            self.optimizer.step()
        self.value = params[0].flatten()[0].item()


def hello(_):
    capability = torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else "?"
    details = f"Python {sys.version.split()[0]}, {torch.get_num_threads()} threads, CPU capability {capability}, oneDNN {torch.backends.mkldnn.is_available()}"
    if torch.cuda.is_available():
        details += f", {torch.cuda.get_device_name()}, CUDA {torch.version.cuda}"
    return {"name": "torch " + torch.__version__, "details": details}


class Session:
    work = model = None

    def load(self, request):
        known = request["op"] in OPS
        self.work = Work(request) if known else None
        return {"known": known}

    def run(self, request):
        outputs, grads = self.work.call(request["backward"])()
        tensors = {f"out.{i}": y for i, y in enumerate(outputs)}
        places = [i for i, wanted in enumerate(self.work.wanted) if wanted]
        tensors.update({f"grad.{i}": g for i, g in zip(places, grads)})
        write_safetensors(request["file"], tensors)
        return {"how": self.work.chosen[request["backward"]]}

    def start_adamw(self, request):
        self.adamw = AdamW(request)
        return {"value": self.adamw.value}

    def time_adamw(self, request):
        return {"ms": time_calls(self.adamw.optimizer.step, self.adamw.device, request["budget_ms"])}

    def start_model(self, request):
        self.model = None  # its memory first
        self.model = peer_model.ModelWork(request, read_safetensors(request["file"]))
        return {}

    def run_model(self, request):
        write_safetensors(request["file"], self.model.outputs())
        return {"how": self.model.how, "forms": self.model.tried}

    def time_model(self, request):
        return {"ms": time_calls(self.model.call(), self.model.device, request["budget_ms"])}

    def measure_model(self, _):
        return {"bytes": peer_model.peak_growth(self.model.call())}

    def time(self, request):
        return {"ms": time_calls(self.work.call(request["backward"]), self.work.device, request["budget_ms"])}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints goes to stderr
    session = Session()
    commands = {"hello": hello, "load": session.load, "run": session.run, "time": session.time, "chain": chain,
                "adamw": session.start_adamw, "adamw_time": session.time_adamw, "model": session.start_model,
                "model_run": session.run_model, "model_time": session.time_model, "model_memory": session.measure_model}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = commands[request["cmd"]](request)
        except Exception as e:  # the program reports it and goes on
            answer = {"error": f"{request.get('op', request['cmd'])}: {type(e).__name__}: {e}".splitlines()[0]}
        if any(isinstance(v, float) and not math.isfinite(v) for v in answer.values()):
            answer = {"error": "a number that is not finite"}
        print(json.dumps(answer), file=answers, flush=True)


main()
