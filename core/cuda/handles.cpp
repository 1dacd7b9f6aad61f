#include "core/cuda/handles.h"

#include <map>

#include "core/cuda/check.h"
#include "core/cuda/stream.h"
#include "core/error.h"

namespace vitrine::cuda {

void check_cublas(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw CudaError(std::string(what) + ": " + cublasGetStatusString(status));
}

cublasLtHandle_t cublaslt_handle() {
  thread_local cublasLtHandle_t handle = [] {
    cublasLtHandle_t h;
    check_cublas(cublasLtCreate(&h), "cuBLASLt");
    return h;
  }();
  return handle;
}

void* library_workspace() {
  thread_local std::map<void*, void*> blocks;
  void*& block = blocks[current_stream()];
  if (!block) check_cuda(cudaMalloc(&block, kWorkspaceBytes), "workspace");
  return block;
}

}  // namespace vitrine::cuda
