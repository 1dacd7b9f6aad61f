#include <cmath>

#include "core/autograd.h"
#include "core/cuda/emulator/emulator.h"
#include "core/random.h"
#include "ops/linear/linear.h"
#include "ops/matmul/matmul.h"
#include "ops/matmul/matmul_kernels.h"
#include "ops/matmul/product.h"
#include "tests/support/catch.h"
#include "tests/support/report.h"
#include "tests/support/threads.h"

using namespace vitrine;

// The sweep meets the library's products where there is one; this meets our own kernels beside them.
TEST_CASE("the hand-written product agrees with the library's", "[unit][emulated]") {
  std::vector<Device> devices = {Device::cpu(), Device::emulated()};
  if (cuda_device_count() > 0) devices.push_back(Device::cuda(0));
  Generator rng{.seed = 3};
  struct Factors {
    const char* what;
    Tensor a, b, bias;
    bool transposes_a;  // else b, on the device: a copy would be dense
  };
  const Factors all[] = {
      {"rows of a layer", random_normal({2, 37, 70}, rng), random_normal({2, 65, 70}, rng), random_normal({65}, rng),
       false},
      {"gradient of a weight", random_normal({389, 43}, rng, 0, 0.05), random_normal({389, 65}, rng), Tensor(), true}};
  for (const auto& [what, a, b, bias, transposes_a] : all)
    for (const Device device : devices)
      for (const Dtype dtype : {Dtype::f32, Dtype::bf16}) {
        INFO(what << " " << to_string(device) << " " << to_string(dtype));
        const auto there = [&](const Tensor& t) { return t.defined() ? t.to(dtype).to(device) : t; };
        const Tensor x = transposes_a ? there(a).transpose(-2, -1) : there(a);
        const Tensor y = transposes_a ? there(b) : there(b).transpose(-2, -1);
        const auto library = ops::product(x, y, there(bias)).to_vector();
        const ops::PlainProducts plain;
        const auto ours = ops::product(x, y, there(bias)).to_vector();
        REQUIRE(ours.size() == library.size());
        const double tolerance = 4 * epsilon(dtype) * std::sqrt(double(x.size(-1)));
        double worst = 0;
        for (size_t i = 0; i < ours.size(); ++i)
          worst = std::max(worst, std::abs(ours[i] - library[i]) / (1 + std::abs(library[i])));
        CHECK(worst <= tolerance);
      }
}

TEST_CASE("a packed weight follows the weight, the size of x and the dtype", "[unit]") {
  Generator rng{.seed = 4};
  const Tensor few = random_normal({5, 96}, rng), many = random_normal({130, 96}, rng);
  Tensor weight = random_normal({64, 96}, rng);
  const Tensor other = random_normal({64, 96}, rng), bias = random_normal({64}, rng);
  const NoGrad no_grad;
  ops::PackedFactor packed;
  const auto check = [&](const char* what, const Tensor& x, const Tensor& w) {
    INFO(what);
    const std::vector<double> expected = ops::linear(x, w, bias.to(x.dtype())).to_vector();
    const std::vector<double> with = ops::linear(x, w, bias.to(x.dtype()), &packed).to_vector();
    const double tolerance = 4 * epsilon(x.dtype()) * std::sqrt(96.);
    double worst = 0;
    for (size_t i = 0; i < with.size(); ++i)
      worst = std::max(worst, std::abs(with[i] - expected[i]) / (1 + std::abs(expected[i])));
    CHECK(worst <= tolerance);
  };
  check("first", many, weight);
  REQUIRE(packed.layout);
  const void* first = packed.layout.get();
  check("again", many, weight);
  CHECK(packed.layout.get() == first);
  weight.mul_(-2);
  check("written", many, weight);
  CHECK(packed.layout.get() != first);
  check("other rows", few, weight);
  check("other weight", few, other);
  check("bf16", few.to(Dtype::bf16), other.to(Dtype::bf16));
}

TEST_CASE("a recorded linear packs nothing", "[unit]") {
  Generator rng{.seed = 4};
  const Tensor x = random_normal({8, 32}, rng);
  Tensor weight = random_normal({16, 32}, rng);
  weight.set_requires_grad();
  ops::PackedFactor packed;
  ops::linear(x, weight, {}, &packed);
  CHECK(!packed.layout);
}

// The asan preset compiles the tiles of a product without its checks; gemm_small makes up for them.
TEST_CASE("the address sanitizer sees a product that leaves its matrices", "[unit]") {
  if (emulator::flavour() != emulator::Flavour::asan) return;
  const testing::ThreadsGuard one(1);
  const auto report = [](int64_t rows_of_a) {
    return testing::report_of([&] {
      const Tensor a = zeros({rows_of_a, 96}, {.dtype = Dtype::f64}), b = zeros({96, 48}, {.dtype = Dtype::f64});
      Tensor y = zeros({24, 48}, {.dtype = Dtype::f64});
      ops::product_plain(a, b, Tensor(), y);
    });
  };
  CHECK(report(24) == "");
  CHECK_THAT(report(23), testing::Contains("AddressSanitizer: heap-buffer-overflow"));
}
