#include "core/cuda/caching_allocator.h"

#include <algorithm>

#include "core/cuda/check.h"
#include "core/cuda/stream.h"
#include "core/trace.h"

namespace vitrine::cuda {
namespace {

constexpr size_t kAlignment = 256, kSegment = 2 << 20, kSplitAbove = 512;

size_t round_up(size_t bytes, size_t to) { return (std::max<size_t>(bytes, 1) + to - 1) / to * to; }

}  // namespace

std::byte* CachingAllocator::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  void* stream = current_stream();
  Block* block = find_block(bytes, stream);
  if (!block) {
    release_segments();  // free memory may be cut into segments of other sizes or streams
    block = find_block(bytes, stream);
  }
  if (!block) out_of_memory(bytes);
  block->live = true;
  if (tracking_blocks()) block->maker = {bytes, trace::current_op(), trace::module_path()};
  live_.emplace(block->data, block);
  ++stats_.allocations;
  ++stats_.live_blocks;
  stats_.requested_bytes += int64_t(bytes);
  stats_.live_bytes += int64_t(block->size);
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
  stats_.largest_block = std::max(stats_.largest_block, int64_t(bytes));
  if (memory_checks())
    check_cuda(cudaMemsetAsync(block->data, 0xFF, block->size, cudaStream_t(stream)), "fill with NaN");
  return block->data;
}

void CachingAllocator::free(std::byte* data, size_t) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(data);
  Block* block = found->second;
  live_.erase(found);
  --stats_.live_blocks;
  stats_.live_bytes -= int64_t(block->size);
  if (block->alone) {
    cudaFree(block->data);  // an error would belong to an earlier kernel, which reports it at its own next call
    delete block;
    return;
  }
  stats_.cached_bytes += int64_t(block->size);
  block->live = false;
  block->maker = {};
  if (block->next && !block->next->live) block = merge(block, block->next);
  if (block->previous && !block->previous->live) block = merge(block->previous, block);
  free_[block->stream].insert(block);
}

/// A block for `bytes`, or nullptr if the device has none left.
CachingAllocator::Block* CachingAllocator::find_block(size_t bytes, void* stream) {
  if (memory_checks()) return new_alone(bytes, stream);
  const size_t size = round_up(bytes, kAlignment);
  Block* block = take_free(size, stream);
  if (!block) block = new_segment(size, stream);
  if (block) split(block, size);
  return block;
}

CachingAllocator::Block* CachingAllocator::new_alone(size_t bytes, void* stream) {
  const size_t size = std::max<size_t>(bytes, 1);
  void* data = nullptr;
  ++stats_.system_allocations;
  if (cudaMalloc(&data, size) != cudaSuccess) {
    cudaGetLastError();
    return nullptr;
  }
  auto* block = new Block{static_cast<std::byte*>(data), size, stream};
  block->alone = true;
  return block;
}

CachingAllocator::Block* CachingAllocator::take_free(size_t size, void* stream) {
  FreeBlocks& blocks = free_[stream];
  Block wanted{nullptr, size, stream};
  const auto found = blocks.lower_bound(&wanted);
  if (found == blocks.end()) return nullptr;
  Block* block = *found;
  blocks.erase(found);
  stats_.cached_bytes -= int64_t(block->size);
  return block;
}

CachingAllocator::Block* CachingAllocator::new_segment(size_t size, void* stream) {
  const size_t segment = round_up(size, kSegment);
  void* data = nullptr;
  ++stats_.system_allocations;
  if (cudaMalloc(&data, segment) != cudaSuccess) {
    cudaGetLastError();  // clears the error; the caller decides
    return nullptr;
  }
  return new Block{static_cast<std::byte*>(data), segment, stream};
}

/// Cuts `block` to `size`; the rest becomes a free block behind it.
void CachingAllocator::split(Block* block, size_t size) {
  if (block->size - size < kSplitAbove) return;
  auto* rest = new Block{block->data + size, block->size - size, block->stream, block, block->next};
  if (block->next) block->next->previous = rest;
  block->next = rest;
  block->size = size;
  free_[rest->stream].insert(rest);
  stats_.cached_bytes += int64_t(rest->size);
}

/// Joins two neighbours, of which the one in the free list leaves it; returns the first.
CachingAllocator::Block* CachingAllocator::merge(Block* block, Block* with) {
  free_[block->stream].erase(block);
  free_[with->stream].erase(with);
  block->size += with->size;
  block->next = with->next;
  if (with->next) with->next->previous = block;
  delete with;
  return block;
}

/// Gives segments without a live block back to the driver.
void CachingAllocator::release_segments() {
  check_cuda(cudaDeviceSynchronize(), "trim");
  for (auto& [stream, blocks] : free_) {
    for (auto it = blocks.begin(); it != blocks.end();) {
      Block* block = *it;
      if (block->previous || block->next) {
        ++it;
        continue;
      }
      stats_.cached_bytes -= int64_t(block->size);
      check_cuda(cudaFree(block->data), "trim");
      it = blocks.erase(it);
      delete block;
    }
  }
}

MemoryStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}
void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.live_bytes;
  stats_.largest_block = 0;
}
void CachingAllocator::trim() {
  const std::lock_guard lock(mutex_);
  release_segments();
}
std::vector<LiveBlock> CachingAllocator::snapshot() const {
  const std::lock_guard lock(mutex_);
  std::vector<LiveBlock> blocks;
  for (const auto& [data, block] : live_)
    if (block->maker.bytes) blocks.push_back(block->maker);
  std::sort(blocks.begin(), blocks.end(), [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
  return blocks;
}

void CachingAllocator::out_of_memory(size_t bytes) const {
  size_t free_bytes = 0, total = 0;
  cudaMemGetInfo(&free_bytes, &total);
  throw OutOfMemory(format(
      "{}: out of memory on cuda:{}: asked for {} bytes, {} bytes live in {} blocks, {} cached; the device has {} "
      "of {} bytes free",
      trace::current_op(), device_, bytes, stats_.live_bytes, stats_.live_blocks, stats_.cached_bytes, free_bytes,
      total));
}

}  // namespace vitrine::cuda
