#!/bin/sh
# Checks that kernel files keep to the dialect of core/cuda/README.md.
#
#   lint_kernels.sh DIRECTORY...   prints file:line: reason for each violation in a .cu file below, and fails if there is one
#   lint_kernels.sh --self-test    proves that each rule catches a line which breaks it, and lets a sound file pass

lint() {
  find "$@" -name '*.cu' -not -path '*/build*' | sort | while read -r file; do
    awk -v file="$file" '
      function report(reason) { print file ":" NR ": " reason; }
      # Whether `name` occurs in the line as a whole word followed by `tail`.
      function has(name, tail) { return match(" " line, "[^A-Za-z0-9_]" name tail); }
      function count(pattern,   copy) { copy = line; return gsub(pattern, "", copy); }
      {
        line = $0;
        gsub(/\\./, "", line);
        gsub(/"[^"]*"/, "\"\"", line);
        if (in_comment) {
          if (!sub(/^.*\*\//, "", line)) next;
          in_comment = 0;
        }
        gsub(/\/\*[^*]*\*\//, "", line);
        sub(/\/\/.*/, "", line);
        if (sub(/\/\*.*/, "", line)) in_comment = 1;

        # Inside a function of the device: from the keyword to the brace that closes its body.
        if (has("(__global__|__device__)", "[^A-Za-z0-9_]") && depth == 0) device = 1;
        if (has("__global__", "[^A-Za-z0-9_]")) kernels = 1;
        if (line ~ /namespace \{/) anonymous = 1;
        inside = device;
        if (device) {
          opened = count("[{]"); depth += opened - count("[}]");
          if (opened) body = 1;
          if ((body && depth <= 0) || (!body && line ~ /;/)) { device = 0; body = 0; depth = 0; }
        }

        if (line ~ /<<</) report("<<<>>>: start kernels with cuda::launch");
        if (has("cudaLaunch[A-Za-z]*", "")) report("cudaLaunch: start kernels with cuda::launch");
        if (has("__shared__", "")) report("__shared__: use VITRINE_SHARED or VITRINE_SHARED_DYNAMIC");
        if (has("(__)?asm(__)?", "[^A-Za-z0-9_]")) report("asm: instructions are wrapped in core/cuda/instructions.h");
        if (has("__(shfl|shfl_up|shfl_down|shfl_xor|ballot|any|all)", "[ ]*[(]")) report("collective without a mask: use the _sync form");
        if (has("__activemask", "")) report("__activemask: name the lanes");
        if (has("atomicAdd(_block|_system)?", "[ ]*[(].*([^A-Za-z0-9_](float|double)[^A-Za-z0-9_]|[0-9][.]|[.][0-9])"))
          report("atomicAdd of a float: add in a fixed order");
        if (inside && has("(memcpy|memset|memmove)", "[ ]*[(]")) report("memcpy in a kernel: use cuda::load4 and the like");
        if (has("__threadfence[a-z_]*", "")) report("__threadfence: use a second kernel");
        if (has("cooperative_groups", "")) report("cooperative groups: use the _sync collectives");
        if (has("wmma", "") || has("nvcuda", "")) report("wmma: use mma_m16n8k16");
        if (count("__syncthreads[a-z_]*[ ]*[(]") + count("block_reduce[ ]*<") > 1) report("two barriers on one line");
        if (has("__CUDACC__", "") || has("__CUDA_ARCH__", "")) report("one text for both compilers: no test of the compiler");
      }
      END { if (kernels && !anonymous) { NR = 1; report("kernels outside of an anonymous namespace"); } }
    ' "$file"
  done
}

self_test() {
  directory=$(mktemp -d) || exit 1
  trap 'rm -rf "$directory"' EXIT
  failures=0
  expect() {  # expect WORD LINE: the line, as line 4 of a kernel, is reported with WORD
    printf 'namespace {\n__global__ void k(int* p) {\n  int x = 0;\n%s\n}\n}\n' "$2" > "$directory/bad.cu"
    found=$(lint "$directory")
    case $found in
      "$directory/bad.cu:4: "*"$1"*) ;;
      *) echo "not caught: $2 (said: $found)"; failures=$((failures + 1)) ;;
    esac
  }
  expect 'cuda::launch' '  k<<<1, 32>>>(p);'
  expect 'cuda::launch' '  cudaLaunchKernel(k, 1, 1, args);'
  expect 'VITRINE_SHARED' '  __shared__ float tile[32];'
  expect 'VITRINE_SHARED' '  extern __shared__ float tile[];'
  expect 'asm' '  asm volatile("nop;");'
  expect 'asm' '  __asm__("nop;");'
  expect 'without a mask' '  x = __shfl_down(x, 1);'
  expect 'without a mask' '  x = __ballot(x);'
  expect '__activemask' '  unsigned m = __activemask();'
  expect 'fixed order' '  atomicAdd(q, 1.0f);'
  expect 'fixed order' '  atomicAdd((float*)p, x);'
  expect 'memcpy' '  memcpy(&x, p, 4);'
  expect '__threadfence' '  __threadfence();'
  expect '__threadfence' '  __threadfence_block();'
  expect 'cooperative' '  auto b = cooperative_groups::this_thread_block();'
  expect 'wmma' '  nvcuda::wmma::mma_sync(d, a, b, c);'
  expect 'two barriers' '  __syncthreads(); x = p[1]; __syncthreads();'
  expect 'no test of' '#if defined(__CUDACC__)'
  cat > "$directory/bad.cu" <<'SOUND'
// __shared__ and asm may be spoken of; so may "<<<" in a string.
namespace {
/* memcpy(
   __threadfence */
__global__ void k(int* p) {
  VITRINE_SHARED(int, tile, [32]);
  tile[threadIdx.x] = __shfl_xor_sync(~0u, p[0], 1);
  __syncthreads();
  if (tile[0]) { atomicAdd(p, 1); }
  const char* text = "<<<";
}
void host(int* a, const int* b) { memcpy(a, b, 4); }
}
SOUND
  found=$(lint "$directory")
  if [ -n "$found" ]; then echo "a sound file is reported: $found"; failures=$((failures + 1)); fi
  printf '__global__ void k() {}\n' > "$directory/bad.cu"
  case $(lint "$directory") in *anonymous*) ;; *) echo "not caught: no anonymous namespace"; failures=$((failures + 1)) ;; esac
  [ "$failures" -eq 0 ] && echo "lint_kernels: every rule catches its line"
  return "$failures"
}

if [ "$1" = --self-test ]; then
  self_test
  exit
fi
[ $# -gt 0 ] || { echo "usage: lint_kernels.sh DIRECTORY... | --self-test"; exit 2; }
found=$(lint "$@")
if [ -n "$found" ]; then
  printf '%s\n' "$found"
  exit 1
fi
echo "lint_kernels: no violations"
