#include "core/captured_graph.h"

#include <unordered_set>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/memory_pool.h"
#include "core/trace.h"

namespace vitrine {

namespace detail {

thread_local CaptureNotes* capture_notes = nullptr;

/// The storages that a recording uses.
struct CaptureNotes {
  Device device;
  const MemoryPool* pool;
  std::unordered_set<std::shared_ptr<Storage>> outside = {};  ///< not of the pool: to be kept alive
  std::vector<std::weak_ptr<Storage>> written = {};
};

void note_use(const std::shared_ptr<Storage>& storage, bool writes) {
  if (storage->pool() != capture_notes->pool) capture_notes->outside.insert(storage);
  if (writes) capture_notes->written.push_back(storage);
}

}  // namespace detail

bool capturing(Device device) { return detail::capture_notes && detail::capture_notes->device == device; }

struct CapturedGraph::State {
  Device device;
  const GraphSupport* support;
  std::shared_ptr<MemoryPool> pool;
  std::vector<std::shared_ptr<Storage>> outside = {};
  std::vector<std::weak_ptr<Storage>> written = {};
  std::unique_ptr<RecordedWork> work = {};
};

CapturedGraph::CapturedGraph(Device device) {
  Allocator& memory = allocator(device);
  const GraphSupport* support = find_backend(device.type)->graphs;
  check<CaptureError>(support != nullptr, "{}: its work is done at once and cannot be captured", device);
  state_ = std::make_unique<State>(
      State{.device = device, .support = support, .pool = std::make_shared<MemoryPool>(device, memory)});
}
CapturedGraph::~CapturedGraph() = default;
CapturedGraph::CapturedGraph(CapturedGraph&&) noexcept = default;
CapturedGraph& CapturedGraph::operator=(CapturedGraph&&) noexcept = default;

void CapturedGraph::rehearse(const std::function<void()>& work) {
  check<ValueError>(!recorded(), "captured graph: a rehearsal after the recording");
  const PoolScope scope(state_->pool);
  state_->support->rehearse(work);
}

void CapturedGraph::record(const std::function<void()>& work) {
  check<ValueError>(!recorded(), "captured graph: recorded already");
  check<CaptureError>(!detail::capture_notes, "captured graph: recorded within another one");
  state_->pool->close();
  detail::CaptureNotes notes{.device = state_->device, .pool = state_->pool.get()};
  {
    const PoolScope scope(state_->pool);
    struct Noting {
      explicit Noting(detail::CaptureNotes& n) { detail::capture_notes = &n; }
      ~Noting() { detail::capture_notes = nullptr; }
    } const noting(notes);
    state_->work = state_->support->record(work);
  }
  state_->outside.assign(notes.outside.begin(), notes.outside.end());
  std::unordered_set<Storage*> seen;
  for (const auto& weak : notes.written)
    if (const auto storage = weak.lock(); storage && seen.insert(storage.get()).second) state_->written.push_back(weak);
}

bool CapturedGraph::recorded() const { return state_->work != nullptr; }

void CapturedGraph::replay() {
  check<ValueError>(recorded(), "captured graph: replayed before it was recorded");
  check<CaptureError>(!detail::capture_notes, "captured graph: replayed within the recording of another one");
  state_->work->queue();
  const trace::OpScope writer("captured graph");
  for (const auto& weak : state_->written)
    if (const auto storage = weak.lock()) storage->note_write();
}

CapturedGraph CapturedGraph::capture(Device device, const std::function<void()>& work) {
  CapturedGraph graph(device);
  for (int i = 0; i < 2; ++i) graph.rehearse(work);
  graph.record(work);
  return graph;
}

size_t CapturedGraph::memory_bytes() const { return state_->pool->bytes(); }

}  // namespace vitrine
