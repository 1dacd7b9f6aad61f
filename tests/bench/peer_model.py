"""PyTorch's side of `vitrine bench train` and `vitrine bench infer`: DeiT as timm writes it, image RPE as its authors do.

Without RPE attention is tried as scaled_dot_product_attention and spelled out, as two products and a softmax (in bf16 on a CPU
often the faster one). With RPE the logits are needed, so it is spelled out: on q and k a product with the buckets' vectors,
then a look-up by bucket; on v a product with the vectors gathered into [N, N, d]. For the look-up two forms are tried, the
authors' indexing and torch.gather. Every form is tried eager and under torch.compile; the fastest that runs is kept.

bf16: for inference weights and input are bf16; training runs under autocast with f32 weights.
"""
import ctypes
import gc
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Tables(nn.Module):
    """The vectors or biases of one of q, k, v; two tables for cross."""

    def __init__(self, names_and_shapes):
        super().__init__()
        self.names = [name for name, _ in names_and_shapes]
        for name, shape in names_and_shapes:
            module = self
            *path, leaf = name.split(".")
            for part in path:
                module.add_module(part, nn.Module())
                module = getattr(module, part)
            module.register_parameter(leaf, nn.Parameter(torch.zeros(shape)))

    def all(self):
        return [self.get_parameter(name) for name in self.names]


class Attention(nn.Module):
    def __init__(self, dim, heads, tables, ids, bias):
        super().__init__()
        self.heads, self.ids, self.bias = heads, ids, bias
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        for side, names_and_shapes in tables.items():
            self.add_module("rpe_" + side, Tables(names_and_shapes))
        self.form = "sdpa"  # or spelled, indexing, gather

    def look_up(self, x, table, ids):
        """[B, H, N, N]: entry i, j is x_i . table[:, ids_ij], or the bias of that bucket."""
        if self.bias:
            return table[:, ids].unsqueeze(0)
        z = x @ table
        b, h, n, buckets = z.shape
        if self.form == "gather":
            return torch.gather(z, 3, ids.expand(b, h, n, n))
        flat = ids + torch.arange(n).unsqueeze(1) * buckets
        return z.flatten(2)[:, :, flat.flatten()].view(b, h, n, n)

    def spelled(self, q, k, v):
        q = q * q.shape[-1] ** -0.5
        logits = q @ k.transpose(-2, -1)
        if hasattr(self, "rpe_k"):
            for table, ids in zip(self.rpe_k.all(), self.ids):
                logits = logits + self.look_up(q, table, ids)
        if hasattr(self, "rpe_q"):
            for table, ids in zip(self.rpe_q.all(), self.ids):
                logits = logits + self.look_up(k * q.shape[-1] ** -0.5, table, ids).transpose(-2, -1)
        p = logits.softmax(-1).to(v.dtype)
        out = p @ v
        if hasattr(self, "rpe_v"):
            b, h, n, d = out.shape
            for table, ids in zip(self.rpe_v.all(), self.ids):
                dense = table[:, ids].to(v.dtype)  # [1 or H, N, N, d]
                if len(table) == 1:  # for each query, all images and heads times [N, d]
                    term = p.permute(2, 0, 1, 3).reshape(n, b * h, n) @ dense[0]
                    out = out + term.view(n, b, h, d).permute(1, 2, 0, 3)
                else:
                    term = p.permute(1, 2, 0, 3) @ dense
                    out = out + term.permute(2, 0, 1, 3)
        return out

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v) if self.form == "sdpa" else self.spelled(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


class Block(nn.Module):
    def __init__(self, dim, hidden, attention):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, hidden), "fc2": nn.Linear(hidden, dim)})

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class DeiT(nn.Module):
    def __init__(self, c, weights, ids):
        super().__init__()
        dim = c["dim"]
        for name in ("cls_token", "dist_token", "pos_embed"):
            if name in weights:
                self.register_parameter(name, nn.Parameter(torch.zeros_like(weights[name])))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(c["channels"], dim, c["patch_size"], c["patch_size"])})

        def attention(i):
            tables = {}
            for side in "qkv":
                start = f"blocks.{i}.attn.rpe_{side}."
                found = [(name[len(start):], t.shape) for name, t in weights.items() if name.startswith(start)]
                if found:
                    tables[side] = found
            return Attention(dim, c["heads"], tables, ids, c["rpe_bias"])

        self.blocks = nn.ModuleList(Block(dim, c["hidden"], attention(i)) for i in range(c["depth"]))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, c["num_classes"])
        if "head_dist.weight" in weights:
            self.head_dist = nn.Linear(dim, c["num_classes"])
        self.load_state_dict(weights)

    def forward(self, images):
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        tokens = [t.expand(len(x), -1, -1) for t in (self.cls_token, getattr(self, "dist_token", None)) if t is not None]
        x = torch.cat([*tokens, x], 1)
        if hasattr(self, "pos_embed"):
            x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        y = self.head(x[:, 0])
        return (y + self.head_dist(x[:, 1])) / 2 if hasattr(self, "head_dist") else y


