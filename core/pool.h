#pragma once
#include <cstddef>
#include <new>

namespace vitrine {

/// Memory for the small objects that every op makes: tensor states, storages, nodes and their lists. Blocks of up to
/// 512 bytes come from lists by size that each thread keeps for itself; full lists pass to other threads as a whole, so
/// a thread may free what another one made. The memory of dropped objects is kept for the next ones. Larger blocks, and
/// all blocks under a sanitizer, are those of operator new.
void* pool_allocate(size_t bytes);
/// Takes back what pool_allocate(bytes) gave.
void pool_free(void* block, size_t bytes) noexcept;

/// The pool for std::allocate_shared and containers.
template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(pool_allocate(n * sizeof(T))); }
  void deallocate(T* p, size_t n) noexcept { pool_free(p, n * sizeof(T)); }
  template <class U>
  bool operator==(const PoolAllocator<U>&) const {
    return true;
  }
};

}  // namespace vitrine
