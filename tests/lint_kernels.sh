#!/bin/sh
# Checks that device code keeps to the dialect of core/cuda/README.md: kernel files, the headers of ops and of core/kernels, and
# those of core/cuda that are written in the dialect (the others make it).
#
#   lint_kernels.sh DIRECTORY...   prints file:line: reason for each violation in such a file below, and fails if there is one
#   lint_kernels.sh --self-test    proves that each rule catches a line which breaks it, and lets a sound file pass
#
# It reads lines, so it does not see: recursion through a second function, virtual functions declared elsewhere, and arrays whose
# sizes are names (for those tests/resources.py asks nvcc how much stack a kernel takes).

lint() {
  find "$@" -not -path '*/build*' \( -name '*.cu' -o -path '*ops/*.h' -o -path '*core/kernels/*.h' \
    -o -path '*core/cuda/elementwise.h' -o -path '*core/cuda/math.h' -o -path '*core/cuda/reduce.h' \) |
    sort | while read -r file; do
    awk -v file="$file" '
      function report(reason) { print file ":" NR ": " reason; }
      # Whether `name` occurs in the line as a whole word followed by `tail`.
      function has(name, tail) { return match(" " line, "[^A-Za-z0-9_]" name tail); }
      function count(pattern,   copy) { copy = line; return gsub(pattern, "", copy); }
      # Notes the names declared in the line with a floating type, or with T or A, which may be one.
      function note_floats(  rest) {
        rest = line;
        while (match(rest, "(^|[^A-Za-z0-9_])(float|double|bf16|f16|half|T|A)[*&, ]+[A-Za-z_][A-Za-z0-9_]*")) {
          name = substr(rest, RSTART, RLENGTH);
          rest = substr(rest, RSTART + RLENGTH);
          sub(/.*[^A-Za-z0-9_]/, "", name);
          floats[name] = 1;
        }
      }
      # Whether the arguments of an atomic operation name a float.
      function float_atomic(  rest) {
        if (!has("atomic[A-Z][A-Za-z_]*", "[ ]*[(]")) return 0;
        rest = line;
        sub(/.*atomic[A-Z][A-Za-z_]*/, "", rest);
        if (rest ~ /(^|[^A-Za-z0-9_])(float|double)[^A-Za-z0-9_]|[0-9][.]|[.][0-9]|__(float|double)[0-9]*_as/) return 1;
        while (match(rest, "[A-Za-z_][A-Za-z0-9_]*")) {
          if (substr(rest, RSTART, RLENGTH) in floats) return 1;
          rest = substr(rest, RSTART + RLENGTH);
        }
        return 0;
      }
      # Bytes of an array that the line declares with numbers as its sizes, 0 if it does not.
      function array_bytes(  type, rest, bytes) {
        if (!match(line, "^ *(alignas[(][^)]*[)] *)?(const )?[A-Za-z_][A-Za-z0-9_:]* [A-Za-z_][A-Za-z0-9_]*([[][0-9]+[]])+ *[;={]")) return 0;
        rest = substr(line, RSTART, RLENGTH);
        sub(/^ *(alignas[(][^)]*[)] *)?(const )?/, "", rest);
        type = rest;
        sub(/ .*/, "", type);
        bytes = type ~ /^(char|bool|u?int8_t)$/ ? 1 : type ~ /^(bf16|f16|short|u?int16_t)$/ ? 2 : type ~ /^(float|int|unsigned|u?int32_t)$/ ? 4 : 8;
        while (match(rest, "[[][0-9]+[]]")) {
          bytes *= substr(rest, RSTART + 1, RLENGTH - 2);
          rest = substr(rest, RSTART + RLENGTH);
        }
        return bytes;
      }
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
        if (has("(__global__|__device__|VITRINE_HD)", "[^A-Za-z0-9_]") && depth == 0) { device = 1; head = ""; split("", floats); }
        if (has("__global__", "[^A-Za-z0-9_]")) kernels = 1;
        if (line ~ /namespace \{/ || line ~ /inline namespace VITRINE_WORLD \{/) anonymous = 1;
        inside = device;
        if (device) {
          note_floats();
          if (!body) {  # the name of the function: before the first parenthesis, those of __launch_bounds__ aside
            head = head " " line;
            gsub(/__launch_bounds__[(][^()]*([(][^()]*[)][^()]*)*[)]/, "", head);
            own = head;
            sub(/[ ]*[(].*/, "", own);
            sub(/.*[^A-Za-z0-9_]/, "", own);
            calls = line;
            if (!sub(/^[^{]*[{]/, "", calls)) calls = "";
          } else {
            calls = line;
          }
          if (own != "" && match(" " calls, "[^A-Za-z0-9_:.>]" own "[ ]*(<[^>]*>)?[(]")) report("recursion: a kernel loops");
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
        if (float_atomic()) report("atomic operation on a float: add in a fixed order");
        if (inside && has("virtual", "[^A-Za-z0-9_]")) report("virtual: kernels are resolved when they are compiled");
        if (inside && (has("(new|delete)", "[ []") || has("(malloc|calloc|realloc|free)", "[ ]*[(]")))
          report("heap: a kernel gets its memory from the host");
        if (inside && (has("throw", "[ ;]") || has("try", "[ ]*[{]") || has("catch", "[ ]*[(]"))) report("exception in a kernel");
        if (inside && (has("(printf|puts|putchar)", "[ ]*[(]") || has("(cout|cerr|clog)", "[^A-Za-z0-9_]"))) report("output in a kernel");
        if (inside && array_bytes() > 32768) report("local array above 32 KiB");
        if (inside && has("(memcpy|memset|memmove)", "[ ]*[(]")) report("memcpy in a kernel: use cuda::load4 and the like");
        if (has("__threadfence[a-z_]*", "")) report("__threadfence: use a second kernel");
        if (has("cooperative_groups", "")) report("cooperative groups: use the _sync collectives");
        if (has("wmma", "") || has("nvcuda", "")) report("wmma: use mma_m16n8k16");
        if (count("__syncthreads[a-z_]*[ ]*[(]") + count("block_reduce[ ]*<") > 1) report("two barriers on one line");
        if (has("__CUDACC__", "") || has("__CUDA_ARCH__", "")) report("one text for both compilers: no test of the compiler");
      }
      END { if (kernels && !anonymous) { NR = 1; report("kernels outside of an anonymous namespace (in a header: of VITRINE_WORLD)"); } }
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
  expect 'fixed order' '  atomicCAS(p, x, __float_as_int(y));'
  expect 'fixed order' '  float* sums = q; atomicAdd(&sums[x], y);'
  expect 'fixed order' '  VITRINE_SHARED(float, tile, [32]); atomicMax(tile + x, 3);'
  expect 'recursion' '  if (x) k(p + 1);'
  expect 'virtual' '} struct S { virtual __device__ void f() {} };  void g() {'
  expect 'heap' '  int* q = new int[4];'
  expect 'heap' '  delete p;'
  expect 'heap' '  void* q = malloc(x);'
  expect 'exception' '  if (x) throw 1;'
  expect 'exception' '  try {} catch (...) {}'
  expect 'output' '  printf("%d", x);'
  expect 'output' '  std::cout << x;'
  expect '32 KiB' '  float row[8193];'
  expect '32 KiB' '  double rows[64][65] = {};'
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
  float row[8192];
  row[p[0]] = Other::k(p);
}
__device__ float sum(const float* q) { return *q; }
int* host(int* a, const int* b) { memcpy(a, b, 4); k(a); return new int(printf("x")); }
}
SOUND
  found=$(lint "$directory")
  if [ -n "$found" ]; then echo "a sound file is reported: $found"; failures=$((failures + 1)); fi
  printf '__global__ void k() {}\n' > "$directory/bad.cu"
  case $(lint "$directory") in *anonymous*) ;; *) echo "not caught: no anonymous namespace"; failures=$((failures + 1)) ;; esac
  rm "$directory/bad.cu"
  mkdir -p "$directory/ops/a" "$directory/core/kernels" "$directory/core/cuda"
  for header in ops/a/a_cuda.h core/kernels/fold_cuda.h core/cuda/reduce.h; do
    printf 'inline namespace VITRINE_WORLD {\n__global__ void k(int* p) {\n  throw 1;\n}\n}\n' > "$directory/$header"
    case $(lint "$directory") in
      "$directory/$header:3: exception"*) ;;
      *) echo "not caught in $header"; failures=$((failures + 1)) ;;
    esac
    rm "$directory/$header"
  done
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
