#pragma once
#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>

#include "core/allocator.h"

namespace vitrine::cuda {

/// Device memory in segments of at least 2 MiB from cudaMalloc, cut into blocks that are split on allocation and merged
/// with their free neighbours when they come back. Each stream has its own free blocks: reuse on one stream is ordered
/// by the stream itself.
///
/// No event guards a block that one stream made and another one uses, because the order is there already: work is
/// queued on the default stream or on the thread's graph stream (graph.cpp), a blocking one, and these two wait for one
/// another in the order in which work was queued. Only a CopyLane does not; who uses one orders it by its own two
/// events, and its destructor waits. Two threads that each use their graph stream must not hand tensors to one another;
/// none do.
///
/// Under memory checks each block is a cudaMalloc of its own, of exactly the bytes asked for and filled with NaN. No
/// guard zone follows it: compute-sanitizer (tests/gpu.sh) sees accesses behind it. This class is compiled where nvcc
/// is, and tested by what the sweep does on a GPU; it has no test of its own.
class CachingAllocator final : public Allocator {
 public:
  explicit CachingAllocator(int device) : device_(device) {}

  std::byte* allocate(size_t bytes) override;
  void free(std::byte* data, size_t bytes) override;
  MemoryStats stats() const override;
  void reset_peak() override;
  void trim() override;
  std::vector<LiveBlock> snapshot() const override;

 private:
  struct Block {
    std::byte* data;
    size_t size;
    void* stream;
    Block *previous = nullptr, *next = nullptr;  ///< neighbours in the segment
    bool live = false;
    bool alone = false;  ///< straight from cudaMalloc, in its exact size (memory_checks)
    LiveBlock maker = {};
  };
  struct Smaller {
    bool operator()(const Block* a, const Block* b) const {
      return a->size != b->size ? a->size < b->size : a->data < b->data;
    }
  };
  using FreeBlocks = std::set<Block*, Smaller>;

  Block* take_free(size_t size, void* stream);
  Block* new_segment(size_t size, void* stream);
  Block* new_alone(size_t bytes, void* stream);
  Block* find_block(size_t bytes, void* stream);
  void split(Block* block, size_t size);
  Block* merge(Block* block, Block* with);
  void release_segments();
  [[noreturn]] void out_of_memory(size_t bytes) const;

  int device_;
  mutable std::mutex mutex_;
  MemoryStats stats_;
  std::map<void*, FreeBlocks> free_;  ///< by stream
  std::unordered_map<std::byte*, Block*> live_;
};

}  // namespace vitrine::cuda
