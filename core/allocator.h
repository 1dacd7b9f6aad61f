#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "core/device.h"

namespace vitrine {

/// Counters of one device's allocator. Bytes are those asked for, rounded up to the block's size class.
struct MemoryStats {
  int64_t live_bytes = 0, live_blocks = 0;
  int64_t peak_bytes = 0;          ///< largest live_bytes since reset_peak()
  int64_t largest_block = 0;       ///< largest single request since reset_peak()
  int64_t allocations = 0;         ///< requests since the start
  int64_t requested_bytes = 0;     ///< bytes of all requests since the start
  int64_t system_allocations = 0;  ///< requests that had to ask the operating system or the driver
  int64_t cached_bytes = 0;        ///< free, kept for reuse
};

/// A live block and who made it, for `snapshot`.
struct LiveBlock {
  size_t bytes;
  std::string op, module_path;
};

/// Hands out 64-byte aligned (256 on a GPU) memory of one device. Thread safe.
class Allocator {
 public:
  virtual ~Allocator() = default;
  /// @throws OutOfMemory with the request, what is live and the largest live blocks
  virtual std::byte* allocate(size_t bytes) = 0;
  virtual void free(std::byte* data, size_t bytes) = 0;
  virtual MemoryStats stats() const = 0;
  virtual void reset_peak() = 0;
  /// Returns cached blocks to the system.
  virtual void trim() = 0;
  /// Live blocks with the op and module that made them; filled only while `track_blocks(true)`.
  virtual std::vector<LiveBlock> snapshot() const = 0;
};

/// The allocator of a device. @throws DeviceError if this build or machine has no such device
Allocator& allocator(Device device);

/// Fills every new block with NaN bytes, stops reuse and, on the cpu, follows the block with a guard zone that is
/// checked when it is freed: unwritten and overrun memory become test failures. (Accesses behind a block of another
/// device are seen by the emulator's flavours and by compute-sanitizer.) Also on with VITRINE_MEMORY_CHECKS=1. Off by
/// default.
void set_memory_checks(bool on);
bool memory_checks();  ///< whether they are on
/// A guard zone found damaged throws from the next check_guards() (a destructor cannot throw). Tests call it after each
/// sample.
void check_guards();
/// Remembers op and module path of each block made from now on, for snapshot().
void track_blocks(bool on);
bool tracking_blocks();  ///< whether it does
/// Upper limit of live CPU bytes, for tests of running out; 0 is none.
void set_cpu_memory_limit(size_t bytes);

}  // namespace vitrine
