#include "core/allocator.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "core/backend.h"
#include "core/cuda/emulator/emulator.h"
#include "core/cuda/emulator/recording.h"
#include "core/error.h"
#include "core/sanitizer.h"
#include "core/trace.h"

namespace vitrine {
namespace {

constexpr size_t kGuardBytes = 64;
constexpr size_t kAlignment = 64;
constexpr unsigned char kGuardFill = 0xA5, kFreshFill = 0xFF;  // 0xFF is a NaN in every floating dtype

#if defined(VITRINE_NO_REUSE)
constexpr bool kReuse = false;  // the sanitizer and the checker must see every block's own life
#else
constexpr bool kReuse = true;
#endif

struct Checks {
  bool on = [] {
    const char* value = std::getenv("VITRINE_MEMORY_CHECKS");
    return value && *value == '1';
  }();
  bool tracking = false;
  std::mutex mutex;
  std::string damage;
};
Checks& checks() {
  static Checks& instance = *new Checks;
  return instance;
}

/// Sizes are rounded up to a quarter of their power of two (at most 25 % waste), so that blocks of similar size can be
/// reused.
size_t size_class(size_t bytes) {
  if (bytes <= kAlignment) return kAlignment;
  const size_t step = std::max(std::bit_floor(bytes) / 4, kAlignment);
  return (bytes + step - 1) / step * step;
}

/// A small dense number for each size class: its power of two and its quarter.
size_t class_index(size_t size) {
  const int width = std::bit_width(size);
  return size_t(width) * 4 + (size >> (width - 3) & 3);
}

/// Host memory with free lists by size class, for `cpu`; blocks of the size that was asked for, without reuse, from the
/// emulator for `emulated`, and from the system for `cpu` where sanitizers watch.
class HostAllocator final : public Allocator {
 public:
  explicit HostAllocator(Device device) : device_(device) {}

  std::byte* allocate(size_t bytes) override {
    const std::lock_guard lock(mutex_);
    const size_t size = size_class(bytes);
    if (limit_ && size_t(stats_.live_bytes) + size > limit_) out_of_memory(bytes);
    std::byte* data = checks().on ? fresh_checked(bytes) : pooling() ? pooled(size) : system_allocate(bytes);
    if (!data) out_of_memory(bytes);
    note(data, size, bytes);
    return data;
  }

  void free(std::byte* data, size_t bytes) override {
    const std::lock_guard lock(mutex_);
    const size_t size = size_class(bytes);
    stats_.live_bytes -= int64_t(size);
    --stats_.live_blocks;
    if (!makers_.empty()) makers_.erase(data);
    if (!checked_.empty() && checked_.erase(data)) {
      inspect_guard(data, bytes);
      return system_free(data);
    }
    if (!pooling()) return system_free(data);
    free_[class_index(size)].push_back(data);
    stats_.cached_bytes += int64_t(size);
  }

