#include "core/storage.h"

#include "core/allocator.h"
#include "core/trace.h"

namespace vitrine {

Storage::Storage(size_t bytes, Device device)
    : data_(allocator(device).allocate(bytes)), bytes_(bytes), device_(device) {}

Storage::~Storage() { allocator(device_).free(data_, bytes_); }

void Storage::note_write() {
  ++version_;
  last_writer_ = trace::current_op();
}

}  // namespace vitrine
