#pragma once

namespace vitrine::cuda {

/// The stream (a cudaStream_t) on which this thread's work is queued; null is the default stream.
void* current_stream();

}  // namespace vitrine::cuda
