#include "core/cuda/graph.h"

#include <algorithm>

#include "core/cuda/check.h"
#include "core/cuda/stream.h"

namespace vitrine::cuda {
namespace {

/// This thread's stream that graphs are recorded on and replayed in. It is a blocking one: work in it and in the
/// default stream waits for one another in the order in which it was queued.
cudaStream_t graph_stream() {
  thread_local cudaStream_t stream = [] {
    cudaStream_t s;
    check_cuda(cudaStreamCreate(&s), "graph stream");
    return s;
  }();
  return stream;
}

thread_local bool records = false;

class Graph final : public RecordedWork {
 public:
  Graph(cudaGraph_t recorded, cudaStream_t stream) : stream_(stream) {
    const cudaError_t status = cudaGraphInstantiate(&graph_, recorded, 0);
    cudaGraphDestroy(recorded);
    check<CaptureError>(status == cudaSuccess, "captured graph: instantiate: {}", cudaGetErrorString(status));
  }
  ~Graph() override {
    cudaStreamSynchronize(stream_);  // its memory goes with it
    cudaGraphExecDestroy(graph_);
  }
  void queue() override { check_cuda(cudaGraphLaunch(graph_, stream_), "captured graph: launch"); }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t graph_ = nullptr;
};

void rehearse(const std::function<void()>& work) {
  const StreamGuard guard(graph_stream());
  work();
}

/// What was recorded so far; null if that is nothing, or not valid.
cudaGraph_t end_recording() {
  records = false;
  cudaGraph_t recorded = nullptr;
  if (cudaStreamEndCapture(graph_stream(), &recorded) != cudaSuccess) cudaGetLastError();  // clears the error
  return recorded;
}

std::unique_ptr<RecordedWork> record(const std::function<void()>& work) {
  const StreamGuard guard(graph_stream());
  // Of this thread alone: others may allocate page-locked memory meanwhile.
  check_cuda(cudaStreamBeginCapture(graph_stream(), cudaStreamCaptureModeThreadLocal), "captured graph: begin");
  records = true;
  try {
    work();
  } catch (const CudaError& e) {  // a call that cannot be recorded
    if (cudaGraph_t recorded = end_recording()) cudaGraphDestroy(recorded);
    throw CaptureError(e.what());
  } catch (...) {
    if (cudaGraph_t recorded = end_recording()) cudaGraphDestroy(recorded);
    throw;
  }
  cudaGraph_t recorded = end_recording();
  check<CaptureError>(recorded != nullptr, "captured graph: CUDA refused to record some of the work");
  return std::make_unique<Graph>(recorded, graph_stream());
}

/// A stream that does not wait for the others unless it is told to.
class Lane final : public CopyLane {
 public:
  Lane() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "copy stream");
    for (cudaEvent_t* event : {&work_, &copies_})
      check_cuda(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "copy stream: event");
  }
  ~Lane() override {
    cudaStreamSynchronize(stream_);
    cudaStreamDestroy(stream_);
    cudaEventDestroy(work_);
    cudaEventDestroy(copies_);
  }
  void copy(void* to, const void* from, size_t bytes) override {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copy stream: copy");
  }
  void wait_for_work() override { order(work_, static_cast<cudaStream_t>(current_stream()), stream_); }
  void let_work_wait() override { order(copies_, stream_, static_cast<cudaStream_t>(current_stream())); }

 private:
  static void order(cudaEvent_t event, cudaStream_t first, cudaStream_t then) {
    check_cuda(cudaEventRecord(event, first), "copy stream: event");
    check_cuda(cudaStreamWaitEvent(then, event, 0), "copy stream: wait");
  }
  cudaStream_t stream_ = nullptr;
  cudaEvent_t work_ = nullptr, copies_ = nullptr;
};

/// Page-locked memory straight from the driver; pools keep it.
class PinnedAllocator final : public Allocator {
 public:
  std::byte* allocate(size_t bytes) override {
    void* data = nullptr;
    if (cudaHostAlloc(&data, std::max<size_t>(bytes, 1), cudaHostAllocDefault) != cudaSuccess) {
      cudaGetLastError();
      throw OutOfMemory(format("out of page-locked memory: asked for {} bytes", bytes));
    }
    return static_cast<std::byte*>(data);
  }
  void free(std::byte* data, size_t) override { cudaFreeHost(data); }
  MemoryStats stats() const override { return {}; }
  void reset_peak() override {}
  void trim() override {}
  std::vector<LiveBlock> snapshot() const override { return {}; }
};

}  // namespace

bool stream_records() { return records; }

const GraphSupport kGraphSupport{
    .rehearse = rehearse,
    .record = record,
    .copy_lane = []() -> std::unique_ptr<CopyLane> { return std::make_unique<Lane>(); },
    .pinned = []() -> Allocator& {
      static PinnedAllocator& instance = *new PinnedAllocator;  // never destroyed, as tensors may live long
      return instance;
    },
};

}  // namespace vitrine::cuda
