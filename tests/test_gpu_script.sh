#!/usr/bin/env bash
# gpu.sh without a GPU: its steps, limits and exit status, with stand-ins for the tools and programs that it runs.
set -uo pipefail
script=$(cd "$(dirname "$0")" && pwd)/gpu.sh
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/bin" "$folder/tests"
cp "$script" "$folder/tests/gpu.sh"

# tool NAME: a stand-in that does what stands on the standard input
tool() { { echo '#!/bin/sh'; cat; } >"$folder/bin/$1" && chmod +x "$folder/bin/$1"; }
tool nvcc <<<'echo "Cuda compilation tools, release 0.0"'
tool python3 <<<'exit 1'  # no peer to bench against
tool compute-sanitizer <<'TOOL'
while [ "${1#--}" != "$1" ]; do if [ "$1" = --tool ]; then checked=$2; fi; shift 2; done
checked=$checked exec "$@"
TOOL
tool cmake <<'TOOL'
mkdir -p build-gpu
printf '#!/bin/sh\necho "small=$VITRINE_SWEEP_SMALL checked=$checked $*" >>calls\n[ -z "$SAYS" ] || echo "$SAYS"\ncase "$checked $*" in $FAILS) exit 1 ;; esac\n' >build-gpu/vitrine_tests
cp build-gpu/vitrine_tests build-gpu/vitrine
chmod +x build-gpu/vitrine build-gpu/vitrine_tests
TOOL

failures=0
# expect STATUS TEXT [VARIABLE=VALUE...]: the script's exit status, and what its output has in it
expect() {
  local wanted=$1 text=$2 status=0
  shift 2
  rm -rf "$folder/build-gpu" "$folder/calls"
  (cd "$folder" && env PATH="$folder/bin:$PATH" FAILS=none "$@" bash tests/gpu.sh) >"$folder/output" 2>&1 || status=$?
  if [ $status -ne "$wanted" ] || ! grep -qF -- "$text" "$folder/output"; then
    echo "expected status $wanted and \"$text\" of: $*; got $status and:"
    cat "$folder/output"
    failures=$((failures + 1))
  fi
}
# expect_call TEXT: what the run before called
expect_call() { grep -qxF -- "$1" "$folder/calls" || { echo "not called: $1"; cat "$folder/calls"; failures=$((failures + 1)); }; }

tool nvidia-smi <<<'exit 9'
expect 77 "no GPU on this machine"
tool nvidia-smi <<<'case $1 in -L) echo "GPU 0: stand-in" ;; *compute_cap*) echo 9.0 ;; esac'
expect 0 "| bench_graph | passed |"
expect_call "small= checked= conformance*"
expect_call "small= checked= *cuda* -s"
for checked in memcheck racecheck initcheck synccheck; do expect_call "small=1 checked=$checked sweep 4*cuda*"; done
expect 1 "| sanitizer_racecheck | FAILED (1) |" "FAILS=racecheck*"
expect 1 "| bench | FAILED (1) |" "FAILS=*bench ops*"
expect 1 "| build | FAILED (not run: out of time) |" VITRINE_GPU_SECONDS=0
expect 1 "| sweep | FAILED (skipped tests) |" "SAYS=SKIPPED: no cuda device here"
expect 1 "| conformance | FAILED (skipped tests) |" "SAYS=No test cases matched 'conformance*'"
tool cmake <<<'exit 2'
expect 1 "| build | FAILED (2) |"
[ $failures -eq 0 ] && echo "gpu.sh: every exit status is as it says"
exit $failures
