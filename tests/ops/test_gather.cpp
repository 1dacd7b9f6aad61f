#include <cmath>

#include "core/autograd.h"
#include "ops/gather/gather.h"
#include "tests/support/catch.h"

/// What samples cannot say: the ids of other devices than the CPU are not read back, and one out of range has a defined
/// result there.
namespace vitrine::testing {
namespace {

constexpr TensorOptions kEmulated{.dtype = Dtype::f32, .device = Device::emulated()};

TEST_CASE("index_select: an id out of range reads NaN and adds nothing on a device", "[unit][emulated]") {
  Tensor x = from_vector({1, 2, 3, 4, 5, 6}, {3, 2}, kEmulated);
  x.set_requires_grad();
  const Tensor ids = from_vector({2, 3, -1, 2}, {4}, {.dtype = Dtype::i64, .device = Device::emulated()});
  const Tensor y = ops::index_select(x, 0, ids);
  const std::vector<double> values = y.to_vector();
  CHECK(values[0] == 5);
  CHECK(values[1] == 6);
  for (int i = 2; i < 6; ++i) CHECK(std::isnan(values[size_t(i)]));
  CHECK(values[6] == 5);
  y.backward({.gradient = ones({4, 2}, kEmulated)});
  CHECK(x.grad().to_vector() == std::vector<double>{0, 0, 0, 0, 2, 2});
}

TEST_CASE("gather: an id out of range reads 0 from an integer tensor on a device", "[unit][emulated]") {
  const TensorOptions options{.dtype = Dtype::i32, .device = Device::emulated()};
  const Tensor x = from_vector({1, 2, 3, 4}, {2, 2}, options), ids = from_vector({1, 5, -3, 0}, {2, 2}, options);
  CHECK(ops::gather(x, 1, ids).to_vector() == std::vector<double>{2, 0, 0, 3});
}

}  // namespace
}  // namespace vitrine::testing
