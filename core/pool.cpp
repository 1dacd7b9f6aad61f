#include "core/pool.h"

#include <mutex>
#include <vector>

namespace vitrine {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(VITRINE_CHECK)
constexpr bool kPooled = false;  // the sanitizer and the checker must see every block's own life
#else
constexpr bool kPooled = true;
#endif

constexpr size_t kStep = 16, kLargest = 512, kClasses = kLargest / kStep + 1;
constexpr size_t kSlab = 64 << 10;
constexpr int kBatch = 256;  // blocks that pass between threads at once

struct Block {
  Block* next;
};
/// Free blocks of one size, linked.
struct FreeList {
  Block* head;
  int count;
};

/// What threads have handed over. Never destroyed: tensors may live in static objects that go later.
struct Shared {
  std::mutex mutex;
  std::vector<FreeList> batches[kClasses];
  std::vector<void*> slabs;
};
Shared& shared() {
  static Shared& instance = *new Shared;
  return instance;
}

void hand_over(FreeList& list, size_t size_class) noexcept {
  const std::lock_guard lock(shared().mutex);
  shared().batches[size_class].push_back(list);
  list = {};
}

// Plain data, so that it may be used until the very end of its thread.
thread_local FreeList lists[kClasses];

/// Hands a thread's blocks over when it ends.
struct Leave {
  bool registered = true;
  ~Leave() {
    for (size_t c = 0; c < kClasses; ++c)
      if (lists[c].head) hand_over(lists[c], c);
  }
};
thread_local Leave leave;

/// Fills an empty list with a batch of another thread or a new slab.
[[gnu::noinline]] void refill(FreeList& list, size_t size_class) {
  leave.registered = true;  // constructs it
  const size_t size = size_class * kStep;
  const std::lock_guard lock(shared().mutex);
  auto& batches = shared().batches[size_class];
  if (!batches.empty()) {
    list = batches.back();
    batches.pop_back();
    return;
  }
  auto* slab = static_cast<std::byte*>(::operator new(kSlab));
  shared().slabs.push_back(slab);
  for (size_t at = kSlab / size * size; at; at -= size) {
    auto* block = reinterpret_cast<Block*>(slab + at - size);
    *block = {list.head};
    list = {block, list.count + 1};
  }
}

}  // namespace

void* pool_allocate(size_t bytes) {
  if (!kPooled || bytes > kLargest) return ::operator new(bytes);
  const size_t size_class = bytes ? (bytes + kStep - 1) / kStep : 1;
  FreeList& list = lists[size_class];
  if (!list.head) [[unlikely]]
    refill(list, size_class);
  Block* block = list.head;
  list = {block->next, list.count - 1};
  return block;
}

void pool_free(void* p, size_t bytes) noexcept {
  if (!kPooled || bytes > kLargest) return ::operator delete(p);
  const size_t size_class = bytes ? (bytes + kStep - 1) / kStep : 1;
  FreeList& list = lists[size_class];
  if (list.count >= kBatch) [[unlikely]]
    hand_over(list, size_class);
  list = {new (p) Block{list.head}, list.count + 1};
}

}  // namespace vitrine
