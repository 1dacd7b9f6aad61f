#include <cmath>
#include <limits>

#include "core/autograd.h"
#include "core/backend.h"
#include "core/kernels/kernels.h"
#include "core/strided.h"
#include "core/tensor.h"
#include "tests/support/catch.h"

using namespace vitrine;

namespace {
std::vector<double> count(int64_t n) { return arange(n, {.dtype = Dtype::f64}).to_vector(); }
Tensor counted(const Shape& shape, TensorOptions options = {}) {
  return from_vector(count(shape.numel()), shape, options);
}
}  // namespace

TEST_CASE("a tensor is a handle: copies share, clones do not", "[unit]") {
  Tensor a = counted({2, 3});
  Tensor b = a;
  const Tensor c = a.clone();
  b.fill_(7);
  CHECK(a.to_vector() == std::vector<double>(6, 7));
  CHECK(c.to_vector() == count(6));
  CHECK(to_string(a) == "[2, 3] f32 cpu");
  CHECK_FALSE(Tensor().defined());
  CHECK(to_string(Tensor()) == "undefined");
}

TEST_CASE("scalars and empty tensors are ordinary", "[unit]") {
  const Tensor s = scalar(2.5, {.dtype = Dtype::f64});
  CHECK(s.dim() == 0);
  CHECK(s.numel() == 1);
  CHECK(s.item() == 2.5);
  const Tensor e = zeros({3, 0, 2});
  CHECK(e.numel() == 0);
  CHECK(e.to_vector().empty());
  CHECK(e.reshape({0, 6}).shape() == Shape{0, 6});
  CHECK(e.transpose(0, 2).contiguous().shape() == Shape{2, 0, 3});
  CHECK_THROWS_WITH(e.item(), "item: needs exactly one element, got [3, 0, 2] f32 cpu");
}

TEST_CASE("views show the same bytes", "[unit]") {
  Tensor a = counted({2, 3, 4});
  CHECK(a.permute({2, 0, 1}).to_vector()[1] == 4);
  CHECK(a.select(1, -1).to_vector() == std::vector<double>{8, 9, 10, 11, 20, 21, 22, 23});
  CHECK(a.narrow(2, 1, 2).shape() == Shape{2, 3, 2});
  CHECK(a.transpose(0, 1).select(0, 1).shares_storage(a));
  CHECK(a.unsqueeze(-1).squeeze(3).shape() == a.shape());
  CHECK(a.flatten(1).shape() == Shape{2, 12});
  CHECK(scalar(1).flatten().shape() == Shape{1});
  CHECK(counted({3, 1}).expand({2, 3, 4}).to_vector()[5] == 1);
  a.select(0, 1).fill_(0);
  CHECK(a.to_vector()[12] == 0);
  CHECK(a.to_vector()[11] == 11);
}

TEST_CASE("view refuses where reshape copies", "[unit]") {
  const Tensor t = counted({2, 3, 4}).transpose(0, 1);
  CHECK(t.view({3, 2, 2, 2}).shares_storage(t));
  CHECK(t.reshape({3, 8}).numel() == 24);
  CHECK_FALSE(t.reshape({6, 4}).shares_storage(t));
  CHECK_THROWS_WITH(t.view({6, 4}), testing::Contains("has no view of shape [6, 4]; use reshape"));
  CHECK_THROWS_WITH(t.view({5, -1}), "view: [3, 2, 4] f32 cpu does not fit shape [5, -1]");
}

TEST_CASE("reshape keeps row-major order for any strides", "[unit]") {
  const Tensor t = counted({4, 6, 5}).permute({1, 2, 0}).narrow(0, 1, 4);
  const std::vector<double> expected = t.contiguous().to_vector();
  for (const Shape& shape :
       {Shape{80}, Shape{2, 2, 20}, Shape{4, 20}, Shape{20, 4}, Shape{2, 2, 5, 2, 2}, Shape{1, 4, 5, 1, 4}})
    CHECK(t.reshape(shape).to_vector() == expected);
}

TEST_CASE("bad arguments give one error that names them", "[unit]") {
  const Tensor a = counted({2, 3});
  CHECK_THROWS_WITH(a.permute({0, 0}), "permute: dim 0 twice in [0, 0]");
  CHECK_THROWS_WITH(a.expand({2, 4}), "expand: [2, 3] f32 cpu does not expand to [2, 4]");
  CHECK_THROWS_WITH(a.narrow(1, 2, 2), "narrow: [2, 2 + 2) is out of range for dim 1 of x [2, 3] f32 cpu");
  CHECK_THROWS_WITH(a.select(0, 2), "select: index 2 is out of range for dim 0 of x [2, 3] f32 cpu");
  CHECK_THROWS_WITH(a.squeeze(0), "squeeze: dim 0 of x [2, 3] f32 cpu is not 1");
  CHECK_THROWS_AS(a.data<double>(), DtypeError);
  CHECK_THROWS_WITH(empty({-1, 2}), "host code: negative size in shape [-1, 2]");
  CHECK_THROWS_AS(Tensor().shape(), ValueError);
  CHECK_THROWS_WITH(from_vector({1, 2}, {3}), "from_vector: 2 values for shape [3]");
  CHECK_THROWS_WITH((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), "shape: more than 8 dimensions");
}

TEST_CASE("every dtype converts to every other", "[unit][emulated]") {
  const Device device = GENERATE(Device::cpu(), Device::emulated());
  for (Dtype from : kAllDtypes) {
    const Tensor x = from_vector({0, 1, 3}, {3}, {.dtype = from, .device = device});
    for (Dtype to : kAllDtypes) {
      const bool boolean = from == Dtype::boolean || to == Dtype::boolean;
      CHECK(x.to(to).to_vector() == (boolean ? std::vector<double>{0, 1, 1} : std::vector<double>{0, 1, 3}));
    }
  }
}

