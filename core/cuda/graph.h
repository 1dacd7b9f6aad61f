#pragma once
#include "core/backend.h"

namespace vitrine::cuda {

/// Recording on a GPU: CUDA graphs, a stream for copies, page-locked memory.
extern const GraphSupport kGraphSupport;

}  // namespace vitrine::cuda
