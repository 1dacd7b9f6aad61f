#pragma once
#include <cstddef>
#include <memory>

#include "core/device.h"

namespace vitrine {

class MemoryPool;

/// A block of bytes on one device, shared by the tensors that view it. Freed with its last owner.
class Storage {
 public:
  /// Uninitialised memory, of the pool in force (core/memory_pool.h) or of the device's allocator.
  /// @throws OutOfMemory stating what was asked and what is live; CaptureError for new memory in a captured graph
  Storage(size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  /// The pool that the memory belongs to; null: none.
  const MemoryPool* pool() const { return pool_.get(); }

  /// Number of writes so far: a tensor saved for backward remembers it.
  uint64_t version() const { return version_; }
  const char* last_writer() const { return last_writer_; }
  void note_write();

 private:
  std::shared_ptr<MemoryPool> pool_;
  std::byte* data_;
  size_t bytes_;
  Device device_;
  uint64_t version_ = 0;
  const char* last_writer_ = "nobody";
};

}  // namespace vitrine