  MemoryStats stats() const override {
    const std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() override {
    const std::lock_guard lock(mutex_);
    stats_.peak_bytes = stats_.live_bytes;
    stats_.largest_block = 0;
  }
  void trim() override {
    const std::lock_guard lock(mutex_);
    release_cache();
  }
  std::vector<LiveBlock> snapshot() const override {
    const std::lock_guard lock(mutex_);
    std::vector<LiveBlock> blocks;
    for (const auto& [data, block] : makers_) blocks.push_back(block);
    std::sort(blocks.begin(), blocks.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
    return blocks;
  }
  void set_limit(size_t bytes) {
    const std::lock_guard lock(mutex_);
    limit_ = bytes;
  }

 private:
  bool pooling() const { return kReuse && device_.type == DeviceType::cpu; }

  std::byte* pooled(size_t size) {
    auto& list = free_[class_index(size)];
    if (list.empty()) {
      if (std::byte* data = system_allocate(size)) return data;
      release_cache();  // memory held in other size classes may be what is missing
      return system_allocate(size);
    }
    std::byte* data = list.back();
    list.pop_back();
    stats_.cached_bytes -= int64_t(size);
    return data;
  }

  std::byte* fresh_checked(size_t bytes) {
    const size_t guard =
        device_.type == DeviceType::cpu ? kGuardBytes : 0;  // the emulator's checker guards its own blocks
    std::byte* data = system_allocate(bytes + guard);
    if (!data) return nullptr;
    std::memset(data, kFreshFill, bytes);
    std::memset(data + bytes, kGuardFill, guard);
    if (guard) checked_.emplace(data, bytes);
    return data;
  }

  void inspect_guard(const std::byte* data, size_t bytes) {
    const auto* guard = reinterpret_cast<const unsigned char*>(data) + bytes;
    for (size_t i = 0; i < kGuardBytes; ++i) {
      if (guard[i] == kGuardFill) continue;
      const std::lock_guard lock(checks().mutex);
      checks().damage = format("memory: a block of {} bytes on {} was overrun at byte {}", bytes, device_, bytes + i);
      return;
    }
  }

  std::byte* system_allocate(size_t bytes) {
    ++stats_.system_allocations;
    constexpr size_t kLargest = size_t(1)
                                << 40;  // beyond any machine's memory; a sanitizer would abort rather than refuse
    if (bytes > kLargest) return nullptr;
    if (device_.type == DeviceType::emulated) return static_cast<std::byte*>(emulator::device_malloc(bytes));
    const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (rounded < bytes) return nullptr;
    auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
    if (data) sanitizer::poison(data + bytes, rounded - bytes);
    return data;
  }
  void system_free(std::byte* data) {
    device_.type == DeviceType::emulated ? emulator::device_free(data) : std::free(data);
  }

  void release_cache() {
    for (auto& list : free_) {
      for (std::byte* data : list) system_free(data);
      list.clear();
    }
    stats_.cached_bytes = 0;
  }

  void note(std::byte* data, size_t size, size_t bytes) {
    ++stats_.allocations;
    ++stats_.live_blocks;
    stats_.requested_bytes += int64_t(bytes);
    stats_.live_bytes += int64_t(size);
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
    stats_.largest_block = std::max(stats_.largest_block, int64_t(bytes));
    if (checks().tracking) makers_[data] = {bytes, trace::current_op(), trace::module_path()};
  }

  [[noreturn]] void out_of_memory(size_t bytes) const {
    std::string message =
        format("{}: out of memory on {}: asked for {} bytes, {} bytes live in {} blocks, {} cached",
               trace::current_op(), device_, bytes, stats_.live_bytes, stats_.live_blocks, stats_.cached_bytes);
    const LiveBlock* largest = nullptr;
    for (const auto& [data, block] : makers_)
      if (!largest || block.bytes > largest->bytes) largest = &block;
    if (largest)
      message += format(", the largest {} bytes by {} in '{}'", largest->bytes, largest->op, largest->module_path);
    throw OutOfMemory(message);
  }

  Device device_;
  mutable std::mutex mutex_;
  MemoryStats stats_;
  size_t limit_ = 0;
  std::array<std::vector<std::byte*>, 65 * 4> free_;
  std::unordered_map<const std::byte*, size_t> checked_;
  std::unordered_map<const std::byte*, LiveBlock> makers_;
};

// Never destroyed: tensors may live in static objects that go later.
HostAllocator& cpu_allocator() {
  static HostAllocator& instance = *new HostAllocator(Device::cpu());
  return instance;
}
HostAllocator& emulated_allocator() {
  static HostAllocator& instance = *new HostAllocator(Device::emulated());
  return instance;
}

const Backend kCpu{
    .device_count = [] { return 1; },
    .allocator = [](int) -> Allocator& { return cpu_allocator(); },
    .copy_bytes = [](void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); },
    .synchronize = [] {},
};
struct EmulatedWork final : RecordedWork {
  emulator::Recording recording;
  void queue() override { recording.replay(); }
};
/// All emulated work is done at once, so copies are in order with it.
struct EmulatedLane final : CopyLane {
  void copy(void* to, const void* from, size_t bytes) override { emulator::device_memcpy(to, from, bytes); }
  void wait_for_work() override {}
  void let_work_wait() override {}
};
std::unique_ptr<RecordedWork> record_emulated(const std::function<void()>& work) {
  auto recorded = std::make_unique<EmulatedWork>();
  const emulator::RecordScope scope(recorded->recording);
  work();
  return recorded;
}
const GraphSupport kEmulatedGraphs{
    .rehearse = [](const std::function<void()>& work) { work(); },
    .record = record_emulated,
    .copy_lane = []() -> std::unique_ptr<CopyLane> { return std::make_unique<EmulatedLane>(); },
};
const Backend kEmulated{
    .device_count = [] { return 1; },
    .allocator = [](int) -> Allocator& { return emulated_allocator(); },
    .copy_bytes = emulator::device_memcpy,
    .synchronize = [] {},
    .graphs = &kEmulatedGraphs,
};
const RegisterBackend register_cpu(DeviceType::cpu, kCpu);
const RegisterBackend register_emulated(DeviceType::emulated, kEmulated);

}  // namespace

void set_memory_checks(bool on) { checks().on = on; }
bool memory_checks() { return checks().on; }
void check_guards() {
  const std::lock_guard lock(checks().mutex);
  if (checks().damage.empty()) return;
  throw Error(std::exchange(checks().damage, {}));
}
void track_blocks(bool on) { checks().tracking = on; }
bool tracking_blocks() { return checks().tracking; }
void set_cpu_memory_limit(size_t bytes) { cpu_allocator().set_limit(bytes); }

}  // namespace vitrine
