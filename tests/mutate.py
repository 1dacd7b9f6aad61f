#!/usr/bin/env python3
"""Mutation testing: breaks the code on purpose and requires that a test goes red.

  vjps      every gradient of every op, times 3 and times 1.001, one input at a time. Done inside the test program on
            the finished tape (tests/support/evaluate.h), so nothing is rebuilt.
  barriers  every __syncthreads, __syncwarp and cp_async_wait of every kernel file is removed in turn.
  bounds    comparisons of device code are shifted by one: `<` to `<=`, `>=` to `>`. A file with more than --bounds of them
            is sampled: the same ones in every run, chosen by its name.

A broken kernel file is compiled alone into a small shared object and preloaded: its Bind objects take the slots over from
those of the library. A mutant is killed if the release sweep (agreement with the CPU in every dtype, several orders of threads,
other memory layouts), the check flavour (race and bounds checker) or a build that traps overruns of local arrays fails.

  tests/mutate.py --build build --check-build build-check            everything; resumes where it was stopped
  tests/mutate.py --build build --ops softmax,layer_norm --bounds 20
  tests/mutate.py --report-only

Results go to the JSON file (--json) after every mutant, by the text of the broken file, so that a later run tries only what
changed; at the end they are a table in tests/README.md.
"""
import argparse, hashlib, json, os, random, re, shlex, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BARRIER = re.compile(r"(?:cuda::)?(?:__syncthreads\(\)|__syncwarp\([^()]*\)|cp_async_wait(?:_all)?(?:<[^<>]*>)?\([^()]*\))")
BOUND = re.compile(r"(?<=[\w)\]]) (<|>=) (?=[\w(])")
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)
ATOMIC = re.compile(r"\batomic[A-Z]\w*\(")
DEVICE_FUNCTION = re.compile(r"__global__|__device__|VITRINE_HD")
RELEASE_TESTS = ["sweep 4 emulated*", "sweep 10 emulated*", "sweep 5 emulated*"]
CHECK_TESTS = ["sweep 4 emulated*", "sweep 5 emulated*"]


def device_lines(lines):
    """Numbers of the lines inside device functions: from the keyword to the closing brace in the first column."""
    inside, result = False, set()
    for i, line in enumerate(lines):
        inside = inside or bool(DEVICE_FUNCTION.search(line))
        if inside and not line.lstrip().startswith("//"):
            result.add(i)
        if line.startswith("}"):
            inside = False
    return result


def mutants_of(path, bounds):
    """(kind, line number, shown change, new text of the file) for each mutant of a kernel file."""
    text = path.read_text()
    lines = text.split("\n")
    device = device_lines(lines)
    result, shifts = [], []

    def changed(i, begin, end, new):
        line = lines[i][:begin] + new + lines[i][end:]
        return "\n".join(lines[:i] + [line] + lines[i + 1:])

    for i in sorted(device):
        code = lines[i].split("//")[0]
        for m in BARRIER.finditer(code):
            result.append(("barrier", i + 1, f"without `{m[0]}`", changed(i, m.start(), m.end(), "((void)0)")))
        for m in BOUND.finditer(code):
            new = {"<": "<=", ">=": ">"}[m[1]]
            around = code[max(0, m.start() - 18):m.end() + 18].strip()
            shown = f"`{m[1]}` to `{new}` in `{around}`"
            shifts.append(("bound", i + 1, shown, changed(i, m.start(1), m.end(1), new)))
    random.Random(str(path.name)).shuffle(shifts)
    return result + sorted(shifts[:bounds], key=lambda s: s[1])


