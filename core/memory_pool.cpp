#include "core/memory_pool.h"

#include <utility>

#include "core/backend.h"
#include "core/error.h"
#include "core/trace.h"

namespace vitrine {
namespace {
thread_local std::shared_ptr<MemoryPool> pool_in_force;
}  // namespace

MemoryPool::~MemoryPool() {
  for (const auto& [data, bytes] : blocks_) source_.free(data, bytes);
}

std::byte* MemoryPool::allocate(size_t bytes) {
  const std::lock_guard lock(mutex_);
  std::set<std::byte*>& free = free_[bytes];
  if (!free.empty()) {
    std::byte* const data = *free.begin();
    free.erase(free.begin());
    return data;
  }
  check<CaptureError>(!closed_, "{}: asks for {} bytes of new memory, which no rehearsal did", trace::outermost_op(),
                      bytes);
  std::byte* const data = source_.allocate(bytes);
  blocks_.emplace(data, bytes);
  return data;
}

void MemoryPool::free(std::byte* data, size_t bytes) {
  const std::lock_guard lock(mutex_);
  free_[bytes].insert(data);
}

void MemoryPool::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
}

size_t MemoryPool::bytes() const {
  const std::lock_guard lock(mutex_);
  size_t sum = 0;
  for (const auto& [data, bytes] : blocks_) sum += bytes;
  return sum;
}

PoolScope::PoolScope(std::shared_ptr<MemoryPool> pool) : previous_(std::exchange(pool_in_force, std::move(pool))) {}
PoolScope::~PoolScope() { pool_in_force = std::move(previous_); }

std::shared_ptr<MemoryPool> current_pool(Device device) {
  return pool_in_force && pool_in_force->device() == device ? pool_in_force : nullptr;
}

std::shared_ptr<MemoryPool> pinned_memory(Device device) {
  const Backend* backend = find_backend(device.type);
  if (!backend || !backend->graphs || !backend->graphs->pinned) return nullptr;
  return std::make_shared<MemoryPool>(Device::cpu(), backend->graphs->pinned());
}

}  // namespace vitrine
