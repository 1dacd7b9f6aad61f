#pragma once
#include <functional>
#include <vector>

/// What a CUDA graph is on the emulated device.
namespace vitrine::emulator {

/// Launches with their arguments, copies, fills and library calls, in order.
class Recording {
 public:
  void add(std::function<void()> step) { steps_.push_back(std::move(step)); }
  /// Does them. @throws what they throw, and does not do the rest
  void replay() const {
    for (const auto& step : steps_) step();
  }
  size_t size() const { return steps_.size(); }

 private:
  std::vector<std::function<void()>> steps_;
};

/// In its scope, what this thread launches, copies and fills is added to the recording instead of done.
class RecordScope {
 public:
  explicit RecordScope(Recording& recording);
  ~RecordScope();
  RecordScope(const RecordScope&) = delete;
  RecordScope& operator=(const RecordScope&) = delete;
};

/// Whether this thread records.
bool recording();

/// Does `step`, or adds it to the recording in force: for host code that works on device memory, as a GPU's library
/// would. It captures pointers and numbers, not tensors.
void perform(std::function<void()> step);

}  // namespace vitrine::emulator
