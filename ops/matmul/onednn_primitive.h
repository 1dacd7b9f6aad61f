#pragma once
#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <optional>

#include "ops/matmul/gemm_desc.h"

/// oneDNN's own objects for a product. Private to onednn.cpp: no other file of the library sees oneDNN.
namespace vitrine::onednn {

/// The CPU.
const dnnl::engine& engine();
/// Of this thread.
dnnl::stream& stream();

/// Matrix `x` of `d`, or its batch of them.
dnnl::memory::desc dnnl_desc(const GemmDesc& d, const GemmOperand& x, int64_t rows, int64_t columns);

/// A product ready to run: what was asked, what is asked of oneDNN after copies, and the primitive with its memories.
struct Prepared {
  GemmDesc asked, run;
  bool packed = false;
  int threads = 0;
  uint64_t last_use = 0;
  bool copy_a = false, copy_b = false, copy_c = false;
  std::optional<dnnl::matmul::primitive_desc> pd;  ///< empty where blocked_gemm runs
  dnnl::primitive primitive;
  dnnl::memory a, b, bias, c, scratch;

  Prepared(const GemmDesc& d, bool pack_b, int thread_count);

 private:
  void choose();
};

}  // namespace vitrine::onednn