class Flavour:
    """A build folder: compiles mutants as it compiles kernels, and runs its tests on them."""

    def __init__(self, name, build, tests, scratch, extra=()):
        self.build, self.tests, self.scratch = Path(build).resolve(), tests, scratch
        self.name, self.extra = name, extra
        self.commands = {}
        for entry in json.loads((self.build / "compile_commands.json").read_text()):
            if entry["file"].endswith(".cu") and "nvcc" not in entry["command"]:
                self.commands[str(Path(entry["file"]).resolve().relative_to(ROOT))] = shlex.split(entry["command"])
        self.baseline = {}

    def compile(self, command_of, name, text):
        """A shared object of kernel file `command_of` in which the file `name` reads `text`; None if it does not compile."""
        shadow = self.scratch / "shadow"
        subprocess.run(["rm", "-rf", str(shadow)], check=True)
        (shadow / name).parent.mkdir(parents=True)
        (shadow / name).write_text(text)
        source = shadow / name if name == command_of else ROOT / command_of
        words = [w for w in self.commands[command_of] if not w.startswith("-Werror") and "ccache" not in w]
        words[words.index("-o") + 1] = str(self.scratch / "mutant.o")
        words[words.index("-c") + 1] = str(source)
        for flag in ("-MF", "-MT"):
            if flag in words:
                words[words.index(flag) + 1] = str(self.scratch / "mutant.d")
        words[1:1] = [f"-I{shadow}", "-w", *self.extra]
        if subprocess.run(words, cwd=self.build, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            return None
        library = self.scratch / "mutant.so"
        subprocess.run(["g++", "-shared", "-o", str(library), str(self.scratch / "mutant.o"), f"-L{self.build}",
                        "-lvitrine"], check=True)
        return library

    def run(self, library, ops, tests, limit):
        """Whether the tests pass."""
        env = dict(os.environ, LD_PRELOAD=str(library), VITRINE_SWEEP_OPS=",".join(ops), OMP_NUM_THREADS="1")
        env["LD_LIBRARY_PATH"] = str(self.build)
        try:
            done = subprocess.run([str(self.build / "vitrine_tests"), ",".join(tests), "-a"], env=env,
                                  cwd=self.build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit)
        except subprocess.TimeoutExpired:
            return False
        if b"No test cases matched" in done.stdout or b"selects no op" in done.stdout:
            sys.exit(f"{self.build}: no tests for {ops}")
        return done.returncode == 0

    def trusted(self, command_of, name, ops):
        """The unbroken file, compiled and preloaded in the same way, must pass; remembers how long it takes."""
        key = (command_of, name)
        if key not in self.baseline:
            library = self.compile(command_of, name, (ROOT / name).read_text())
            begin = time.time()
            passes = library is not None and self.run(library, ops, self.tests, 600)
            self.baseline[key] = 10 + 10 * (time.time() - begin) if passes else None
        return self.baseline[key]

    def killed_by(self, command_of, name, ops, text):
        """The name of the first test that fails, "" if none does, None if the mutant does not compile."""
        library = self.compile(command_of, name, text)
        if library is None:
            return None
        for test in self.tests:
            if not self.run(library, ops, [test], self.baseline[(command_of, name)]):
                return test
        return ""


def included(file):
    """The headers of this repository that a file includes, or their headers, and so on."""
    found, left = set(), [file]
    while left:
        for header in INCLUDE.findall((ROOT / left.pop()).read_text()):
            if header not in found and (ROOT / header).exists():
                found.add(header)
                left.append(header)
    return found


def kernel_files(flavour, wanted):
    """(file to break, kernel file to compile, ops to run) for each kernel file, and for the shared device headers."""
    result = []
    for file in sorted(flavour.commands):
        folder = Path(file).parent.name
        ops = ["core"] if folder == "kernels" else [folder]
        if file.startswith("tests/"):
            continue
        if not wanted or folder in wanted or ("core" in wanted and folder == "kernels"):
            result.append((file, file, ops))
    for path in sorted(ROOT.glob("ops/*/*_cuda.h")):  # device code that several kernel files share
        header, folder = str(path.relative_to(ROOT)), path.parent.name
        own = [f for f in sorted(flavour.commands) if f.startswith(f"ops/{folder}/")]
        user = next((f for f in own if header in included(f)), f"ops/{folder}/{folder}_cuda.cu")
        if (not wanted or folder in wanted) and DEVICE_FUNCTION.search(path.read_text()) and user in own:
            result.append((header, user, [folder]))
    if not wanted or "core" in wanted:
        kernels = (str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("core/kernels/*_cuda.h")))
        for header in ("core/cuda/reduce.h", "core/cuda/vector.h", "core/cuda/elementwise.h", "core/strided.h", *kernels):
            users = [f for f in flavour.commands if f.startswith("ops/") and header in (ROOT / f).read_text()]
            # layer_norm reduces twice in a row, which reuses the scratch array; otherwise the quickest to compile.
            users.sort(key=lambda f: ("layer_norm" not in f, (ROOT / f).stat().st_size))
            if users:
                result.append((header, users[0], [Path(users[0]).parent.name]))
    return result


