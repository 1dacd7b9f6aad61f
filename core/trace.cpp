#include "core/trace.h"

#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <utility>

#include "core/allocator.h"
#include "core/cuda/kernel_hook.h"
#include "core/files.h"
#include "core/tensor.h"

namespace vitrine::trace {
namespace {

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

thread_local std::string path, failed_path;
constexpr const char* kNoOp = "host code";
thread_local const char *op = kNoOp, *outermost = kNoOp;
thread_local Watcher* watcher = nullptr;

}  // namespace

namespace detail {
thread_local Recorder* recorder = nullptr;
}

Recorder::Recorder() : origin_us_(now_us()), previous_(detail::recorder) {
  detail::recorder = this;
  kernel_hook = [](const char*) {
    if (detail::recorder) ++detail::recorder->kernel_launches_;
  };
}
Recorder::~Recorder() { detail::recorder = previous_; }

Scope::Scope(Event::Kind kind, const char* name, Device device) : device_(device), recorder_(detail::recorder) {
  if (!recorder_) return;
  event_.kind = kind;
  event_.name = name;
  event_.device = device.type;
  event_.module_path = path;
  allocated_before_ = allocator(device).stats().requested_bytes;
  event_.start_us = now_us() - recorder_->origin_us_;
}

Scope::~Scope() {
  if (!recorder_) return;
  event_.duration_us = now_us() - recorder_->origin_us_ - event_.start_us;
  const MemoryStats stats = allocator(device_).stats();
  event_.allocated_bytes = stats.requested_bytes - allocated_before_;
  event_.live_peak_bytes = stats.peak_bytes;
  recorder_->events_.push_back(std::move(event_));
}

void Scope::describe(const Attributes& attributes, const std::string& shapes, int64_t saved_bytes) {
  for (const auto& [name, value] : attributes) {
    event_.attributes += (event_.attributes.empty() ? "" : ", ") + name + "=" + to_string(value);
  }
  event_.shapes = shapes;
  event_.saved_bytes = saved_bytes;
}

void Recorder::write_json(const std::string& file) const {
  static constexpr const char* kKinds[] = {"forward", "backward", "kernel"};
  write_file_atomically(file, [&](std::ostream& out) {
    out << "{\"traceEvents\": [";
    for (size_t i = 0; i < events_.size(); ++i) {
      const Event& e = events_[i];
      out << (i ? ",\n" : "\n") << "{\"ph\": \"X\", \"pid\": 0, \"tid\": " << int(e.kind)
          << ", \"name\": " << json_text(e.name) << ", \"cat\": \"" << kKinds[int(e.kind)]
          << "\", \"ts\": " << json_number(e.start_us) << ", \"dur\": " << json_number(e.duration_us)
          << ", \"args\": {\"module\": " << json_text(e.module_path) << ", \"attributes\": " << json_text(e.attributes)
          << ", \"inputs\": " << json_text(e.shapes) << ", \"device\": \"" << name_of(e.device)
          << "\", \"allocated_bytes\": " << e.allocated_bytes << ", \"live_peak_bytes\": " << e.live_peak_bytes
          << ", \"saved_bytes\": " << e.saved_bytes << "}}";
    }
    out << "\n]}\n";
  });
}

const std::string& module_path() { return path; }

PathScope::PathScope(const std::string& name, Mode mode) : previous_(path), exceptions_(std::uncaught_exceptions()) {
  failed_path.clear();  // of an exception that was dealt with
  if (mode == Mode::replace) {
    path = name;
  } else {
    path += (path.empty() || name.empty() ? "" : ".") + name;
  }
}
PathScope::~PathScope() {
  if (std::uncaught_exceptions() > exceptions_ && failed_path.empty()) failed_path = std::move(path);
  path = std::move(previous_);
}

std::string take_failed_path() { return std::exchange(failed_path, {}); }

const char* current_op() { return op; }
bool in_op() { return op != kNoOp; }
const char* outermost_op() { return in_op() ? outermost : kNoOp; }
OpScope::OpScope(const char* name) : previous_(op) {
  if (!in_op()) outermost = name;
  op = name;
}
OpScope::~OpScope() { op = previous_; }

Watcher* set_watcher(Watcher* w) {
  Watcher* previous = watcher;
  watcher = w;
  return previous;
}

namespace {
std::string full_name(const char* name) { return path.empty() ? name : path + "." + name; }
}  // namespace

bool watched(const char* name) { return watcher && watcher->wants(full_name(name)); }

const Tensor& watch(const char* name, const Tensor& value) {
  if (watched(name)) [[unlikely]]
    watcher->see(full_name(name), value);
  return value;
}

}  // namespace vitrine::trace