TEST_CASE("16-bit floats round to nearest even and keep NaN", "[unit]") {
  CHECK(float(bf16(1.00390625f)) == 1.0f);  // halfway between 1 and 1.0078125: to even
  CHECK(float(bf16(1.01171875f)) == 1.015625f);
  CHECK(std::isnan(float(bf16(std::numeric_limits<float>::quiet_NaN()))));
  CHECK(std::isinf(float(bf16(3.4e38f))));
  CHECK(float(f16(2049.f)) == 2048.f);
  CHECK(float(f16(2051.f)) == 2052.f);
  CHECK(float(f16(65519.f)) == 65504.f);
  CHECK(std::isinf(float(f16(65520.f))));
  CHECK(float(f16(0x1p-24f)) == 0x1p-24f);
  CHECK(float(f16(0x1p-25f)) == 0.f);
  CHECK(float(f16(0x1.8p-25f)) == 0x1p-24f);
  CHECK(std::isnan(float(f16(std::numeric_limits<float>::quiet_NaN()))));
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    f16 h;
    bf16 b;
    h.bits = b.bits = uint16_t(bits);
    const float x = h, y = b;
    if (x == x && f16(x).bits != bits) FAIL("f16 " << bits);
    if (y == y && bf16(y).bits != bits) FAIL("bf16 " << bits);
  }
}

TEST_CASE("copies cross devices, dtypes and layouts", "[unit][emulated]") {
  const Device device = GENERATE(Device::cpu(), Device::emulated());
  const Tensor x = counted({3, 4}, {.dtype = Dtype::f64, .device = device});
  Tensor y = zeros({2, 4, 3}, {.device = device});
  y.transpose(1, 2).copy_(x);
  CHECK(y.select(0, 1).transpose(0, 1).to_vector() == count(12));
  Tensor z = zeros({4});
  z.copy_(x.select(0, 2));
  CHECK(z.to_vector() == std::vector<double>{8, 9, 10, 11});
  CHECK_THROWS_WITH(z.copy_(counted({3})), testing::Contains("do not broadcast"));
  CHECK(x.to(Device::cpu()).to(device).to_vector() == count(12));
}

TEST_CASE("in place arithmetic", "[unit][emulated]") {
  const Device device = GENERATE(Device::cpu(), Device::emulated());
  Tensor x = counted({5}, {.device = device});
  x.add_(x.clone()).mul_(0.5);
  CHECK(x.to_vector() == count(5));
  CHECK_THROWS_WITH(x.add_(counted({4}, {.device = device})), testing::Contains("differ"));
  x.zero_();
  CHECK(x.to_vector() == std::vector<double>(5, 0));
}

TEST_CASE("sum_to reduces the dims that were broadcast", "[unit][emulated]") {
  const Device device = GENERATE(Device::cpu(), Device::emulated());
  const Tensor x = counted({2, 3, 4}, {.dtype = Dtype::f64, .device = device});
  const auto check_sum = [&](const Tensor& t, const Shape& to) {
    const Tensor y = sum_to(t, to);
    std::vector<double> expected(size_t(to.numel()), 0);
    Tensor slots = arange(to.numel(), {.dtype = Dtype::i64}).reshape(to).expand(t.shape());
    const auto where = slots.to_vector(), values = t.to_vector();
    for (size_t i = 0; i < values.size(); ++i) expected[size_t(where[i])] += values[i];
    CHECK(y.to_vector() == expected);
  };
  for (const Shape& to :
       {Shape{}, Shape{4}, Shape{3, 1}, Shape{2, 1, 4}, Shape{2, 3, 1}, Shape{1, 3, 1}, Shape{2, 3, 4}})
    check_sum(x, to);
  check_sum(x.transpose(0, 2), {3, 1});
  const Tensor wide = counted({5, 1000}, {.dtype = Dtype::f64, .device = device});
  check_sum(wide, {1000});
  check_sum(wide, {5, 1});
}

TEST_CASE("plans merge what is contiguous", "[unit]") {
  const Tensor x = counted({2, 3, 4});
  CHECK(make_plan<1>(x.shape(), {x.strides()}).dims == 1);
  CHECK(make_plan<1>(x.shape(), {x.strides()}).strides[0][0] == 1);
  const Tensor t = x.transpose(1, 2);
  CHECK(make_plan<2>(t.shape(), {t.strides(), x.transpose(1, 2).strides()}).dims == 3);
  CHECK(make_plan<1>({}, {Shape{}}).numel == 1);
}

TEST_CASE("devices and dtypes are read from text", "[unit][emulated]") {
  CHECK(parse_device("cuda:3") == Device::cuda(3));
  CHECK(parse_device("emulated") == Device::emulated());
  CHECK_THROWS_WITH(parse_device("gpu"), "unknown device 'gpu': write cpu, cuda, cuda:N or emulated");
  CHECK_THROWS_AS(parse_device("cuda:-1"), DeviceError);
  CHECK_THROWS_AS(parse_device("cuda:1x"), DeviceError);
  for (Dtype d : kAllDtypes) CHECK(parse_dtype(to_string(d)) == d);
  CHECK_THROWS_AS(parse_dtype("f8"), DtypeError);
  CHECK_THROWS_AS(empty({2}, {.device = Device::cuda(100)}), DeviceError);
}
