#include "core/storage.h"

#include "core/allocator.h"
#include "core/captured_graph.h"
#include "core/memory_pool.h"
#include "core/trace.h"

namespace vitrine {
namespace {

std::byte* take(MemoryPool* pool, size_t bytes, Device device) {
  if (pool) return pool->allocate(bytes);
  check<CaptureError>(!capturing(device), "{}: asks for memory outside of the graph", trace::outermost_op());
  return allocator(device).allocate(bytes);
}

}  // namespace

Storage::Storage(size_t bytes, Device device)
    : pool_(current_pool(device)), data_(take(pool_.get(), bytes, device)), bytes_(bytes), device_(device) {}

Storage::~Storage() { pool_ ? pool_->free(data_, bytes_) : allocator(device_).free(data_, bytes_); }

void Storage::note_write() {
  ++version_;
  last_writer_ = trace::current_op();
}

}  // namespace vitrine
