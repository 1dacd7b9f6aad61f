#pragma once

namespace vitrine::cuda {

/// The stream (a cudaStream_t) on which this thread's work is queued; null is the default stream.
void* current_stream();
/// Whether this thread records its work into a graph (core/cuda/graph.cpp): nothing may be waited for then.
bool stream_records();

/// Makes `stream` the current one of this thread for its scope. Ops take no stream argument.
class StreamGuard {
 public:
  explicit StreamGuard(void* stream);
  ~StreamGuard();
  StreamGuard(const StreamGuard&) = delete;
  StreamGuard& operator=(const StreamGuard&) = delete;

 private:
  void* previous_;
};

}  // namespace vitrine::cuda
