#pragma once
#include <cublasLt.h>

#include <cstddef>

namespace vitrine::cuda {

/// This thread's cuBLASLt handle.
cublasLtHandle_t cublaslt_handle();

/// Scratch memory for one library call on the current stream: the same block for every call of this thread, since calls
/// on one stream are ordered. @return device memory of kWorkspaceBytes
inline constexpr size_t kWorkspaceBytes = 32 << 20;
void* library_workspace();

/// @throws CudaError "what: cuBLAS's own words" unless `status` is success
void check_cublas(cublasStatus_t status, const char* what);

}  // namespace vitrine::cuda