def falsified_vjps(build, ops):
    env = dict(os.environ)
    if ops:
        env["VITRINE_SWEEP_OPS"] = ",".join(ops)
    done = subprocess.run([str(Path(build).resolve() / "vitrine_tests"), "list falsified vjps"], env=env,
                          stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def percent(part, whole):
    return f"{part} of {whole}" + (f" ({100 * part / whole:.1f} %)" if whole else "")


def report(results):
    """The Markdown between the markers of tests/README.md."""
    vjps, kernels = results.get("vjps", {}), results.get("kernels", {})
    out = []
    flat = [m for op in vjps.values() for m in op]
    out.append(f"Falsified gradients noticed: {percent(sum(m['noticed'] for m in flat), len(flat))}, "
               f"of {len(vjps)} ops that record a node of their own.\n")
    groups = {}  # (noticed, tried) -> ops
    for op, ms in sorted(vjps.items()):
        groups.setdefault((sum(m["noticed"] for m in ms), len(ms)), []).append(op)
    out.append("| noticed per op | ops |\n|---|---|")
    out += [f"| {noticed} of {tried} | {', '.join(ops)} |" for (noticed, tried), ops in sorted(groups.items())]
    for m in (m for m in flat if not m["noticed"]):
        out.append(f"- survivor: {m['op']}, node {m['node']}, input {m['input']}, times {m['factor']}")
    files = sorted({m["file"] for m in kernels.values()})
    bounds = {f: sum(kind == "bound" for kind, *_ in mutants_of(ROOT / f, 10**6)) for f in files}
    atomics = sum(len(ATOMIC.findall((ROOT / f).read_text())) for f in files)
    for kind, title in (("barrier", "Removed barriers"), ("bound", "Shifted bounds")):
        ms = [m for m in kernels.values() if m["kind"] == kind and m["killed_by"] is not None]
        out.append(f"\n{title} noticed: {percent(sum(bool(m['killed_by']) for m in ms), len(ms))}.")
    tried = sum(m["kind"] == "bound" for m in kernels.values())
    out.append(f"These bounds are {tried} of the {sum(bounds.values())} in these files; the others were not tried.\n")
    out.append(f"Atomic operations in these files, to be turned into `+=`: {atomics}.")
    out.append("\n| file | mutants | bounds tried | by comparison | by order | by checker | by array bounds | survivors |\n"
               "|---|---|---|---|---|---|---|---|")
    for file in files:
        ms = [m for m in kernels.values() if m["file"] == file and m["killed_by"] is not None]
        by = lambda word: sum(bool(m["killed_by"]) and word in m["killed_by"] for m in ms)
        left = [f"line {m['line']}: {m['change']}" for m in ms if not m["killed_by"]]
        shifted = sum(m["kind"] == "bound" for m in ms)
        out.append(f"| {file} | {len(ms)} | {shifted} of {bounds[file]} | {by('release: sweep 4') + by('release: sweep 5')} | {by('release: sweep 10')} | {by('check:')} | "
                   f"{by('bounds:')} | "
                   + ("; ".join(left).replace("|", "\\|") or "none") + " |")
    readme = ROOT / "tests" / "README.md"
    begin, end = "<!-- mutation results -->", "<!-- end of mutation results -->"
    text = readme.read_text()
    before, rest = text.split(begin)
    readme.write_text(before + begin + "\n" + "\n".join(out) + "\n" + end + rest.split(end)[1])
    print("\n".join(out))


def save(path, results):
    part = path.with_name(path.name + ".tmp")
    part.write_text(json.dumps(results, indent=1) + "\n")
    part.replace(path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default="build", help="a release build")
    p.add_argument("--check-build", help="a build with VITRINE_PRESET=check, tried on what survives")
    p.add_argument("--ops", default="", help="folders under ops/ (or core), separated by commas")
    p.add_argument("--bounds", type=int, default=6, help="shifted bounds per file")
    p.add_argument("--minutes", type=float, default=1e9, help="stop starting mutants after this time")
    p.add_argument("--json", type=Path, default=ROOT / "tests" / "mutation.json")
    p.add_argument("--report-only", action="store_true")
    a = p.parse_args()
    results = json.loads(a.json.read_text()) if a.json.exists() else {"vjps": {}, "kernels": {}}
    if a.report_only:
        return report(results)
    stop = time.time() + 60 * a.minutes
    ops = [o for o in a.ops.split(",") if o]

    found = falsified_vjps(a.build, ops)
    for op in {m["op"] for m in found}:
        results["vjps"][op] = [m for m in found if m["op"] == op]
    save(a.json, results)
    print(f"vjps: {sum(m['noticed'] for m in found)} of {len(found)} falsifications noticed", flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        flavours = [Flavour("release", a.build, RELEASE_TESTS, Path(scratch))]
        if a.check_build:
            flavours.append(Flavour("check", a.check_build, CHECK_TESTS, Path(scratch)))
        # Overruns of local arrays trap; this needs no runtime, so the release build serves.
        flavours.append(Flavour("bounds", a.build, CHECK_TESTS, Path(scratch),
                                ["-fsanitize=bounds", "-fsanitize-undefined-trap-on-error"]))
        for name, command_of, run_ops in kernel_files(flavours[0], ops):
            for kind, line, change, text in mutants_of(ROOT / name, a.bounds):
                key = hashlib.sha256(f"{name}\0{text}".encode()).hexdigest()[:16]
                old = results["kernels"].get(key)
                tried = old["survived"] if old else []
                if old and (old["killed_by"] or all(f.name in tried for f in flavours)):
                    continue
                if time.time() > stop:
                    break
                killed, survived = "", list(tried)
                for flavour in flavours:
                    if flavour.name in survived:
                        continue
                    if flavour.trusted(command_of, name, run_ops) is None:
                        print(f"{name}: its tests fail in {flavour.name} before anything is broken", flush=True)
                        killed = None
                        break
                    by = flavour.killed_by(command_of, name, run_ops, text)
                    killed = None if by is None else by and f"{flavour.name}: {by}"
                    if killed or killed is None:
                        break
                    survived.append(flavour.name)
                print(f"{name}:{line}: {kind} {change}: "
                      + ("invalid" if killed is None else killed or "SURVIVED"), flush=True)
                if killed is None and not survived:
                    continue
                results["kernels"][key] = {"file": name, "line": line, "kind": kind, "change": change,
                                           "killed_by": killed or "", "survived": survived}
                save(a.json, results)
        # Mutants of text that no longer exists say nothing.
        alive = {hashlib.sha256(f"{n}\0{t}".encode()).hexdigest()[:16]
                 for n in {m["file"] for m in results["kernels"].values()} if (ROOT / n).exists()
                 for _, _, _, t in mutants_of(ROOT / n, 10**6)}
        results["kernels"] = {k: m for k, m in results["kernels"].items() if k in alive}
        save(a.json, results)
    report(results)


main()
