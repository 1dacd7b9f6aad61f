#pragma once
#include <cuda_runtime.h>

#include "core/error.h"

namespace vitrine::cuda {

/// @throws CudaError "what: CUDA's own words" unless `status` is success
inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess) throw CudaError(std::string(what) + ": " + cudaGetErrorString(status));
}

}  // namespace vitrine::cuda