def resident(key):
    """Bytes of a line of /proc/self/status."""
    with open("/proc/self/status") as f:
        return next(1024 * int(line.split()[1]) for line in f if line.startswith(key))


def peak_growth(call):
    """By how many bytes this process grows at most while `call` runs, all free memory having been given back before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")  # the peak begins again from here
    before = resident("VmRSS")
    call()
    return max(resident("VmHWM") - before, 0)


class ModelWork:
    """A model with one batch: a training step or an inference. `how` names the fastest of the forms that run."""

    def __init__(self, request, tensors):
        prefix = "weight."
        weights = {name[len(prefix):]: t for name, t in tensors.items() if name.startswith(prefix)}
        ids = [tensors[f"ids.{i}"].long() for i in range(sum(name.startswith("ids.") for name in tensors))]
        self.device, self.training = request["device"], request["training"]
        self.bf16 = request["precision"] == "bf16"
        self.model = DeiT(request["config"], weights, [i.to(self.device) for i in ids]).to(self.device)
        self.images, self.targets = tensors["images"].to(self.device), tensors["targets"].long().to(self.device)
        if self.bf16 and not self.training:
            self.model, self.images = self.model.to(torch.bfloat16), self.images.to(torch.bfloat16)
        self.forms = {}
        for form in ("sdpa", "spelled") if not ids else ("indexing",) if request["config"]["rpe_bias"] else ("indexing", "gather"):
            self.forms["eager " + form] = (form, self.model)
            if request["compile"]:
                self.forms["compiled " + form] = (form, torch.compile(self.model, dynamic=False))
        self.how, self.tried = None, {}  # tried: milliseconds of each form, or why it does not run
        if self.training:
            free = set(request["no_decay"])
            groups = [{"params": [p for n, p in self.model.named_parameters() if (n in free) == is_free],
                       "weight_decay": 0.0 if is_free else request["weight_decay"]} for is_free in (True, False)]
            self.optimizer = torch.optim.AdamW(groups, lr=request["lr"], fused=True)
        else:
            self.model.eval()

    def gradients(self):
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16):
            logits = self.run(self.images)
        self.model.zero_grad(set_to_none=True)
        F.cross_entropy(logits.float(), self.targets).backward()
        return logits

    def step(self):
        self.gradients()
        self.optimizer.step()

    def infer(self):
        with torch.inference_mode():
            return self.run(self.images)

    def use(self, how):
        form, self.run = self.forms[how]
        for block in self.model.blocks:
            block.attn.form = form
        self.how = how

    def call(self):
        return self.step if self.training else self.infer

    def choose(self):
        """Keeps the fastest form by the best of 3 calls; gradients stand in for a step, so that weights stay."""
        times = {}
        for how in self.forms:
            try:
                self.use(how)
                trial = self.gradients if self.training else self.infer
                trial()
                seconds = []
                for _ in range(3):
                    begin = time.perf_counter()
                    trial()
                    seconds.append(time.perf_counter() - begin)
                times[how] = min(seconds)
            except Exception as e:  # torch.compile raises many kinds
                self.tried[how] = f"{type(e).__name__}: {e}".splitlines()[0][:200]
        if not times:
            raise RuntimeError(str(self.tried))
        self.tried.update({how: round(1e3 * s, 3) for how, s in times.items()})
        self.use(min(times, key=times.get))

    def outputs(self):
        """Logits, and in training the gradient of every parameter, by name."""
        if self.how is None:
            self.choose()
        if not self.training:
            return {"logits": self.infer().float()}
        tensors = {"logits": self.gradients().float()}
        tensors.update({"grad." + n: p.grad for n, p in self.model.named_parameters()})
        return tensors
