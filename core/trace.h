#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/attributes.h"
#include "core/device.h"
#include "core/shape.h"

namespace vitrine {
class Tensor;
}

/// What runs, where it was called from, how long it took and what it allocated. Costs one branch per op while nobody
/// observes.
namespace vitrine::trace {

/// One op (forward or backward) or kernel, as a Recorder saw it.
struct Event {
  enum class Kind { forward, backward, kernel } kind;
  std::string name, module_path, attributes, shapes;  ///< shapes: of inputs, in messages' format
  DeviceType device = DeviceType::cpu;
  double start_us = 0,
         duration_us = 0;       ///< wall time since the recorder began; on cuda of the launch unless VITRINE_SYNC=1
  int64_t allocated_bytes = 0;  ///< bytes asked of the allocator inside
  int64_t live_peak_bytes = 0;  ///< the device's live peak so far
  int64_t saved_bytes = 0;      ///< kept for backward
};

/// Records every op of this thread while it lives. Recorders do not nest: the newest one listens.
class Recorder {
 public:
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;
  const std::vector<Event>& events() const { return events_; }
  /// CUDA kernels launched (on cuda or emulated) while this recorder listened.
  int64_t kernel_launches() const { return kernel_launches_; }
  /// A Chrome trace (chrome://tracing, Perfetto): one complete event per op, written to a temporary name and renamed.
  /// @throws IoError
  void write_json(const std::string& file) const;

 private:
  friend class Scope;
  std::vector<Event> events_;
  int64_t kernel_launches_ = 0;
  double origin_us_;
  Recorder* previous_;
};

namespace detail {
extern thread_local Recorder* recorder;
}
/// Whether a Recorder listens to this thread.
inline bool observing() { return detail::recorder != nullptr; }

/// Times one op or kernel for the current recorder, if there is one.
class Scope {
 public:
  Scope(Event::Kind kind, const char* name, Device device);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  void describe(const Attributes& attributes, const std::string& shapes, int64_t saved_bytes);

 private:
  Event event_;
  int64_t allocated_before_ = 0;
  Device device_;
  Recorder* recorder_;
};
struct KernelScope : Scope {
  KernelScope(const char* name, DeviceType device) : Scope(Event::Kind::kernel, name, Device{device, 0}) {}
};

/// The path of the module that is running, "blocks.3.attn"; empty outside modules.
const std::string& module_path();
/// Enters a module (or a backward node recorded in one) for the current thread.
class PathScope {
 public:
  enum class Mode { append, replace };
  explicit PathScope(const std::string& name, Mode mode = Mode::append);
  ~PathScope();
  PathScope(const PathScope&) = delete;
  PathScope& operator=(const PathScope&) = delete;

 private:
  std::string previous_;
  int exceptions_;  ///< in flight when entered
};
/// The path of the innermost module that the exception in flight has left; empty if it is none. Forgets it.
std::string take_failed_path();

/// The op that is running on this thread, for error messages, writers and allocations; "host code" outside ops.
const char* current_op();
/// The op around all others that run on this thread: the one that was called.
const char* outermost_op();
/// Whether an op is running on this thread, so that what is called now is a part of it.
bool in_op();
class OpScope {
 public:
  explicit OpScope(const char* name);
  ~OpScope();
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  const char* previous_;
};

/// Receives the tensors that models mark with `watch`.
class Watcher {
 public:
  virtual ~Watcher() = default;
  virtual bool wants(const std::string& full_name) = 0;
  virtual void see(const std::string& full_name, const Tensor& value) = 0;
};
/// Installs `watcher` for this thread (nullptr for none); returns the previous one.
Watcher* set_watcher(Watcher* watcher);
/// Whether the thread's watcher wants module path + "." + name: a module may then compute what it otherwise would not.
bool watched(const char* name);
/// Returns `value`; shows it to the thread's watcher under module path + "." + name. One branch if there is none.
const Tensor& watch(const char* name, const Tensor& value);

}  // namespace vitrine::trace
