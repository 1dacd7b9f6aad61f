#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/cuda/emulator/emulator.h"
#include "core/cuda/emulator/fiber.h"

namespace vitrine::emulator {

inline constexpr int kMaxThreads = 1024;
inline constexpr int kMaxWarps = kMaxThreads / 32;
inline constexpr size_t kSharedLimit = 227 << 10;
inline constexpr size_t kArenaBytes = 512 << 10;  // shared arrays with gaps between them

/// A queued cp.async copy, `bytes` == 0 closing a group.
struct AsyncCopy {
  void* to;
  const void* from;
  size_t bytes;
};

/// One CUDA thread of the block that runs. Its record lives as long as the worker and serves one block after another.
struct Thread {
  uint3 index{};
  int number = 0;
  Fiber* fiber = nullptr;       // where it is, once it has started
  const char* waits = nullptr;  // the operation it waits in, and where that is
  Place place{};
  unsigned mask = 0;
  int vote = 0;  // its predicate, then the result, of a voting barrier
  std::vector<AsyncCopy> copies;
};

/// Lanes of a warp that have come to a collective and wait for the rest of its mask.
struct Rendezvous {
  unsigned mask = 0, arrived = 0;
  const char* name = nullptr;
  Collective run = nullptr;
  Place place{};
  void* requests[32] = {};
};

struct Warp {
  unsigned lanes = 0;  // those that exist
  unsigned ready = 0;  // fresh or runnable
  unsigned exited = 0;
  uint32_t priority = 0;
  int pending = 0;
  Rendezvous rendezvous[32];
};

struct SharedArray {
  const void* key;
  char* data;
  size_t bytes;
};

/// What the workers of a launch have in common.
struct LaunchState {
  explicit LaunchState(const Launch& l);
  const Launch& launch;
  int64_t blocks;
  int64_t first = 0, stride = 1;  // order of the blocks: first + i * stride modulo blocks
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
};

/// Runs blocks, one at a time, on one OS thread.
class Worker {
 public:
  Worker();
  ~Worker();

  /// Runs blocks of the launch until none is left or one failed.
  void work(LaunchState& state);

  int barrier(const char* place, Vote vote, int predicate);
  void collective(unsigned mask, const char* name, void* request, Collective run, Place place);
  void* shared(const void* key, size_t bytes, size_t align, const char* name);
  /// Counts a step, and now and then lets another thread run.
  void step(bool may_yield) {
    if (options_.max_steps && ++steps_ > options_.max_steps) too_many_steps();
    if (may_yield && preempt_threshold_ && (random() & 0xFFFFFFFF) < preempt_threshold_) yield();
  }
  /// Abandons the launch; never returns. `reason` makes the text, in a function of its own so that no string is left on
  /// the abandoned stack.
  template <class F>
  [[noreturn]] void fail_with(F&& reason) {
    message = reason();
    abandon();
  }

  Thread& current() { return *current_; }
  /// The stack that runs now.
  const Fiber& fiber() const { return *running_; }
  const Launch& launch() const { return state_->launch; }
  /// "threads 0-31 in __syncthreads at x.cu:12; ..."
  std::string waiting() const;

  std::string message;  // of the failure, empty if none
  uint3 failed_block{};
  int failed_thread = -1;
  Stats stats;

 private:
  static void fiber_main();
  void run_threads();
  bool begin_block();
  void finish(Thread& thread);
  Thread* choose();
  Thread* take(int warp, int lane);
  void make_current(Thread* thread);
  void wait_in(const char* operation, Place place, unsigned mask);
  void wait();
  void yield();
  Fiber* idle_fiber();
  void go(Fiber& from, Fiber& to);
  void prepare(const Launch& launch);
  void note_failure();
  [[noreturn]] void abandon();
  [[noreturn]] void too_many_steps();
  void recover();
  uint64_t random();
  void draw_priorities();

  LaunchState* state_ = nullptr;
  Options options_;
  Fiber main_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  size_t stack_ = 0;
  std::unique_ptr<Thread[]> threads_;
  std::unique_ptr<Warp[]> warps_;
  Fiber* running_ = nullptr;
  Thread* current_ = nullptr;
  Thread* starting_ = nullptr;  // the fresh thread that the fiber being entered is to run
  int count_ = 0, warp_count_ = 0;
  dim3 shape_{0, 0, 0};
  unsigned ready_warps_ = 0;
  int live_ = 0, at_barrier_ = 0;
  const char* barrier_place_ = nullptr;
  int barrier_first_ = 0;
  uint64_t random_ = 0, steps_ = 0, preempt_threshold_ = 0;
  char* arena_ = nullptr;
  size_t arena_used_ = 0, shared_bytes_ = 0;
  std::vector<SharedArray> arrays_;
};

/// The worker of the running OS thread while it runs a launch, else null.
Worker* worker();

}  // namespace vitrine::emulator
