#pragma once
#include <cstddef>
#include <cstdint>

#include "core/cuda/emulator/vector_types.h"
#include "core/error.h"

/// The emulated device: runs a CUDA kernel on the host, one fiber per CUDA thread that has to wait.
///
/// Tests and tools use the first half of this header (options, errors, memory). The second half is what the CUDA
/// built-ins of emulator/device_functions.h are made of; kernels see neither.
namespace vitrine::emulator {

/// In which order threads and blocks run.
enum class Order {
  ascending,   ///< thread 0, 1, 2, ... each to its next blocking point; blocks likewise
  descending,  ///< the reverse, blocks too
  priority,    ///< a random priority per warp, redrawn now and then: lets one warp run a whole phase ahead
  uniform      ///< any runnable thread, equally likely
};

/// How launches run. The environment sets the start values: VITRINE_EMULATOR_ORDER, _SEED and _WORKERS.
struct Options {
  Order order = Order::ascending;
  uint64_t seed = 1;         ///< of the random orders, which are pure functions of it
  int workers = 1;           ///< OS threads that share the blocks of a launch (1 in the check flavour)
  size_t stack = 256 << 10;  ///< bytes per fiber
  bool poison = true;        ///< fill fresh device and shared memory with 0xFF, a NaN in f32, f16 and bf16
  double preempt = 0;        ///< share of atomics (check flavour: of all accesses) after which another thread runs
  uint64_t max_steps = 0;    ///< collectives, barriers, atomics (check flavour: accesses) per block; 0 = no limit
};

/// What the build can find beside wrong results: see core/cuda/README.md.
enum class Flavour { plain, asan, check };
Flavour flavour();

/// The options in force.
Options& options();

/// Options for the lifetime of a scope.
class With {
 public:
  explicit With(const Options& chosen) : saved_(options()) { options() = chosen; }
  ~With() { options() = saved_; }
  With(const With&) = delete;
  With& operator=(const With&) = delete;

 private:
  Options saved_;
};

/// A mistake of a kernel or of its launch; the launch was abandoned, the process may go on.
struct LaunchError : CudaError {
  LaunchError(const std::string& message, uint3 block_, int thread_)
      : CudaError(message), block(block_), thread(thread_) {}
  uint3 block;  ///< blockIdx of the thread that failed
  int thread;   ///< its linear number in the block, -1 if the launch failed before it ran
};

/// Counters since the program began.
struct Stats {
  uint64_t switches = 0, threads = 0, blocks = 0, launches = 0, accesses = 0;
};
const Stats& stats();

/// Device memory: one host block of exactly `bytes` bytes, aligned to 256 bytes and not to 512, filled with 0xFF;
/// null if the host has no such block.
/// The address and undefined behaviour sanitizers and the checker see every access outside of it.
void* device_malloc(size_t bytes);
/// Frees what device_malloc gave; null is ignored. @throws CudaError for any other pointer
void device_free(void* pointer);
/// Copies between host and device memory in any combination. @throws CudaError if a side leaves its device block
void device_memcpy(void* to, const void* from, size_t bytes);
/// Fills with the low byte of `value`. @throws CudaError if the range leaves its device block
void device_memset(void* to, int value, size_t bytes);

// ---- What the built-ins are made of -----------------------------------------------------------------------------

/// The values of threadIdx, blockIdx, blockDim and gridDim in the running CUDA thread.
struct Builtins {
  uint3 thread{}, block{};
  dim3 block_dim{}, grid_dim{};
};
extern constinit thread_local Builtins builtins __attribute__((tls_model("initial-exec")));

/// One launch as the runtime takes it; `invoke(arguments)` runs the kernel for the current thread.
struct Launch {
  const char* name;
  int64_t grid[3], block[3];
  int64_t shared;  ///< bytes of dynamic shared memory
  void (*invoke)(const void* arguments);
  const void* arguments;
  size_t argument_bytes;  ///< which a recording copies (emulator/recording.h)
};
/// Runs a launch to its end, or records it. An empty grid is no work. @throws LaunchError
void run(const Launch& launch);

/// A place in the source, by default the caller's.
struct Place {
  const char* file;
  int line;
  static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

enum class Vote { none, any, all, count };
/// __syncthreads and its voting forms. `place` tells one barrier of the source from another.
int block_barrier(const char* place, Vote vote = Vote::none, int predicate = 0);

/// Meets the other lanes of `mask`. Each lane leaves `request`; the last to come calls `run` with all of them, indexed
/// by lane, which writes the results into the requests. `members` are the lanes of the mask that exist.
using Collective = void (*)(void** requests, unsigned members);
void warp_collective(unsigned mask, const char* name, void* request, Collective run, Place place);
/// The collective of __syncwarp: does nothing, but orders memory for the checker.
void run_syncwarp(void** requests, unsigned members);

/// The shared array of this block for the declaration `key`, made at the first call in each block.
void* shared_array(const void* key, size_t bytes, size_t align, const char* name);
/// The launch's dynamic shared memory, aligned to 16 bytes and not to 32.
unsigned char* dynamic_shared();

/// Called before an atomic operation: may let another thread run.
void atomic_point();

/// Deferred copies of the running thread (cp.async): queue one, close a group, finish all but the newest `keep` groups.
void async_copy(void* to, const void* from, size_t bytes);
void async_commit();
void async_wait(int keep);

/// Tells the checker of an access that the compiler did not instrument; nothing in the other flavours.
void note_read(const void* pointer, size_t bytes);
void note_write(void* pointer, size_t bytes);

/// The lane of the running thread in its warp.
int lane();

/// Ends the launch with a LaunchError that names the running thread; outside a launch throws CudaError.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace vitrine::emulator
