#pragma once
#include "core/parallel.h"

namespace vitrine::testing {

/// In its scope this thread's calls use `threads` threads.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : previous_(num_threads()) { set_num_threads(threads); }
  ~ThreadsGuard() { set_num_threads(previous_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  int previous_;
};

}  // namespace vitrine::testing
