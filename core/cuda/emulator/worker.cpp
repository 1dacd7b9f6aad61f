#include "core/cuda/emulator/worker.h"

#include <sys/mman.h>

#include <bit>
#include <cstdio>
#include <cstring>

#include "core/cuda/emulator/checker.h"
#include "core/sanitizer.h"

namespace vitrine::emulator {

constinit thread_local Builtins builtins;

namespace {
thread_local Worker* active = nullptr;

std::string text(Place place) {
  // Only failures need words. String functions may come from instrumented code, so the checker rests.
  if (checker::kOn) checker::pause(true);
  if (!place.file) return "";
  if (place.line) return std::string(place.file) + ":" + std::to_string(place.line);
  return std::string(place.file, strcspn(place.file, "#"));  // a barrier's place: file:line#counter
}
}  // namespace

Worker* worker() { return active; }

Worker::Worker() : threads_(new Thread[kMaxThreads]), warps_(new Warp[kMaxWarps]) {
  arena_ = map_pages(kArenaBytes, "the shared arrays of a block");
  sanitizer::poison(arena_, kArenaBytes);
  for (int i = 0; i < kMaxThreads; ++i) threads_[i].number = i;
}

Worker::~Worker() {
  sanitizer::unpoison(arena_, kArenaBytes);
  munmap(arena_, kArenaBytes);
}

// ---- Launch and blocks --------------------------------------------------------------------------------------------

void Worker::prepare(const Launch& launch) {
  options_ = options();
  if (stack_ != options_.stack) {
    fibers_.clear(), idle_.clear();
    stack_ = options_.stack;
  }
  preempt_threshold_ = uint64_t(options_.preempt * 0x1p32);
  const dim3 shape(unsigned(launch.block[0]), unsigned(launch.block[1]), unsigned(launch.block[2]));
  if (shape.x != shape_.x || shape.y != shape_.y || shape.z != shape_.z) {
    shape_ = shape;
    count_ = int(shape.x * shape.y * shape.z);
    warp_count_ = (count_ + 31) / 32;
    for (int i = 0; i < count_; ++i) {
      const unsigned n = unsigned(i);
      threads_[i].index = {n % shape.x, n / shape.x % shape.y, n / (shape.x * shape.y)};
    }
    for (int w = 0; w < warp_count_; ++w) {
      const int lanes = count_ - 32 * w;
      warps_[w].lanes = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    }
  }
  builtins.block_dim = shape;
  builtins.grid_dim = dim3(unsigned(launch.grid[0]), unsigned(launch.grid[1]), unsigned(launch.grid[2]));
}

void Worker::work(LaunchState& state) {
  state_ = &state;
  message.clear();
  failed_thread = -1;
  prepare(state.launch);
  active = this;
  if (checker::kOn) checker::begin_launch(state.launch.arguments, state.launch.argument_bytes);
  if (begin_block()) {
    starting_ = choose();
    starting_->fiber = idle_fiber();
    if (starting_->fiber) {
      go(main_, *starting_->fiber);
    } else {
      note_failure();
    }
  }
  if (checker::kOn) checker::end_launch();
  active = nullptr;
  if (!message.empty()) recover();
}

bool Worker::begin_block() {
  const int64_t i = state_->next.fetch_add(1, std::memory_order_relaxed);
  if (i >= state_->blocks || state_->failed.load(std::memory_order_relaxed)) return false;
  __extension__ using Wide = __int128;
  const int64_t b = int64_t((state_->first + Wide(i) * state_->stride) % state_->blocks);
  const int64_t x = state_->launch.grid[0], y = state_->launch.grid[1];
  builtins.block = {unsigned(b % x), unsigned(b / x % y), unsigned(b / x / y)};
  for (int w = 0; w < warp_count_; ++w) {
    warps_[w].ready = warps_[w].lanes;
    warps_[w].exited = 0;
  }
  ready_warps_ = warp_count_ == 32 ? ~0u : (1u << warp_count_) - 1;
  live_ = count_;
  current_ = nullptr;
  if (!arrays_.empty()) {
    arrays_.clear();
    sanitizer::poison(arena_, arena_used_);
    arena_used_ = 0;
    shared_bytes_ = 0;
  }
  steps_ = 0;
  ++stats.blocks;
  stats.threads += uint64_t(count_);
  if (options_.order == Order::priority || options_.order == Order::uniform) {
    random_ = (options_.seed + 1) * 0x9E3779B97F4A7C15 ^ (uint64_t(b) + 1) * 0xD1342543DE82EF95;
    if (!random_) random_ = 1;
    random();
    draw_priorities();
  } else if (preempt_threshold_) {
    random_ = options_.seed * 2 + 1;
  }
  if (checker::kOn) checker::begin_block();
  return true;
}

// After a failure the fibers hold abandoned threads: everything about the block is reset.
void Worker::recover() {
  idle_.clear();
  for (auto& f : fibers_) {
    f->reset();
    idle_.push_back(f.get());
  }
  for (int i = 0; i < kMaxThreads; ++i) {
    threads_[i].fiber = nullptr;
    threads_[i].waits = nullptr;
    threads_[i].copies.clear();
  }
  for (int w = 0; w < kMaxWarps; ++w) warps_[w].pending = 0;
  at_barrier_ = 0;
  barrier_place_ = nullptr;
}

// ---- Threads and fibers -------------------------------------------------------------------------------------------

// Null, with the reason in `message`, if there is no memory for another stack.
Fiber* Worker::idle_fiber() {
  if (idle_.empty()) {
    try {
      fibers_.push_back(std::make_unique<Fiber>(stack_, &Worker::fiber_main));
      return fibers_.back().get();
    } catch (const OutOfMemory& e) {  // here: an exception cannot leave the stack of a fiber
      message = format("{}, {} stacks live", e.what(), fibers_.size());
      return nullptr;
    }
  }
  Fiber* f = idle_.back();
  idle_.pop_back();
  return f;
}

void Worker::make_current(Thread* thread) {
  current_ = thread;
  builtins.thread = thread->index;
}

void Worker::go(Fiber& from, Fiber& to) {
  running_ = &to;
  ++stats.switches;
  Fiber::transfer(from, to);
}

void Worker::fiber_main() { active->run_threads(); }

// The life of a fiber: run fresh threads, one after the other, as plain calls. When one of them blocks, it keeps the
// fiber until it is done. When the next thread is one that waits elsewhere, this fiber becomes idle.
void Worker::run_threads() {
  Fiber* const here = starting_->fiber;
  for (;;) {
    Thread* thread = starting_;
    while (thread) {
      thread->fiber = here;
      make_current(thread);
      state_->launch.invoke(state_->launch.arguments);
      finish(*thread);
      Thread* next = choose();
      while (!next) {
        if (live_) fail_with([&] { return "deadlock: no thread can run; " + waiting(); });
        if (!begin_block()) break;
        next = choose();
      }
      if (next && !next->fiber) {
        thread = next;
        continue;
      }
      thread = nullptr;
      idle_.push_back(here);
      if (next) {
        make_current(next);
        go(*here, *next->fiber);
      } else {
        go(*here, main_);
      }
    }
  }
}

void Worker::finish(Thread& thread) {
  const unsigned bit = 1u << (thread.number & 31);
  Warp& warp = warps_[thread.number >> 5];
  thread.fiber = nullptr;
  warp.exited |= bit;
  --live_;
  if (!thread.copies.empty()) thread.copies.clear();
  if (at_barrier_) fail_with([&] { return "the thread ended while others wait: " + waiting(); });
  for (int i = 0; i < warp.pending; ++i) {
    if (warp.rendezvous[i].mask & bit)
      fail_with([&] { return "the lane ended while others wait for it: " + waiting(); });
  }
}

// Leaves the running thread, which is not in a ready set or was put back there, until it is chosen again.
void Worker::wait() {
  Thread* const self = current_;
  Thread* const next = choose();
  if (!next) fail_with([&] { return "deadlock: no thread can run; " + waiting(); });
  if (next == self) return;
  if (next->fiber) {
    make_current(next);
  } else {
    next->fiber = idle_fiber();
    if (!next->fiber) abandon();
    starting_ = next;
  }
  go(*self->fiber, *next->fiber);
}

void Worker::wait_in(const char* operation, Place place, unsigned mask) {
  Thread& self = *current_;
  self.waits = operation;
  self.place = place;
  self.mask = mask;
  wait();
  self.waits = nullptr;
}

void Worker::yield() {
  const int w = current_->number >> 5;
  warps_[w].ready |= 1u << (current_->number & 31);
  ready_warps_ |= 1u << w;
  wait();
}

void Worker::note_failure() {
  state_->failed.store(true, std::memory_order_relaxed);
  failed_block = builtins.block;
  failed_thread = current_ ? current_->number : -1;
}

void Worker::abandon() {
  note_failure();
  go(*running_, main_);
  __builtin_unreachable();
}

std::string Worker::waiting() const {
  if (checker::kOn) checker::pause(true);
  std::string out;
  const auto same = [](const Thread& a, const Thread& b) {
    return a.waits == b.waits && a.mask == b.mask && a.place.line == b.place.line && a.place.file == b.place.file;
  };
  for (int i = 0; i < count_;) {
    int end = i + 1;
    const Thread& t = threads_[i];
    while (end < count_ && same(t, threads_[end])) ++end;
    if (t.waits) {
      out += out.empty() ? "" : "; ";
      out +=
          end - i > 1 ? "threads " + std::to_string(i) + "-" + std::to_string(end - 1) : "thread " + std::to_string(i);
      out += std::string(" in ") + t.waits + (t.place.file ? " at " + text(t.place) : "");
      char mask[32];
      snprintf(mask, sizeof mask, " (mask %08x)", t.mask);
      if (t.mask) out += mask;
    }
    i = end;
  }
  return out.empty() ? "no thread waits" : out;
}

// ---- Barriers and collectives -------------------------------------------------------------------------------------

int Worker::barrier(const char* place, Vote vote, int predicate) {
  step(false);
  Thread& self = *current_;
  if (live_ != count_) {
    fail_with([&] {
      return "__syncthreads at " + text({place, 0}) + ": " + std::to_string(count_ - live_) +
             " threads of the block have ended already";
    });
  }
  if (at_barrier_ && place != barrier_place_ && strcmp(place, barrier_place_) != 0) {
    fail_with([&] {
      return "threads meet in different barriers: this one at " + text({place, 0}) + ", thread " +
             std::to_string(barrier_first_) + " at " + text({barrier_place_, 0});
    });
  }
  if (!at_barrier_) barrier_place_ = place, barrier_first_ = self.number;
  self.vote = predicate;
  if (++at_barrier_ < count_) {
    wait_in("__syncthreads", {place, 0}, 0);
    return self.vote;
  }
  at_barrier_ = 0;
  if (vote != Vote::none) {
    int sum = 0;
    for (int i = 0; i < count_; ++i) sum += threads_[i].vote;
    const int result = vote == Vote::count ? sum : vote == Vote::any ? sum > 0 : sum == count_;
    for (int i = 0; i < count_; ++i) threads_[i].vote = result;
  }
  if (checker::kOn) checker::barrier();
  for (int w = 0; w < warp_count_; ++w) warps_[w].ready = warps_[w].lanes;
  ready_warps_ = warp_count_ == 32 ? ~0u : (1u << warp_count_) - 1;
  wait();  // every thread may be next, this one too
  return self.vote;
}

void Worker::collective(unsigned mask, const char* name, void* request, Collective run, Place place) {
  step(false);
  Thread& self = *current_;
  const int w = self.number >> 5, lane = self.number & 31;
  const unsigned bit = 1u << lane;
  Warp& warp = warps_[w];
  const unsigned members = mask & warp.lanes;  // lanes that a partial last warp lacks are not waited for
  if (!(mask & bit)) fail("%s at %s:%d: lane %d is not in its mask %08x", name, place.file, place.line, lane, mask);
  if (members & warp.exited) {
    fail("%s at %s:%d: lanes %08x of mask %08x have ended and can never come", name, place.file, place.line,
         members & warp.exited, mask);
  }
  Rendezvous* meeting = nullptr;
  for (int i = 0; i < warp.pending; ++i) {
    Rendezvous& r = warp.rendezvous[i];
    if (r.mask == mask) {
      meeting = &r;
    } else if ((r.mask & bit) && (mask & r.arrived)) {
      fail("lanes meet with different masks: lane %d in %s at %s:%d with %08x, lane %d in %s at %s:%d with %08x", lane,
           name, place.file, place.line, mask, std::countr_zero(r.arrived), r.name, r.place.file, r.place.line, r.mask);
    }
  }
  if (meeting && (meeting->run != run || strcmp(meeting->name, name) != 0)) {
    fail("lanes meet in different operations: lane %d in %s at %s:%d, lane %d in %s at %s:%d", lane, name, place.file,
         place.line, std::countr_zero(meeting->arrived), meeting->name, meeting->place.file, meeting->place.line);
  }
  if (!meeting) {
    meeting = &warp.rendezvous[warp.pending++];
    meeting->mask = mask, meeting->arrived = 0, meeting->name = name, meeting->run = run, meeting->place = place;
  }
  meeting->requests[lane] = request;
  meeting->arrived |= bit;
  if (meeting->arrived != members) {
    wait_in(name, place, mask);
    return;
  }
  if (checker::kOn) checker::pause(true);
  run(meeting->requests, members);
  if (checker::kOn) checker::pause(false);
  *meeting = warp.rendezvous[--warp.pending];
  warp.ready |= members & ~bit;
  if (warp.ready) ready_warps_ |= 1u << w;
  if (options_.order >= Order::priority) yield();  // the last to come has no privilege to go on
}

void Worker::too_many_steps() {
  fail_with(
      [&] { return "more than " + std::to_string(options_.max_steps) + " steps in one block: an endless loop?"; });
}

// ---- Schedules ----------------------------------------------------------------------------------------------------

uint64_t Worker::random() {  // xorshift64*, its upper half first
  random_ ^= random_ >> 12, random_ ^= random_ << 25, random_ ^= random_ >> 27;
  const uint64_t r = random_ * 0x2545F4914F6CDD1D;
  return r >> 32 | r << 32;
}

void Worker::draw_priorities() {
  for (int w = 0; w < warp_count_; ++w) warps_[w].priority = uint32_t(random());
}

Thread* Worker::take(int w, int lane) {
  Warp& warp = warps_[w];
  warp.ready &= ~(1u << lane);
  if (!warp.ready) ready_warps_ &= ~(1u << w);
  return &threads_[32 * w + lane];
}

Thread* Worker::choose() {
  if (!ready_warps_) return nullptr;
  switch (options_.order) {
    case Order::ascending: {  // the next one above the running thread, around the end
      const int at = current_ ? current_->number : -1;
      int w = at >> 5;
      if (at >= 0) {
        const unsigned above = uint32_t(~uint64_t{1} << (at & 31)) & warps_[w].ready;
        if (above) return take(w, std::countr_zero(above));
      }
      const unsigned higher = at < 0 ? 0 : uint32_t(~uint64_t{1} << w) & ready_warps_;
      w = std::countr_zero(higher ? higher : ready_warps_);
      return take(w, std::countr_zero(warps_[w].ready));
    }
    case Order::descending: {
      const int at = current_ ? current_->number : -1;
      int w = at >> 5;
      if (at >= 0) {
        const unsigned below = ((1u << (at & 31)) - 1) & warps_[w].ready;
        if (below) return take(w, std::bit_width(below) - 1);
      }
      const unsigned lower = at < 0 ? 0 : ((1u << w) - 1) & ready_warps_;
      w = std::bit_width(lower ? lower : ready_warps_) - 1;
      return take(w, std::bit_width(warps_[w].ready) - 1);
    }
    case Order::priority: {
      const uint64_t r = random();
      if ((r & 255) == 0) draw_priorities();
      int best = std::countr_zero(ready_warps_);
      for (unsigned m = ready_warps_ & (ready_warps_ - 1); m; m &= m - 1) {
        const int w = std::countr_zero(m);
        if (warps_[w].priority > warps_[best].priority) best = w;
      }
      const int turn = int(r >> 8 & 31);
      return take(best, (std::countr_zero(std::rotr(warps_[best].ready, turn)) + turn) & 31);
    }
    case Order::uniform:
      break;
  }
  int total = 0;
  for (unsigned m = ready_warps_; m; m &= m - 1) total += std::popcount(warps_[std::countr_zero(m)].ready);
  int k = int(random() % uint64_t(total));
  for (unsigned m = ready_warps_;; m &= m - 1) {
    const int w = std::countr_zero(m), n = std::popcount(warps_[w].ready);
    if (k >= n) {
      k -= n;
      continue;
    }
    unsigned lanes = warps_[w].ready;
    while (k--) lanes &= lanes - 1;
    return take(w, std::countr_zero(lanes));
  }
}

// ---- Shared memory ------------------------------------------------------------------------------------------------

void* Worker::shared(const void* key, size_t bytes, size_t align, const char* name) {
  for (const SharedArray& a : arrays_) {
    if (a.key == key) return a.data;
  }
  shared_bytes_ += bytes;
  if (shared_bytes_ > kSharedLimit) {
    fail("shared array %s: %zu bytes of shared memory in all, the limit is %zu", name, shared_bytes_, kSharedLimit);
  }
  // A gap below for the sanitizers, then an address that is a multiple of `align` but not of twice that.
  const size_t twice = 2 * align, begin = (arena_used_ + 32 + twice - 1) / twice * twice + align;
  if (begin + bytes + 32 > kArenaBytes) fail("shared array %s: too many shared arrays", name);
  arena_used_ = begin + bytes;
  char* const data = arena_ + begin;
  sanitizer::unpoison(data, bytes);
  if (options_.poison) memset(data, 0xFF, bytes);
  arrays_.push_back({key, data, bytes});
  if (checker::kOn) checker::add_shared(key, data, begin, bytes, name);
  return data;
}

}  // namespace vitrine::emulator
