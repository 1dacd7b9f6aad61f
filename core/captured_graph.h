#pragma once
#include <functional>
#include <memory>

#include "core/tensor.h"

namespace vitrine {

/// Work of one device that is recorded once and then queued as a whole: kernels, copies within the device, uploads
/// (core/upload.h), library calls. On a GPU a CUDA graph, whose replay costs one launch.
///
///     CapturedGraph graph(device);
///     graph.rehearse(work);                        // does the work, in the graph's own memory; twice or more
///     graph.record(work);                          // does nothing of it, but remembers all
///     while (...) graph.replay();
///
/// A replay reads and writes the tensors that `work` had: same addresses, shapes and attributes, values of now. Tensors
/// made in `work` belong to the graph's memory, which stays as it is until the graph and the last of them are gone;
/// those from outside are kept alive. What the host computes in `work`, it computes once, while recording: a value that
/// goes from host to device or back, a wait for the device, or memory that no rehearsal asked for is a CaptureError.
class CapturedGraph {
 public:
  /// @throws CaptureError if the device does not record work: "cpu: ..."
  explicit CapturedGraph(Device device);
  ~CapturedGraph();
  CapturedGraph(CapturedGraph&&) noexcept;
  CapturedGraph& operator=(CapturedGraph&&) noexcept;

  /// Does `work`, in the memory that recording will use. The second time and later, tensors lie where they will when it
  /// is recorded, if no tensor made in `work` is alive before it but those that always are.
  void rehearse(const std::function<void()>& work);
  /// Records `work`. Afterwards tensors made in it have no values yet. @throws CaptureError naming the op that cannot
  /// be recorded, or whatever `work` throws; then nothing is recorded, and nothing of it was done on the device
  void record(const std::function<void()>& work);
  bool recorded() const;
  /// Queues the work. What it writes counts as written (Storage::version). @throws ValueError before record()
  void replay();

  /// Two rehearsals and the recording.
  static CapturedGraph capture(Device device, const std::function<void()>& work);
  /// Memory that the graph keeps.
  size_t memory_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Whether this thread is recording work of `device`.
bool capturing(Device device);

namespace detail {
struct CaptureNotes;
extern thread_local CaptureNotes* capture_notes;  ///< of the recording of this thread; null: none
/// Tells the recording of a storage that work reads or writes.
void note_use(const std::shared_ptr<Storage>& storage, bool writes);
}  // namespace detail

}  // namespace vitrine
