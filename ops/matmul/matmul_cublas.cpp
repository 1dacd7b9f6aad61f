#include <cublasLt.h>

#include <map>
#include <tuple>

#include "core/cuda/handles.h"
#include "core/cuda/stream.h"
#include "core/strided.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/matmul_kernels.h"

// cuBLASLt is column-major: it computes y^T [n, m] = b^T a^T, for which row-major operands are already transposed.
namespace vitrine::ops {
namespace {
using cuda::check_cublas;

cudaDataType type_of(Dtype d) {
  return d == Dtype::f64 ? CUDA_R_64F : d == Dtype::f32 ? CUDA_R_32F : d == Dtype::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}
cublasComputeType_t compute_of(Dtype d) {
  if (d == Dtype::f64) return CUBLAS_COMPUTE_64F;
  const bool tf32 = d == Dtype::f32 && matmul_precision() == MatmulPrecision::high;
  return tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

/// One operand as cuBLASLt wants it: a dense row or column of the matrix, and one stride over the batch.
struct Matrix {
  Tensor t;
  bool transposed = false;  ///< rows, not columns, are dense
  int64_t leading = 0, batch_stride = 0;
};

bool fits(const Tensor& t, Matrix& out) {
  const int64_t rows = t.size(-2), columns = t.size(-1), row = t.stride(-2), column = t.stride(-1);
  if ((column == 1 || columns == 1) && (row >= columns || rows == 1)) {
    out.transposed = false;
    out.leading = rows == 1 ? std::max<int64_t>(columns, 1) : row;
  } else if ((row == 1 || rows == 1) && (column >= rows || columns == 1)) {
    out.transposed = true;
    out.leading = columns == 1 ? std::max<int64_t>(rows, 1) : column;
  } else {
    return false;
  }
  const auto batch =
      make_plan<1>(Shape(t.shape().begin(), t.shape().end() - 2), {Shape(t.strides().begin(), t.strides().end() - 2)});
  if (batch.dims > 1) return false;
  out.batch_stride = batch.dims ? batch.strides[0][0] : 0;
  out.t = t;
  return true;
}
Matrix as_matrix(const Tensor& t) {
  Matrix m;
  if (!fits(t, m)) fits(t.clone(), m);
  return m;
}

struct Layout {
  cublasLtMatrixLayout_t handle;
  Layout(cudaDataType type, int64_t rows, int64_t columns, int64_t leading, int batch, int64_t stride) {
    check_cublas(cublasLtMatrixLayoutCreate(&handle, type, uint64_t(rows), uint64_t(columns), leading),
                 "matmul: layout");
    cublasLtMatrixLayoutSetAttribute(handle, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch);
    cublasLtMatrixLayoutSetAttribute(handle, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride);
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(handle); }
  Layout(const Layout&) = delete;
};

struct Description {
  cublasLtMatmulDesc_t handle;
  Description(Dtype dtype, bool transpose_first, bool transpose_second, const void* bias) {
    const cudaDataType scale = dtype == Dtype::f64 ? CUDA_R_64F : CUDA_R_32F;
    check_cublas(cublasLtMatmulDescCreate(&handle, compute_of(dtype), scale), "matmul: description");
    const cublasOperation_t first = transpose_first ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = transpose_second ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
    cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second);
    if (!bias) return;
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    cublasLtMatmulDescSetAttribute(handle, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
  }
  ~Description() { cublasLtMatmulDescDestroy(handle); }
  Description(const Description&) = delete;
};

/// The library's first choice among algorithms that add in a fixed order, or false if it has none for this product.
bool choose(const Description& description, const Layout& first, const Layout& second, const Layout& out,
            cublasLtMatmulAlgo_t& algorithm) {
  cublasLtMatmulPreference_t preference;
  check_cublas(cublasLtMatmulPreferenceCreate(&preference), "matmul: preference");
  const size_t workspace = cuda::kWorkspaceBytes;
  const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_MASK & ~uint32_t(CUBLASLT_REDUCTION_SCHEME_INPLACE);
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                       sizeof workspace);
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                                       sizeof schemes);
  cublasLtMatmulHeuristicResult_t result;
  int found = 0;
  const auto status =
      cublasLtMatmulAlgoGetHeuristic(cuda::cublaslt_handle(), description.handle, first.handle, second.handle,
                                     out.handle, out.handle, preference, 1, &result, &found);
  cublasLtMatmulPreferenceDestroy(preference);
  if (status != CUBLAS_STATUS_SUCCESS || !found) return false;
  algorithm = result.algo;
  return true;
}

void run(const Tensor& a, const Tensor& b, const Tensor& bias, PackedFactor*, Tensor& y) {
  const int64_t m = y.size(-2), n = y.size(-1), k = a.size(-1);
  if (k == 0 || (bias.defined() && y.dtype() == Dtype::f64))
    return product_plain(a, b, bias, y);  // no such epilogue in f64
  const Matrix left = as_matrix(a), right = as_matrix(b);
  const int batch = int(y.numel() / (m * n));
  const void* bias_data = bias.defined() ? bias.raw_data() : nullptr;
  const Description description(y.dtype(), right.transposed, left.transposed, bias_data);
  const cudaDataType type = type_of(y.dtype());
  const Layout first(type, right.transposed ? k : n, right.transposed ? n : k, right.leading, batch,
                     right.batch_stride);
  const Layout second(type, left.transposed ? m : k, left.transposed ? k : m, left.leading, batch, left.batch_stride);
  const Layout out(type, n, m, n, batch, m * n);

  using Key = std::tuple<int, int, bool, bool, bool, int64_t, int64_t, int64_t, int, int64_t, int64_t, int64_t, int64_t,
                         uint64_t>;
  const auto address_bits = [](const void* p) {
    return reinterpret_cast<uintptr_t>(p) & 15;
  };  // algorithms depend on alignment
  const uint64_t alignment =
      address_bits(right.t.raw_data()) << 8 | address_bits(left.t.raw_data()) << 4 | address_bits(bias_data);
  const Key key{
      int(y.dtype()), int(matmul_precision()), right.transposed, left.transposed,    bias.defined(),    m,        n, k,
      batch,          right.leading,           left.leading,     right.batch_stride, left.batch_stride, alignment};
  thread_local std::map<Key, cublasLtMatmulAlgo_t> chosen;
  auto found = chosen.find(key);
  if (found == chosen.end()) {
    cublasLtMatmulAlgo_t algorithm;
    if (!choose(description, first, second, out, algorithm)) return product_plain(a, b, bias, y);
    found = chosen.emplace(key, algorithm).first;
  }
  const float one = 1, zero = 0;
  const double one64 = 1, zero64 = 0;
  const bool wide = y.dtype() == Dtype::f64;
  void* to = y.raw_mutable_data();
  check_cublas(cublasLtMatmul(cuda::cublaslt_handle(), description.handle,
                              wide ? static_cast<const void*>(&one64) : &one, right.t.raw_data(), first.handle,
                              left.t.raw_data(), second.handle, wide ? static_cast<const void*>(&zero64) : &zero, to,
                              out.handle, to, out.handle, &found->second, cuda::library_workspace(),
                              cuda::kWorkspaceBytes, static_cast<cudaStream_t>(cuda::current_stream())),
               "matmul");
}
const Bind bind_cuda(product_library, DeviceType::cuda, run);

}  // namespace
}  // namespace vitrine::ops
