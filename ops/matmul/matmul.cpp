#include "ops/matmul/matmul.h"

#include "core/autograd.h"
#include "core/kernels/kernels.h"
#include "ops/matmul/matmul_kernels.h"
#include "ops/matmul/product.h"

namespace vitrine::ops {
namespace {

MatmulPrecision precision = MatmulPrecision::highest;
thread_local bool plain_only = false;

Shape leading(const Tensor& t) { return Shape(t.shape().begin(), t.shape().end() - 2); }
Shape with_matrix(Shape lead, int64_t rows, int64_t columns) {
  lead.push_back(rows);
  lead.push_back(columns);
  return lead;
}

bool use_library(const Tensor& a, const Tensor& y) {
  if (plain_only || !product_library.bound(a.device().type)) return false;
  if (a.device().type == DeviceType::cuda) return true;
  if (a.dtype() != Dtype::f32 && a.dtype() != Dtype::bf16) return false;
  // Emulated threads are for testing kernels: products of a model's size run on the CPU's library instead.
  constexpr int64_t kEmulatedWork = 1 << 22;
  return a.device().type == DeviceType::cpu || y.numel() * a.size(-1) > kEmulatedWork;
}

struct Matmul {
  static constexpr const char* name = "matmul";

  Tensor forward(Saver& save, const Tensor& a, const Tensor& b) const {
    save(a, b);
    return product(a, b);
  }
  // da = dy b^T,  db = a^T dy, each summed over the leading dims that were broadcast
  Gradients vjp(const Saved& saved, const Tensor& dy) const {
    const Tensor &a = saved[0], &b = saved[1];
    return {saved.needs(0) ? sum_to(product(dy, b.transpose(-2, -1)), a.shape()) : Tensor(),
            saved.needs(1) ? sum_to(product(a.transpose(-2, -1), dy), b.shape()) : Tensor()};
  }
};

}  // namespace

void product(const Tensor& a, const Tensor& b, const Tensor& bias, Tensor& y, PackedFactor* packed) {
  if (y.numel() == 0) return;
  const Shape lead = leading(y);
  const Tensor all_a = a.expand(with_matrix(lead, a.size(-2), a.size(-1)));
  const Tensor all_b = b.expand(with_matrix(lead, b.size(-2), b.size(-1)));
  if (use_library(a, y)) {
    product_library(all_a, all_b, bias, packed, y);
  } else {
    product_plain(all_a, all_b, bias, y);
  }
}

Tensor product(const Tensor& a, const Tensor& b, const Tensor& bias, PackedFactor* packed) {
  Tensor y =
      empty(with_matrix(broadcast_shapes("matmul", leading(a), leading(b)), a.size(-2), b.size(-1)), a.options());
  product(a, b, bias, y, packed);
  return y;
}

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_floating("matmul", "a", a);
  check_floating("matmul", "b", b);
  check_same_dtype("matmul", {{"a", &a}, {"b", &b}});
  check_same_device("matmul", {{"a", &a}, {"b", &b}});
  check(a.dim() >= 2 && b.dim() >= 2, "matmul: a {} and b {} must have at least two dims", a, b);
  check(a.size(-1) == b.size(-2), "matmul: a {} and b {} disagree on the inner size", a, b);
  return apply(Matmul{}, a, b);
}

PlainProducts::PlainProducts() : previous_(plain_only) { plain_only = true; }
PlainProducts::~PlainProducts() { plain_only = previous_; }

void set_matmul_precision(MatmulPrecision p) { precision = p; }
MatmulPrecision matmul_precision() { return precision; }

}  // namespace vitrine::ops
