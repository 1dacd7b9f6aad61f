#pragma once
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "core/device.h"

namespace vitrine {

class Allocator;

/// Memory kept for one purpose. Blocks come from an allocator once, are handed out again by their exact size, the
/// lowest address first, and go back when the pool and the last tensor made in it are gone. A computation that is
/// repeated from the same state therefore finds each tensor where it was before. Thread safe.
class MemoryPool {
 public:
  /// @param device  of the tensors made in the pool
  /// @param source  where blocks come from; must outlive the pool
  MemoryPool(Device device, Allocator& source) : device_(device), source_(source) {}
  ~MemoryPool();
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  Device device() const { return device_; }
  /// @throws OutOfMemory; after close(), CaptureError if no block of this size is free
  std::byte* allocate(size_t bytes);
  void free(std::byte* data, size_t bytes);
  /// From now on only blocks that were there before are handed out.
  void close();
  /// Bytes of all blocks.
  size_t bytes() const;

 private:
  Device device_;
  Allocator& source_;
  mutable std::mutex mutex_;
  std::map<size_t, std::set<std::byte*>> free_;
  std::unordered_map<std::byte*, size_t> blocks_;
  bool closed_ = false;
};

/// What this thread makes on the pool's device in this scope lies in the pool; other devices are not concerned. The
/// innermost scope holds; one of a null pool brings ordinary memory back, for what is kept longer than the work around
/// it.
class PoolScope {
 public:
  explicit PoolScope(std::shared_ptr<MemoryPool> pool);
  ~PoolScope();
  PoolScope(const PoolScope&) = delete;
  PoolScope& operator=(const PoolScope&) = delete;

 private:
  std::shared_ptr<MemoryPool> previous_;
};
/// The pool in force on this thread for tensors of `device`; null: ordinary memory.
std::shared_ptr<MemoryPool> current_pool(Device device);

/// A pool of host memory that `device` copies from fastest, and beside its other work (page-locked, for a GPU). Tensors
/// in it are on the cpu. Null where any host memory will do.
std::shared_ptr<MemoryPool> pinned_memory(Device device);

}  // namespace vitrine
