#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "core/cuda/emulator/checker.h"
#include "core/cuda/emulator/recording.h"
#include "core/cuda/emulator/worker.h"
#include "core/sanitizer.h"

namespace vitrine::emulator {
namespace {

constexpr const char* kOrderNames[] = {"ascending", "descending", "priority", "uniform"};

Options from_environment() {
  Options o;
  if (const char* text = std::getenv("VITRINE_EMULATOR_ORDER")) {
    bool known = false;
    for (int i = 0; i < 4; ++i) {
      if (!strcmp(text, kOrderNames[i])) o.order = Order(i), known = true;
    }
    if (!known) throw CudaError(std::string("VITRINE_EMULATOR_ORDER=") + text + ": not an order of the emulator");
  }
  if (const char* text = std::getenv("VITRINE_EMULATOR_SEED")) o.seed = std::strtoull(text, nullptr, 0);
  if (const char* text = std::getenv("VITRINE_EMULATOR_WORKERS")) o.workers = std::atoi(text);
  return o;
}

/// The workers live as long as the program, so that fibers and their stacks are used again.
struct Pool {
  std::mutex mutex;  // one launch at a time
  std::vector<std::unique_ptr<Worker>> workers;
  Stats total;
};
Pool& pool() {
  static Pool p;
  return p;
}

LaunchError refused(const Launch& l, const std::string& reason) {
  return LaunchError(std::string(l.name) + ": launch: " + reason, {0, 0, 0}, -1);
}

void check_shape(const Launch& l) {
  for (int i = 0; i < 3; ++i) {
    if (l.block[i] < 1 || l.block[i] > (i == 2 ? 64 : kMaxThreads)) {
      throw refused(l, "block extent " + std::to_string(l.block[i]) + " is out of range");
    }
    if (l.grid[i] < 1 || l.grid[i] > (i ? 65535 : 0x7FFFFFFF)) {
      throw refused(l, "grid extent " + std::to_string(l.grid[i]) + " is out of range");
    }
  }
  const int64_t threads = l.block[0] * l.block[1] * l.block[2];
  if (threads > kMaxThreads) throw refused(l, std::to_string(threads) + " threads per block, the limit is 1024");
  if (l.shared < 0 || size_t(l.shared) > kSharedLimit) {
    throw refused(l, std::to_string(l.shared) + " bytes of dynamic shared memory, the limit is 232448");
  }
}

[[noreturn]] void throw_failure(const Launch& l, const Worker& w) {
  const Options& o = options();
  const uint3 b = w.failed_block;
  std::string where = " [block " + std::to_string(b.x) + "," + std::to_string(b.y) + "," + std::to_string(b.z) +
                      " thread " + std::to_string(w.failed_thread) + "; order " + kOrderNames[int(o.order)];
  if (o.order >= Order::priority || o.preempt > 0) where += ", seed " + std::to_string(o.seed);
  throw LaunchError(std::string(l.name) + ": " + w.message + where + "]", b, w.failed_thread);
}

}  // namespace

Flavour flavour() { return checker::kOn ? Flavour::check : sanitizer::kAddress ? Flavour::asan : Flavour::plain; }

Options& options() {
  static Options o = from_environment();
  return o;
}

const Stats& stats() { return pool().total; }

LaunchState::LaunchState(const Launch& l) : launch(l), blocks(l.grid[0] * l.grid[1] * l.grid[2]) {
  const Options& o = options();
  if (o.order == Order::descending) {
    first = blocks - 1;
    stride = blocks - 1;  // minus one
  } else if (o.order >= Order::priority) {
    const uint64_t mixed = (o.seed + 1) * 0x9E3779B97F4A7C15;
    first = int64_t(mixed % uint64_t(blocks));
    stride = 1 + int64_t((mixed >> 17) % uint64_t(blocks));
    while (std::gcd(stride, blocks) != 1) ++stride;
  }
}

namespace {
void run_now(const Launch& launch) {
  Pool& p = pool();
  if (worker()) throw refused(launch, "a kernel cannot launch another");
  const std::lock_guard lock(p.mutex);
  LaunchState state(launch);
  const int64_t wanted = checker::kOn || options().workers < 1 ? 1 : options().workers;
  const size_t count = size_t(std::min(wanted, state.blocks));
  try {
    while (p.workers.size() < count) p.workers.push_back(std::make_unique<Worker>());
  } catch (const OutOfMemory& e) {
    throw refused(launch, e.what());
  }
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < count; ++i) helpers.emplace_back([&state, w = p.workers[i].get()] { w->work(state); });
  p.workers[0]->work(state);
  for (std::thread& t : helpers) t.join();
  ++p.total.launches;
  for (size_t i = 0; i < count; ++i) {
    Stats& s = p.workers[i]->stats;
    p.total.switches += s.switches, p.total.threads += s.threads, p.total.blocks += s.blocks;
    p.total.accesses += s.accesses;
    s = Stats{};
  }
  for (size_t i = 0; i < count; ++i) {
    if (!p.workers[i]->message.empty()) throw_failure(launch, *p.workers[i]);
  }
}
}  // namespace

void run(const Launch& launch) {
  for (int64_t extent : launch.grid) {
    if (extent == 0) return;
  }
  check_shape(launch);
  if (!recording()) return run_now(launch);
  std::vector<std::max_align_t> kept(launch.argument_bytes / sizeof(std::max_align_t) + 1);
  std::memcpy(kept.data(), launch.arguments, launch.argument_bytes);
  perform([later = launch, kept = std::move(kept)]() mutable {
    later.arguments = kept.data();
    run_now(later);
  });
}

namespace {
Worker& running(const char* what) {
  if (Worker* w = worker()) return *w;
  throw CudaError(std::string(what) + " outside of a kernel");
}
}  // namespace

int block_barrier(const char* place, Vote vote, int predicate) {
  return running("__syncthreads").barrier(place, vote, predicate);
}
void warp_collective(unsigned mask, const char* name, void* request, Collective run, Place place) {
  running(name).collective(mask, name, request, run, place);
}
void run_syncwarp(void**, unsigned members) {
  if (checker::kOn) checker::sync_warp(worker()->current().number / 32, members);
}
void* shared_array(const void* key, size_t bytes, size_t align, const char* name) {
  return running("a shared array").shared(key, bytes, align, name);
}
unsigned char* dynamic_shared() {
  static constexpr char key = 0;
  Worker& w = running("dynamic shared memory");
  return static_cast<unsigned char*>(w.shared(&key, size_t(w.launch().shared), 16, "dynamic shared memory"));
}
void atomic_point() {
  if (Worker* w = worker()) w->step(true);
}
int lane() { return running("lane").current().number & 31; }

void fail(const char* format, ...) {
  char text[1024];
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  if (Worker* w = worker()) w->fail_with([&] { return std::string(text); });
  throw CudaError(text);
}

#if defined(VITRINE_CHECK)
void note_read(const void* pointer, size_t bytes) {
  checker::note(pointer, bytes, checker::Kind::read, __builtin_return_address(0), false);
}
void note_write(void* pointer, size_t bytes) {
  checker::note(pointer, bytes, checker::Kind::write, __builtin_return_address(0), false);
}
#else
void note_read(const void*, size_t) {}
void note_write(void*, size_t) {}
#endif

}  // namespace vitrine::emulator
