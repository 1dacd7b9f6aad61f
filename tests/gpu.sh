#!/usr/bin/env bash
# The truth from a GPU, in one run of at most ten minutes on a machine without network:
#   1 build for the GPU that is there        2 conformance: each instruction wrapper, emulated against real, bit for bit
#   3 the op sweep: cuda against f64 on the cpu and against emulated
#   4 compute-sanitizer over every kernel at small shapes
#   5 vitrine bench ops beside PyTorch       6 one table
#
#   tests/gpu.sh bundle    on a machine with the packages of tests/run.sh: copies headers, oneDNN and zlib to tests/.bundle
#   tests/gpu.sh           on the machine with the GPU (nvcc, cmake and g++ needed; tests/.bundle used if it is there)
#
# Exit status: 0 all passed, 1 something failed or was not run for want of time, 77 there is no GPU here.
# Results: build-gpu/results/{report.md,*.log,bench.json}. VITRINE_GPU_SECONDS (default 560) is the time it may take.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
bundle=$PWD/tests/.bundle

make_bundle() {
  rm -rf "$bundle" && mkdir -p "$bundle/include" "$bundle/lib"
  cp -r /usr/include/CLI /usr/include/toml++ /usr/include/nlohmann /usr/include/catch2 /usr/include/stb "$bundle/include/"
  cp -rL /usr/include/dnnl*.h* /usr/include/oneapi "$bundle/include/" 2>/dev/null || cp -rL /usr/include/dnnl*.h* "$bundle/include/"
  local library
  library=$(ls /usr/lib/*/libdnnl.so | head -1)
  cp -L "$library" "$bundle/lib/$(objdump -p "$library" | sed -n 's/^ *SONAME *//p')"
  ln -sf "$(ls "$bundle/lib" | head -1)" "$bundle/lib/libdnnl.so"
  cp -L /usr/include/zlib.h "$(ls /usr/include/*/zconf.h /usr/include/zconf.h 2>/dev/null | head -1)" "$bundle/include/"
  cp -L "$(ls /usr/lib/*/libz.so | head -1)" "$bundle/lib/libz.so.1"
  ln -sf libz.so.1 "$bundle/lib/libz.so"
  if ls /usr/lib/*/libCatch2.a >/dev/null 2>&1; then cp -L /usr/lib/*/libCatch2.a "$bundle/lib/"; fi  # Catch2 from version 3 on
  du -sh "$bundle"
}
if [ "${1:-}" = bundle ]; then make_bundle; exit; fi

if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "gpu.sh: no GPU on this machine; nothing was run"
  exit 77
fi

deadline=$((SECONDS + ${VITRINE_GPU_SECONDS:-560}))
build=$PWD/build-gpu results=$PWD/build-gpu/results
mkdir -p "$results"
: >"$results/rows"
failures=0
# step NAME SECONDS COMMAND...: runs it under a limit, logs it, notes a row for the table.
step() {
  local name=$1 limit=$2 start=$SECONDS left=$((deadline - SECONDS)) status=0
  shift 2
  if [ $left -lt 10 ]; then
    echo "| $name | FAILED (not run: out of time) | 0 |" >>"$results/rows"
    echo "== $name: not run: out of time"
    failures=$((failures + 1))
    return
  fi
  timeout $((left < limit ? left : limit)) "$@" >"$results/$name.log" 2>&1 || status=$?
  if [ $status -eq 0 ] && grep -qE "^SKIPPED: |^No test cases matched" "$results/$name.log"; then status=77; fi
  local verdict=passed
  if [ $status -ne 0 ]; then verdict="FAILED ($status)"; failures=$((failures + 1)); fi
  if [ $status -eq 124 ]; then verdict="FAILED (out of time)"; fi
  if [ $status -eq 77 ]; then verdict="FAILED (skipped tests)"; fi
  echo "| $name | $verdict | $((SECONDS - start)) |" >>"$results/rows"
  echo "== $name: $verdict, $((SECONDS - start)) s"
  if [ $status -ne 0 ]; then grep -E "error|FAILED|Error|explicitly|SKIPPED" -A3 "$results/$name.log" | head -60; tail -5 "$results/$name.log"; fi
}

configure_and_build() {
  local capability prefix=()
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -1 | tr -d .)
  if [ -d "$bundle" ]; then prefix=(-DCMAKE_PREFIX_PATH="$bundle" -DCMAKE_BUILD_RPATH="$bundle/lib"); fi
  cmake -S . -B "$build" -G "$(command -v ninja >/dev/null && echo Ninja || echo 'Unix Makefiles')" -DVITRINE_CUDA=ON \
    -DVITRINE_CUDA_ARCHITECTURES="$capability" -DVITRINE_WERROR=OFF "${prefix[@]}" &&
    cmake --build "$build" -j "$(nproc)"
}
export -f configure_and_build
export bundle build
step build 420 bash -c configure_and_build
if [ -x "$build/vitrine_tests" ]; then
  step conformance 60 "$build/vitrine_tests" "conformance*"
  step sweep 200 "$build/vitrine_tests" "*cuda*" -s
  # Small shapes only: the sanitizer slows kernels down by an order of magnitude.
  for tool in memcheck racecheck initcheck synccheck; do
    step "sanitizer_$tool" 60 env VITRINE_SWEEP_SMALL=1 compute-sanitizer --tool "$tool" --error-exitcode 9 --launch-timeout 60 \
      "$build/vitrine_tests" "sweep 4*cuda*"
  done
  peer=()
  if python3 -c "import torch" 2>/dev/null; then peer=(--peer "$(command -v python3)"); fi
  step bench 150 "$build/vitrine" bench ops --device cuda --markdown "$results/bench.md" "${peer[@]}"
  step bench_train 60 "$build/vitrine" bench train --device cuda --model deit_small_patch16_224 --batch-size 64 --rpe none \
    --markdown "$results/train.md" "${peer[@]}"
  step bench_graph 60 "$build/vitrine" bench train --device cuda --model deit_small_patch16_224 --batch-size 64 --rpe none \
    --graph --markdown "$results/graph.md" "${peer[@]}"
fi

{
  echo "# GPU run, $(date -u +%F)"
  echo
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,memory.total --format=csv,noheader
  nvcc --version | sed -n 's/.*release/nvcc/p'
  echo
  echo "| step | result | seconds |"
  echo "| --- | --- | --- |"
  cat "$results/rows"
  echo
  grep -h -E "test cases:|All tests passed|ERROR SUMMARY" "$results"/*.log | sort | uniq -c
  for table in bench train graph; do
    if [ -f "$results/$table.md" ]; then cat "$results/$table.md"; fi
  done
} >"$results/report.md"
cat "$results/report.md"
[ $failures -eq 0 ]
