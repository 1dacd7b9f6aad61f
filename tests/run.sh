#!/usr/bin/env bash
# Installs what is missing (Debian, Ubuntu), builds, and runs the tests.
#
#   tests/run.sh               the presets release, asan and check, as CI does
#   tests/run.sh release tsan  only these presets
#   tests/run.sh slow          the cases tagged [slow] of the release build, which the presets leave out
#   tests/run.sh resources     what nvcc says of the kernels (no GPU needed)
#
# Build folders: build (release), build-asan, build-check, ... The last line counts the tests of all presets.
set -euo pipefail
cd "$(dirname "$0")/.."

. apps/packages.sh
install_packages "${build_packages[@]}" catch2 || echo "Going on with what is there."

jobs=$(nproc)
passed=0 failed=0 skipped=0 broken=0
objects=""  # where release was built: the other presets take from there what they would compile in the same way
build_preset() {  # sets `folder`
  local preset=$1 log
  folder=build
  if [ "$preset" != release ]; then folder=build-$preset; fi
  echo "== $preset: building in $folder"
  local cuda=OFF  # the cuda device has a script of its own, tests/gpu.sh
  mkdir -p "$folder"
  log=$folder/build.log
  cmake -S . -B "$folder" -G Ninja -DVITRINE_PRESET="$preset" -DVITRINE_CUDA=$cuda -DVITRINE_TESTS=ON \
    -DVITRINE_OBJECTS="$objects" >"$log" 2>&1 || { cat "$log"; return 1; }
  cmake --build "$folder" -j "$jobs" >>"$log" 2>&1 || { grep -E "error|FAILED" "$log" | head -40; return 1; }
  if [ "$preset" = release ]; then objects=$PWD/build; fi
}
run_slow() {
  local folder total fails log=build/slow.log
  build_preset release || return 1
  echo "== slow: testing"
  local start=$SECONDS
  build/vitrine_tests "[slow]" --durations yes >"$log" 2>&1 || cat "$log"
  total=$(sed -nE 's/^All tests passed .* in ([0-9]+) test cases?\)$|^test cases: +([0-9]+) .*/\1\2/p' "$log")
  fails=$(sed -nE 's/^test cases: .* ([0-9]+) failed.*/\1/p' "$log")
  echo "== slow: ${total:-0} tests, ${fails:-0} failed, $((SECONDS - start)) s"
  if [ -z "$total" ]; then return 1; fi
  passed=$((passed + total - fails)) failed=$((failed + fails))
}
run_preset() {
  local preset=$1 folder log
  build_preset "$preset" || return 1
  echo "== $preset: testing"
  log=$folder/ctest.log
  local start=$SECONDS
  (cd "$folder" && ctest -j "$jobs" --output-on-failure) >"$log" 2>&1 || true
  grep -E "\*\*\*(Failed|Timeout|Exception)|FAILED:|tests passed" "$log" | sort | uniq -c | sort -rn | head -40 || true
  local total fails skips
  total=$(sed -nE 's/.* out of ([0-9]+)$/\1/p' "$log")
  fails=$(sed -nE 's/.*, ([0-9]+) tests? failed out of .*/\1/p' "$log")
  skips=$(grep -c '\*\*\*Skipped' "$log" || true)
  echo "== $preset: ${total:-0} tests, ${fails:-0} failed, $skips skipped, $((SECONDS - start)) s"
  if [ -z "$total" ]; then tail -20 "$log"; return 1; fi
  passed=$((passed + total - fails - skips)) failed=$((failed + fails)) skipped=$((skipped + skips))
}

# What nvcc says of the kernels, no GPU needed: one more test, skipped where there is no nvcc.
check_resources() {
  echo "== kernel resources"
  mkdir -p build
  local log=build/resources.log start=$SECONDS status=77
  if command -v python3 >/dev/null; then
    status=0
    python3 tests/resources.py --check >"$log" 2>&1 || status=$?
  fi
  case $status in
    0) passed=$((passed + 1)) && tail -1 "$log" ;;
    77) skipped=$((skipped + 1)) && echo "skipped: no nvcc (or no python3) here" ;;
    *) failed=$((failed + 1)) && tail -40 "$log" ;;
  esac
  echo "== kernel resources: $((SECONDS - start)) s"
}

if [ $# -eq 0 ]; then set -- release asan check; fi
for preset in "$@"; do
  case $preset in
    resources) check_resources ;;
    slow) run_slow || broken=$((broken + 1)) ;;
    *) run_preset "$preset" || broken=$((broken + 1)) ;;
  esac
done
echo "$passed passed, $((failed + broken)) failed, $skipped skipped"
[ $((failed + broken)) -eq 0 ]
