#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "core/cuda/emulator/checker.h"
#include "core/cuda/emulator/recording.h"
#include "core/cuda/emulator/worker.h"
#include "core/sanitizer.h"

namespace vitrine::emulator {
namespace {

constexpr size_t kAlign = 256;
constexpr size_t kGap = 64;  // inaccessible to sanitized code, on both sides

struct Block {
  void* host;  // what the host allocator gave
  size_t host_bytes, bytes;
};
struct Blocks {
  std::mutex mutex;
  std::map<char*, Block> at;
};
// Never destroyed: tensors in static storage may be freed after any destructor here would have run.
Blocks& blocks() {
  static Blocks& b = *new Blocks;
  return b;
}

// A range that starts in or at the end of a device block must stay inside; host memory is not known here.
void check_range(const char* what, const void* pointer, size_t bytes) {
  Blocks& b = blocks();
  const std::lock_guard lock(b.mutex);
  char* const p = static_cast<char*>(const_cast<void*>(pointer));
  auto it = b.at.upper_bound(p);
  if (it == b.at.begin()) return;
  --it;
  const size_t offset = size_t(p - it->first), size = it->second.bytes;
  if (offset > size || (offset == size && bytes == 0)) return;
  if (bytes > size - offset) {
    throw CudaError(std::string(what) + ": " + std::to_string(bytes) + " bytes at offset " + std::to_string(offset) +
                    " of a device block of " + std::to_string(size) + " bytes");
  }
}

}  // namespace

void* device_malloc(size_t bytes) {
  Block block{nullptr, bytes + 3 * kAlign + 2 * kGap, bytes};
  block.host = std::malloc(block.host_bytes);
  if (!block.host) return nullptr;
  // The next address that is 256 modulo 512.
  uintptr_t a = reinterpret_cast<uintptr_t>(block.host) + kGap;
  a = (a + kAlign - 1) / (2 * kAlign) * (2 * kAlign) + kAlign;
  char* const begin = reinterpret_cast<char*>(a);
  if (options().poison) memset(begin, 0xFF, bytes);
  sanitizer::poison(block.host, block.host_bytes);
  sanitizer::unpoison(begin, bytes);
  {
    Blocks& b = blocks();
    const std::lock_guard lock(b.mutex);
    b.at.emplace(begin, block);
  }
  if (checker::kOn) checker::add_device(begin, bytes);
  return begin;
}

void device_free(void* pointer) {
  if (!pointer) return;
  Block block;
  {
    Blocks& b = blocks();
    const std::lock_guard lock(b.mutex);
    const auto it = b.at.find(static_cast<char*>(pointer));
    if (it == b.at.end()) throw CudaError("device_free: not the start of a device block");
    block = it->second;
    b.at.erase(it);
  }
  if (checker::kOn) checker::remove_device(pointer);
  sanitizer::unpoison(block.host, block.host_bytes);
  std::free(block.host);
}

void device_memcpy(void* to, const void* from, size_t bytes) {
  check_range("device_memcpy: destination", to, bytes);
  check_range("device_memcpy: source", from, bytes);
  if (bytes) perform([=] { memmove(to, from, bytes); });
}

void device_memset(void* to, int value, size_t bytes) {
  check_range("device_memset", to, bytes);
  if (bytes) perform([=] { memset(to, value, bytes); });
}

// ---- cp.async: lazy, so that a kernel which does not wait reads NaN -----------------------------------------------

void async_copy(void* to, const void* from, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(to) % bytes || reinterpret_cast<uintptr_t>(from) % bytes) {
    fail("cp.async: %p <- %p: not aligned to %zu bytes", to, from, bytes);
  }
  note_read(from, bytes);
  note_write(to, bytes);
  memset(to, 0xFF, bytes);
  worker()->current().copies.push_back({to, from, bytes});
}

void async_commit() { worker()->current().copies.push_back({nullptr, nullptr, 0}); }

void async_wait(int keep) {
  auto& queue = worker()->current().copies;
  // Everything before the (keep + 1)-th newest end of a group is due.
  size_t due = 0;
  int ends = 0;
  for (size_t i = queue.size(); i-- > 0;) {
    if (queue[i].bytes == 0 && ends++ == keep) {
      due = i + 1;
      break;
    }
  }
  for (size_t i = 0; i < due; ++i) {
    if (!queue[i].bytes) continue;
    memcpy(queue[i].to, queue[i].from, queue[i].bytes);
    note_write(queue[i].to, queue[i].bytes);  // again: who reads before this wait and a barrier races with it
  }
  queue.erase(queue.begin(), queue.begin() + ptrdiff_t(due));
}

}  // namespace vitrine::emulator
