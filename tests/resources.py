#!/usr/bin/env python3
"""Compiles every kernel file with nvcc for sm_80 and sm_90, with the host code that launches it, and tabulates what ptxas says of
registers, shared memory and spills.

  tests/resources.py            all files; writes the table into core/cuda/README.md; exit 1 on a warning or what is not allowed
  tests/resources.py --check    the same without writing
  tests/resources.py ops/softmax/softmax_cuda.cu ...

A row is a kernel; where it is compiled for several dtypes, the row holds the largest figure. More than ALLOWED_SPILL bytes of
spills or ALLOWED_FRAME of a thread's stack (where its local arrays are) is an error, as is a warning. The
conformance kernels of tests/core/cuda are compiled like the others but have no rows. Blocks per SM are by arithmetic on registers
alone (65536 a SM, 8-register granularity, 128 threads a block).
Exit status 77 without nvcc.
"""
import concurrent.futures, os, re, shutil, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "core/cuda/README.md"
BEGIN, END = "<!-- kernel resources -->", "<!-- end of kernel resources -->"
# Bytes of spill stores and loads. In some variants of 16-bit dtypes ptxas by itself puts up to two registers of 4 bytes aside,
# stored once and read once, to end at a number of registers (32, 40, 128) beyond which an SM holds fewer warps. More is a mistake.
ALLOWED_SPILL = 16
ALLOWED_FRAME = 32768
# Objects, not -cubin: the host's side is to compile too.
FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "--extended-lambda", "-Werror", "all-warnings", "-Xptxas", "-v",
         "-Xcompiler", "-Wall,-Wextra,-Wno-unknown-pragmas", "-I", str(ROOT), "-c", "-o", os.devnull]


def kernel_name(mangled):
    """The kernel's own name and its element type, from a demangled signature."""
    text = subprocess.run(["c++filt", mangled], capture_output=True, text=True).stdout
    match = re.search(r"(\w+)(?:<.*)?\(", re.sub(r"\(anonymous namespace\)::", "", text))
    return match[1] if match else mangled


def compile_one(nvcc, file, arch):
    command = [nvcc, f"-arch=sm_{arch}", *FLAGS, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        return file, arch, {}, done.stderr
    rows, name, frame, spill = {}, None, 0, 0
    for line in done.stderr.splitlines():
        if m := re.search(r"Compiling entry function '(\S+)'", line):
            name = kernel_name(m[1])
        elif m := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            frame, spill = int(m[1]), int(m[2]) + int(m[3])
        elif (m := re.search(r"Used (\d+) registers", line)) and name:
            shared = re.search(r"(\d+) bytes smem", line)
            row = rows.setdefault(name, [0, 0, 0, 0, 0])
            row[0] = max(row[0], int(m[1]))
            row[1] = max(row[1], int(shared[1]) if shared else 0)
            row[2] = max(row[2], spill)
            row[3] += 1
            row[4] = max(row[4], frame)
            name = None
    return file, arch, rows, ""


def main():
    nvcc = shutil.which("nvcc") or "/usr/local/cuda/bin/nvcc"
    if not Path(nvcc).exists():
        print("resources: no nvcc here; nothing was compiled")
        return 77
    named = [Path(f).resolve() for f in sys.argv[1:] if f != "--check"]
    globs = ("core/kernels/*.cu", "ops/*/*.cu", "tests/core/cuda/conformance_*.cu")
    files = named or [file for glob in globs for file in sorted(ROOT.glob(glob))]
    table, bad = {}, []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_one, nvcc, f, a) for f in files for a in (80, 90)]
        for job in concurrent.futures.as_completed(jobs):
            file, arch, rows, errors = job.result()
            name = file.relative_to(ROOT)
            print(f"{name} sm_{arch}: {len(rows)} kernels" + (" FAILED" if errors else ""), flush=True)
            if errors:
                bad.append(f"{name} sm_{arch}: {errors}")
            for kernel, row in rows.items():
                if not str(name).startswith("tests/"):
                    table.setdefault((str(name), kernel), {})[arch] = row
                if row[4] > ALLOWED_FRAME:
                    bad.append(f"{name} sm_{arch}: {kernel} has {row[4]} bytes of stack")
                if row[2] > ALLOWED_SPILL:
                    bad.append(f"{name} sm_{arch}: {kernel} spills {row[2]} bytes")
    lines = ["| file | kernel | dtypes | sm_80: registers, shared, spill | sm_90: registers, shared, spill | blocks/SM (sm_90) |",
             "| --- | --- | --- | --- | --- | --- |"]
    for (file, kernel), row in sorted(table.items()):
        cells = [f"{r[0]}, {r[1]}, {r[2]}" if (r := row.get(a)) else "-" for a in (80, 90)]
        last = row.get(90) or row[80]
        blocks = min(16, 65536 // (128 * ((last[0] + 7) // 8 * 8)))
        lines.append(f"| {file} | {kernel} | {last[3]} | {cells[0]} | {cells[1]} | {blocks} |")
    if len(sys.argv) == 1:
        text = README.read_text()
        head, rest = text.split(BEGIN)
        README.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1])
    elif named:
        print("\n".join(lines))
    print("\n".join(bad) or f"{len(table)} kernels, no warnings, no spills above {ALLOWED_SPILL} bytes")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
