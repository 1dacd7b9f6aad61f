#include <cmath>

#include "core/random.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/product.h"
#include "tests/support/catch.h"

using namespace vitrine;

// The sweep meets the library's products where there is one; this meets our own kernels beside them.
TEST_CASE("the hand-written product agrees with the library's", "[unit]") {
  std::vector<Device> devices = {Device::cpu(), Device::emulated()};
  if (cuda_device_count() > 0) devices.push_back(Device::cuda(0));
  Generator rng{.seed = 3};
  const Tensor a = random_normal({2, 37, 70}, rng), b = random_normal({2, 65, 70}, rng).transpose(1, 2);
  const Tensor bias = random_normal({65}, rng);
  for (const Device device : devices) {
    for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
      INFO(to_string(device) << " " << to_string(dtype));
      const auto there = [&](const Tensor& t) { return t.to(dtype).to(device); };
      const auto library = ops::product(there(a), there(b), there(bias)).to_vector();
      const ops::PlainProducts plain;
      const auto ours = ops::product(there(a), there(b), there(bias)).to_vector();
      REQUIRE(ours.size() == library.size());
      const double tolerance = 4 * epsilon(dtype) * std::sqrt(70.);
      double worst = 0;
      for (size_t i = 0; i < ours.size(); ++i)
        worst = std::max(worst, std::abs(ours[i] - library[i]) / (1 + std::abs(library[i])));
      CHECK(worst <= tolerance);
    }
  }
}
