#!/usr/bin/env bash
# Installs what is missing (Debian, Ubuntu), builds, and runs every test.
#
#   tests/run.sh               the presets release, asan and check, as CI does
#   tests/run.sh release       only these presets
#
# Build folders: build (release), build-asan, build-check, ... The last line counts the tests of all presets.
set -euo pipefail
cd "$(dirname "$0")/.."

. apps/packages.sh
install_packages "${build_packages[@]}" catch2 || echo "Going on with what is there."

jobs=$(nproc)
passed=0 failed=0 skipped=0 broken=0
objects=""  # where release was built: the other presets take from there what they would compile in the same way
run_preset() {
  local preset=$1 folder=build log
  if [ "$preset" != release ]; then folder=build-$preset; fi
  echo "== $preset: building in $folder"
  local cuda=OFF  # the cuda device has a script of its own, tests/gpu.sh
  mkdir -p "$folder"
  log=$folder/build.log
  cmake -S . -B "$folder" -G Ninja -DVITRINE_PRESET="$preset" -DVITRINE_CUDA=$cuda -DVITRINE_TESTS=ON \
    -DVITRINE_OBJECTS="$objects" >"$log" 2>&1 || { cat "$log"; return 1; }
  cmake --build "$folder" -j "$jobs" >>"$log" 2>&1 || { grep -E "error|FAILED" "$log" | head -40; return 1; }
  if [ "$preset" = release ]; then objects=$PWD/build; fi
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

if [ $# -eq 0 ]; then set -- release asan check; fi
for preset in "$@"; do
  run_preset "$preset" || broken=$((broken + 1))
done
echo "$passed passed, $((failed + broken)) failed, $skipped skipped"
[ $((failed + broken)) -eq 0 ]
